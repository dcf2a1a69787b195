"""Models come in through one door: TFLite files, and Keras where TensorFlow is installed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import edgec
from edgec.cli import main

ROOT = Path(__file__).resolve().parents[1]
SAMPLE = ROOT / "samples" / "digits_cnn.onnx"
CALIBRATION = ROOT / "calibration_data" / "digits"


@pytest.fixture(scope="module")
def float_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return edgec.compile(SAMPLE).save(tmp_path_factory.mktemp("made") / "digits.tflite")


def test_float_tflite_is_quantized_like_any_source(float_file: Path) -> None:
    """Through TFLite or straight from ONNX: the same int8 model, within a decibel of the same float model."""
    images = {"image": np.load(ROOT / "samples" / "digits_test.npz")["image"][:50]}
    through = edgec.compile(float_file, precision="int8", calibration=images).report
    straight = edgec.compile(SAMPLE, precision="int8", calibration=images).report
    assert through.source.format == "tflite"
    assert through.verification is not None
    assert straight.verification is not None
    ours, direct = through.verification.outputs[0].sqnr_db, straight.verification.outputs[0].sqnr_db
    assert ours == pytest.approx(direct, abs=1)


def test_float_tflite_keeps_its_numbers(float_file: Path) -> None:
    report = edgec.compile(float_file, verify_each=True).report
    assert report.passed
    assert report.verification is not None
    assert report.verification.outputs[0].sqnr_db > 120


def test_quantized_tflite_comes_out_equal_in_value(tmp_path: Path) -> None:
    """Its scales are part of the contract: every output is bit-equal in the reference kernels."""
    made = edgec.compile(SAMPLE, precision="int8", calibration=CALIBRATION)
    report = edgec.compile(made.save(tmp_path / "int8.tflite"), verify_each=True).report
    assert report.verification is not None
    assert report.verification.outputs[0].sqnr_db == float("inf")
    assert [item.scale for item in report.inputs] == [item.scale for item in made.report.inputs]


def test_tflite_bytes_are_taken(float_file: Path) -> None:
    assert edgec.compile(float_file.read_bytes()).tflite == edgec.compile(float_file).tflite


def test_doctor_finds_nothing_in_our_own_files(float_file: Path) -> None:
    result = CliRunner().invoke(main, ["doctor", str(float_file)])
    assert (result.exit_code, result.output) == (0, "healthy\n")


def test_doctor_refuses_what_is_no_tflite_file(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["doctor", str(SAMPLE)])
    assert result.exit_code == 1
    assert "E01" in result.output


def test_torch_archives_say_what_to_do(tmp_path: Path) -> None:
    import zipfile

    path = tmp_path / "model.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model/data.pkl", b"")
    result = CliRunner().invoke(main, ["compile", str(path)])
    assert result.exit_code == 1
    assert "torch.export.save" in result.output


def test_keras_without_tensorflow_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ONNX and TFLite work without TensorFlow; Keras says which extra to install."""
    import sys

    monkeypatch.setitem(sys.modules, "tensorflow", None)
    monkeypatch.setitem(sys.modules, "keras", None)
    path = tmp_path / "model.h5"
    path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(64))
    result = CliRunner().invoke(main, ["compile", str(path)])
    assert result.exit_code == 1
    assert "edgec[keras]" in result.output
