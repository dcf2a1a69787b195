"""Runs models in the real TensorFlow Lite Micro, in a process of its own: its kernels may abort."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from edgec.ir import Array

needs_tflm = pytest.mark.skipif(
    find_spec("tflite_micro") is None, reason="needs the tflite-micro wheel (x86-64 Linux): edgec[mcu]"
)

_SCRIPT = """
import sys
import numpy as np
from tflite_micro.python.tflite_micro import runtime

for folder in sys.argv[1:]:
    data = np.load(folder + "/inputs.npz")
    try:
        model = open(folder + "/model.tflite", "rb").read()
        interpreter = runtime.Interpreter.from_bytes(model, arena_size=1 << 22)
        for index in range(len(data.files)):
            interpreter.set_input(data[f"x{index}"], index)
        interpreter.invoke()
    except (RuntimeError, ValueError):
        continue
    count = int(open(folder + "/outputs.txt").read())
    outputs = {f"y{index}": interpreter.get_output(index) for index in range(count)}
    np.savez(folder + "/outputs.npz", **outputs)
    interpreter.print_allocations()
"""


@dataclass(frozen=True)
class MicroRun:
    """What TFLM computed, and the bytes of the head of its arena."""

    outputs: list[Array]
    arena_head: int


def run_micro(model: bytes, inputs: list[Array], outputs: int, folder: Path) -> MicroRun | None:
    """Run one model; None where TFLM refuses it or aborts."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.tflite").write_bytes(model)
    (folder / "outputs.txt").write_text(str(outputs))
    np.savez(folder / "inputs.npz", **{f"x{index}": array for index, array in enumerate(inputs)})  # type: ignore[arg-type]
    result = subprocess.run(
        [sys.executable, "-c", _SCRIPT, str(folder)], capture_output=True, text=True, check=False
    )
    if not (folder / "outputs.npz").exists():
        return None
    head = re.search(r"Arena allocation head (\d+)", result.stderr)
    assert head is not None, result.stderr
    with np.load(folder / "outputs.npz") as found:
        return MicroRun([found[f"y{index}"] for index in range(outputs)], int(head[1]))
