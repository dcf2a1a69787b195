"""The example scripts, run small: each compiles to int8, loses next to nothing, and writes what it says."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "examples"
KERAS, TORCH, SKLEARN = ("tensorflow", "keras"), ("torch", "torch"), ("sklearn", "examples")
ROW = re.compile(r"^\S.*? (?P<before>[\d.]+)(?P<unit>%| dB) +(?P<after>[\d.]+)(?P=unit)$", re.M)

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Promise:
    """What a script needs, and what its `--quick` run keeps.

    `least` is what the float model reaches at least: well above chance, below what it was seen to reach.
    `loss` is what int8 may cost: one point is 4 of 360 images, those that lie between two classes.
    """

    needs: tuple[tuple[str, str], ...]
    least: float
    loss: float
    files: tuple[str, ...] = ()


PROMISES = {
    "pytorch_mlp_digits": Promise((TORCH, SKLEARN), 80, 1.5, ("pytorch_mlp_digits.onnx",)),
    "keras_cnn": Promise((KERAS,), 70, 1.5),
    "keras_xor": Promise(
        (KERAS,), 100, 0, ("model.h5", "keras_xor.float32.tflite", "keras_xor.float32.html")
    ),
    "keras_transfer": Promise((KERAS, SKLEARN), 55, 1.5),
    "keras_lstm": Promise((KERAS, SKLEARN), 70, 1.5),
    "pytorch_transformer": Promise((TORCH, SKLEARN), 75, 1.5),
    "pytorch_vae": Promise((TORCH, SKLEARN), 14, 0.2, ("pytorch_vae_decoder.pt2",)),  # dB
    "pytorch_gan": Promise((TORCH, SKLEARN), 60, 2),  # of 600 requests
}


def run(name: str, folder: Path) -> str:
    """Run a script small, in a folder of its own, and return what it printed."""
    command = [sys.executable, str(EXAMPLES / f"{name}.py"), "--quick"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def skip_without(promise: Promise) -> None:
    for module, extra in promise.needs:
        if find_spec(module) is None:
            pytest.skip(f"{module} (edgec[{extra}]) is not installed")


def check_transfer(printed: str) -> None:
    """A head on the backbone that knows letters reads at least 20 points more than on an untrained one."""
    scores = {name: float(score) for name, score in re.findall(r"head on (\w+) backbone: ([\d.]+)%", printed)}
    assert scores["pretrained"] >= scores["untrained"] + 20


@pytest.mark.parametrize("name", PROMISES)
def test_int8_is_worth_what_the_float_model_is(name: str, tmp_path: Path) -> None:
    """Held-out data say so in the runtime; the artifact is integer-only and lies beside its report."""
    promise = PROMISES[name]
    skip_without(promise)
    printed = run(name, tmp_path)

    rows = [(float(row["before"]), float(row["after"])) for row in ROW.finditer(printed)]
    assert rows, printed
    for before, after in rows:
        assert before >= promise.least
        assert after >= before - promise.loss

    if name == "keras_transfer":
        check_transfer(printed)
    output = tmp_path / "edgec-examples"
    report = json.loads((output / f"{name}.int8.json").read_text(encoding="utf-8"))
    assert report["quantization"]["float_ops"] == []
    assert {tensor["dtype"] for tensor in (*report["inputs"], *report["outputs"])} == {"int8"}
    assert str(Path("edgec-examples") / f"{name}.int8.html") in printed
    for file in (f"{name}.int8.tflite", f"{name}.int8.manifest.json", f"{name}.int8.html", *promise.files):
        assert (output / file).stat().st_size > 0


def test_every_script_is_run_and_listed() -> None:
    """None can be added without its promise here and its line in the table."""
    scripts = {path.stem for path in EXAMPLES.glob("*.py")} - {"_common"}
    assert scripts == set(PROMISES)
    readme = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert all(f"[{name}.py]({name}.py)" in readme for name in scripts)
