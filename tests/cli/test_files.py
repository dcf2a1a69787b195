"""What a compile may write, and that Ctrl-C leaves all of it or nothing."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from edgec import stages
from edgec.cli import main
from edgec.cli.exits import uninterrupted

SAMPLE = Path(__file__).resolve().parents[2] / "samples" / "digits_cnn.onnx"


def compile_cli(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["compile", *map(str, arguments)])


def test_the_source_is_never_overwritten(tmp_path: Path) -> None:
    """`-o` with the model's own name, also through a link, and a report over the calibration data."""
    model, link = tmp_path / "model.onnx", tmp_path / "link.tflite"
    model.write_bytes(SAMPLE.read_bytes())
    link.symlink_to(model)
    for output in (model, link):
        result = compile_cli(model, "-o", output)
        assert result.exit_code == 1
        assert "E0507" in result.output and "The model is read from here" in result.output
    data = tmp_path / "data.json"
    result = compile_cli(model, "--int8", "--calibration", data, "--report", data)
    assert "E0507" in result.output and "The calibration data is read from here" in result.output
    assert model.read_bytes() == SAMPLE.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link.tflite", "model.onnx"]


def test_no_file_is_written_twice(tmp_path: Path) -> None:
    """A report on the manifest's path would leave the one that came last."""
    result = compile_cli(SAMPLE, "-o", tmp_path / "m.tflite", "--report", tmp_path / "m.manifest.json")
    assert result.exit_code == 1
    assert "The manifest goes here" in result.output
    assert list(tmp_path.iterdir()) == []


def test_two_reports_of_one_kind_are_both_listed(tmp_path: Path) -> None:
    reports = [tmp_path / "a.json", tmp_path / "b.json"]
    result = compile_cli(SAMPLE, "-o", tmp_path / "m.tflite", *(f"--report={path}" for path in reports))
    assert result.exit_code == 0, result.output
    assert all(str(path) in result.output and path.exists() for path in reports)


@pytest.mark.parametrize("raised", [KeyboardInterrupt(), ImportError("initialization failed")])
def test_an_interrupt_is_one_line_and_130(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, raised: BaseException
) -> None:
    """Extension modules that are being imported turn the KeyboardInterrupt into an ImportError."""

    def interrupted(*args: object) -> None:
        try:
            os.kill(os.getpid(), signal.SIGINT)
        except KeyboardInterrupt:
            raise raised from None

    monkeypatch.setattr(stages, "emit", interrupted)
    result = compile_cli(SAMPLE, "-o", tmp_path / "m.tflite")
    assert result.exit_code == 130
    assert result.output == "interrupted; nothing was written\n"
    assert list(tmp_path.iterdir()) == []
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_files_that_belong_together_are_written_together() -> None:
    """Between the model and its manifest Ctrl-C has no effect; afterwards it has."""
    with uninterrupted():
        os.kill(os.getpid(), signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)
