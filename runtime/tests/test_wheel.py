"""The wheel alone, in a clean environment: it needs nothing but what its metadata declares."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]

pytestmark = pytest.mark.slow


def run(*words: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run without the variables that would let this environment leak into the clean one."""
    clean = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    return subprocess.run(
        list(map(str, words)), cwd=cwd, env=clean, capture_output=True, text=True, timeout=900, check=False
    )


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    words = (sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", PROJECT, "--wheel-dir", folder)
    built = run(*words, cwd=folder)
    assert built.returncode == 0, built.stderr
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="session")
def clean_bin(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new virtual environment with the wheel and its dependencies; returns its folder of programs."""
    folder = tmp_path_factory.mktemp("clean")
    run(sys.executable, "-m", "venv", "venv", cwd=folder)
    programs = folder / "venv" / ("Scripts" if os.name == "nt" else "bin")
    installed = run(programs / "python", "-m", "pip", "install", "--quiet", wheel, cwd=folder)
    assert installed.returncode == 0, installed.stderr
    return programs


def test_it_is_pure_python(wheel: Path):
    """One wheel for every machine, and nothing in it that needs a C library."""
    assert wheel.name.endswith("-py3-none-any.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        assert {Path(name).suffix for name in names if name.startswith("edgec_runtime/")} == {".py", ".typed"}
        assert {name.split("/")[0].split("-")[0] for name in names} == {"edgec_runtime"}


def test_metadata(wheel: Path):
    from edgec_runtime import __version__

    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = message_from_bytes(archive.read(name))
    assert (metadata["Name"], metadata["Version"]) == ("edgec-runtime", __version__)
    assert metadata["Requires-Python"] == ">=3.9"


@pytest.mark.parametrize(
    ("machine", "python", "expected"),
    [
        ("x86_64", "3.9", {"numpy>=1.21", "ai-edge-litert>=1.4"}),
        ("aarch64", "3.13", {"numpy>=1.21", "ai-edge-litert>=1.4"}),
        ("arm64", "3.12", {"numpy>=1.21", "ai-edge-litert>=1.4"}),
        ("armv7l", "3.11", {"numpy<2,>=1.21", "tflite-runtime>=2.13"}),
        ("armv8l", "3.9", {"numpy<2,>=1.21", "tflite-runtime>=2.13"}),
        ("armv7l", "3.13", {"numpy<2,>=1.21"}),
    ],
)
def test_what_each_machine_installs(wheel: Path, machine: str, python: str, expected: set[str]):
    """The markers, evaluated as pip does."""
    requirements = pytest.importorskip("packaging.requirements")
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        lines = message_from_bytes(archive.read(name)).get_all("Requires-Dist") or []
    chosen = set()
    for requirement in map(requirements.Requirement, lines):
        environment = {"platform_machine": machine, "python_version": python}
        if requirement.marker is None or requirement.marker.evaluate(environment):
            chosen.add(f"{requirement.name}{requirement.specifier}")
    assert chosen == expected


def test_edgec_is_neither_there_nor_missed(clean_bin: Path):
    code = "import edgec_runtime, importlib.util as u; print(u.find_spec('edgec'), u.find_spec('onnx'))"
    done = run(clean_bin / "python", "-c", code, cwd=clean_bin)
    assert done.stdout == "None None\n", done.stderr


def test_doctor(clean_bin: Path):
    done = run(clean_bin / "edgec-runtime", "doctor", cwd=clean_bin)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ai-edge-litert" in done.stdout


def test_info_and_bench(clean_bin: Path, saved, convolution: bytes):
    """The two commands of the person at the board, on a model with some work in it."""
    path = saved(convolution)
    info = run(clean_bin / "edgec-runtime", "info", path, cwd=clean_bin)
    assert info.returncode == 0, info.stderr
    assert "4 conv_2d" in info.stdout
    words = ("bench", path, "--runs", 5, "--min-time", 0, "--warmup-time", 0, "--threads", 2, "--json", "-")
    bench = run(clean_bin / "edgec-runtime", *words, cwd=clean_bin)
    assert bench.returncode == 0, bench.stderr
    document = json.loads(bench.stdout)
    assert document["latency_ms"]["runs"] == 5
    assert document["delegate"]["delegated"] == 4
