"""The command as a process: exit codes, streams, files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

QUICK = ("--runs", 3, "--min-time", 0, "--warmup", 1, "--warmup-time", 0)


@pytest.mark.parametrize("name", ["", "info", "run", "bench", "doctor"])
def test_help_has_examples(command, name: str):
    done = command(*([name] if name else []), "--help")
    assert done.returncode == 0
    assert f"edgec-runtime {name}".strip() in done.stdout
    assert "examples:" in done.stdout


def test_version(command):
    from edgec_runtime import __version__

    assert command("--version").stdout == f"edgec-runtime {__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("fly",),
        ("info",),
        ("run", "m.tflite"),
        ("run", "m.tflite", "--input", "x.npy", "--random", "0"),
        ("bench", "m.tflite", "--threads", "0"),
        ("bench", "m.tflite", "--runs", "many"),
        ("bench", "m.tflite", "--min-time", "nan"),
        ("bench", "m.tflite", "--fail-above-ms", "-1"),
        ("bench", "m.tflite", "--kernels", "fast"),
    ],
)
def test_wrong_usage_is_exit_2(command, arguments: tuple[str, ...]):
    done = command(*arguments)
    assert done.returncode == 2
    assert "usage: edgec-runtime" in done.stderr


@pytest.mark.parametrize("name", ["info", "run", "bench"])
def test_bad_files_are_exit_1_without_traceback(command, saved, name: str):
    path = saved(b"just some text, certainly not a model")
    done = command(name, path, *(["--random", 0] if name == "run" else []))
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith(f"edgec-runtime: {path}: not a TFLite model: it is a text file.")
    assert done.stderr.count("\n") == 1


def test_run_writes_real_values(command, saved, int8_copy: bytes, tmp_path: Path):
    """scale 0.5: 0.3 comes back as 0.5."""
    np.savez(tmp_path / "x.npz", x=np.array([[0, 0.3, 1, 2]], np.float32))
    done = command("run", saved(int8_copy), "--input", tmp_path / "x.npz", "--output", tmp_path / "y.npz")
    assert done.returncode == 0
    with np.load(tmp_path / "y.npz") as outputs:
        assert outputs["y"].ravel().tolist() == [0, 0.5, 1, 2]


def test_run_raw(command, saved, int8_copy: bytes, tmp_path: Path):
    np.save(tmp_path / "x.npy", np.array([[-128, 0, 1, 127]], np.int8))
    arguments = (
        "run",
        saved(int8_copy),
        "--raw",
        "--input",
        tmp_path / "x.npy",
        "--output",
        tmp_path / "y.npz",
    )
    assert command(*arguments).returncode == 0
    with np.load(tmp_path / "y.npz") as outputs:
        assert outputs["y"].dtype == np.int8
        assert outputs["y"].ravel().tolist() == [-128, 0, 1, 127]


def test_run_on_many_samples(command, saved, difference: bytes, tmp_path: Path):
    """Four samples of [3] go in, four rows come out in the same order."""
    left = np.arange(12, dtype=np.float32).reshape(4, 3)
    np.savez(tmp_path / "x.npz", left=left, right=np.ones((4, 3), np.float32))
    done = command("run", saved(difference), "--input", tmp_path / "x.npz", "--output", tmp_path / "y.npz")
    assert done.returncode == 0
    with np.load(tmp_path / "y.npz") as outputs:
        np.testing.assert_array_equal(outputs["minus"], left - 1)


def test_run_prints_a_summary_and_is_reproducible(command, saved, difference: bytes):
    one, two, other = (command("run", saved(difference), "--random", seed) for seed in (5, 5, 6))
    assert one.returncode == 0
    assert one.stdout.startswith("minus  float32[1, 3]  min ")
    assert one.stdout == two.stdout != other.stdout


@pytest.mark.parametrize(
    ("values", "output", "message"),
    [
        ({"x": np.zeros((1, 5))}, "y.npz", r"input 'x': expected shape [1, 4], got [1, 5]"),
        ({"x": np.full((1, 4), np.nan)}, "y.npz", "got 4 NaN among 4 values"),
        ({"z": np.zeros(4)}, "y.npz", "no array for input 'x'; it holds z"),
        ({"x": np.zeros((0, 4))}, "y.npz", "it holds no sample"),
        ({"x": np.zeros(4)}, "none/y.npz", "cannot be written: No such file"),
        ({"x": np.zeros(4)}, "y.txt", "outputs are written as .npz"),
    ],
)
def test_bad_values_are_exit_1_and_leave_no_file(
    command, saved, int8_copy: bytes, tmp_path: Path, values: dict[str, np.ndarray], output: str, message: str
):
    np.savez(tmp_path / "x.npz", **values)
    path = saved(int8_copy)
    before = sorted(tmp_path.iterdir())
    done = command("run", path, "--input", tmp_path / "x.npz", "--output", tmp_path / output)
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(tmp_path.iterdir()) == before


def test_bench_prints_a_table_and_writes_json(command, saved, difference: bytes, tmp_path: Path):
    done = command("bench", saved(difference), *QUICK, "--json", tmp_path / "b.json")
    assert done.returncode == 0
    for label in (
        "model",
        "runtime",
        "delegate",
        "threads",
        "load",
        "first run",
        "warm-up",
        "steady",
        "memory",
    ):
        assert f"\n{label}" in f"\n{done.stdout}"
    assert json.loads((tmp_path / "b.json").read_text(encoding="utf-8"))["latency_ms"]["runs"] == 3


def test_bench_json_on_stdout_is_nothing_but_json(command, saved, difference: bytes):
    done = command("bench", saved(difference), *QUICK, "--json", "-")
    assert json.loads(done.stdout)["kind"] == "edgec-runtime-benchmark"


def test_a_missed_limit_is_exit_3_and_the_figures_are_kept(
    command, saved, convolution: bytes, tmp_path: Path
):
    """460 million multiply-adds take longer than a microsecond anywhere."""
    arguments = ("bench", saved(convolution), *QUICK, "--json", tmp_path / "b.json")
    done = command(*arguments, "--fail-above-ms", 0.001)
    assert done.returncode == 3
    assert "is above the limit of 0.001 ms" in done.stderr
    assert (tmp_path / "b.json").exists()
    assert command(*arguments, "--fail-above-ms", 1e6).returncode == 0


def test_bench_takes_values_from_a_file(command, saved, difference: bytes, tmp_path: Path):
    np.savez(tmp_path / "x.npz", left=np.ones(3), right=np.zeros(3))
    done = command("bench", saved(difference), *QUICK, "--input", tmp_path / "x.npz", "--json", "-")
    assert json.loads(done.stdout)["method"]["input"] == "file"
    bad = command("bench", saved(difference), *QUICK, "--input", tmp_path / "none.npz")
    assert (bad.returncode, bad.stdout) == (1, "")


def test_an_unwritable_result_is_exit_1(command, saved, difference: bytes, tmp_path: Path):
    done = command("bench", saved(difference), *QUICK, "--json", tmp_path / "none" / "b.json")
    assert done.returncode == 1
    assert "cannot be written" in done.stderr
