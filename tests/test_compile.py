"""The main path end to end on the sample model: right numbers, stable contract, stable bytes."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner

import edgec
from edgec.cli import main
from edgec.kernels import KernelSet, Runner

ROOT = Path(__file__).resolve().parents[1]
SAMPLE = ROOT / "samples" / "digits_cnn.onnx"
CALIBRATION = ROOT / "calibration_data" / "digits"
HELD_OUT = np.load(ROOT / "samples" / "digits_test.npz")


def accuracy(compiled: edgec.Compiled, kernels: KernelSet = KernelSet.XNNPACK) -> float:
    """Return top-1 on the held-out digits, feeding and reading real values."""
    runner = Runner(compiled.tflite, kernels=kernels)
    (tensor,) = compiled.report.inputs
    right = 0
    for image, label in zip(HELD_OUT["image"], HELD_OUT["label"], strict=True):
        x = image.reshape(tensor.shape)
        if tensor.scale is not None and tensor.zero_point is not None:
            x = np.clip(np.rint(x / tensor.scale) + tensor.zero_point, -128, 127).astype(np.int8)
        (scores,) = runner.run([x])
        right += int(scores.argmax() == label)
    return right / len(HELD_OUT["label"])


@pytest.fixture(scope="module")
def float32() -> edgec.Compiled:
    return edgec.compile(SAMPLE, target="rpi4", verify_each=True)


@pytest.fixture(scope="module")
def int8() -> edgec.Compiled:
    return edgec.compile(SAMPLE, target="rpi4", precision="int8", calibration=CALIBRATION, verify_each=True)


def test_float_equals_the_source(float32: edgec.Compiled) -> None:
    """Rounding alone: 90 dB is what reordered float32 sums differ by."""
    assert float32.report.passed
    assert float32.report.verification is not None
    assert all(output.sqnr_db > 90 for output in float32.report.verification.outputs)


def test_float_has_no_transpose_and_one_partition(float32: edgec.Compiled) -> None:
    report = float32.report
    assert report.transposes == 0
    assert report.partitions is not None
    assert (report.partitions.count, report.partitions.breakers) == (1, ())


def test_int8_is_integer_only(int8: edgec.Compiled) -> None:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=int8.tflite)
    dtypes = {detail["dtype"] for detail in interpreter.get_tensor_details()}
    assert dtypes <= {np.int8, np.int32}


@pytest.mark.parametrize("kernels", list(KernelSet))
def test_int8_keeps_the_accuracy_on_every_kernel_set(
    float32: edgec.Compiled, int8: edgec.Compiled, kernels: KernelSet
) -> None:
    """Within one point of float on held-out images, whichever kernels run."""
    assert accuracy(int8, kernels) >= accuracy(float32) - 0.01


def test_names_and_order_are_the_sources(float32: edgec.Compiled) -> None:
    assert [item.name for item in float32.report.inputs] == ["image"]
    assert [item.name for item in float32.report.outputs] == ["logits"]


def test_same_input_gives_the_same_bytes(int8: edgec.Compiled) -> None:
    again = edgec.compile(SAMPLE, target="rpi4", precision="int8", calibration=CALIBRATION)
    assert again.tflite == int8.tflite
    assert again.manifest.to_json() == int8.manifest.to_json()


def test_bytes_and_proto_give_the_same_model(float32: edgec.Compiled) -> None:
    assert edgec.compile(SAMPLE.read_bytes(), target="rpi4").tflite == float32.tflite
    assert edgec.compile(onnx.load(SAMPLE), target="rpi4").tflite == float32.tflite


def test_source_layout_keeps_the_shapes() -> None:
    compiled = edgec.compile(SAMPLE, io_layout="source")
    assert compiled.report.inputs[0].shape == (1, 1, 8, 8)


@pytest.mark.parametrize("precision", ["float16", "dynamic"])
def test_weight_only_precisions_stay_close(precision: str) -> None:
    """Half-precision weights and dynamic range keep the sample's outputs above 30 dB."""
    report = edgec.compile(SAMPLE, precision=precision, calibration=CALIBRATION).report
    assert report.verification is not None
    assert report.verification.outputs[0].sqnr_db > 30


def test_pruning_reports_what_it_removed() -> None:
    compiled = edgec.compile(SAMPLE, prune=0.5)
    pruning = compiled.report.pruning
    assert pruning is not None
    removed, total = sum(la.removed for la in pruning.layers), sum(la.total for la in pruning.layers)
    assert removed == total // 2
    assert "stay as they are" in pruning.target_note


def test_microcontroller_model_runs_in_tflm() -> None:
    """The cortex-m7 artifact runs in TFLite Micro and gives what LiteRT's reference kernels give.

    Every node but the last is bit-equal. In FULLY_CONNECTED the two builds round a requantization once or
    twice, so a tie may land one step apart.
    """
    tflite_micro = pytest.importorskip("tflite_micro", reason="TFLite Micro has no wheel here")
    compiled = edgec.compile(SAMPLE, target="cortex-m7", precision="int8", calibration=CALIBRATION)
    runtime = tflite_micro.runtime.Interpreter.from_bytes(compiled.tflite)
    reference = Runner(compiled.tflite, kernels=KernelSet.REFERENCE)
    generator = np.random.default_rng(0)
    for _ in range(5):
        x = generator.integers(-128, 128, compiled.report.inputs[0].shape).astype(np.int8)
        runtime.set_input(x, 0)
        runtime.invoke()
        difference = runtime.get_output(0).astype(int) - reference.run([x])[0].astype(int)
        assert np.abs(difference).max() <= 1


def test_command_line_writes_model_manifest_and_reports(tmp_path: Path) -> None:
    artifact = tmp_path / "digits.tflite"
    arguments = ["compile", str(SAMPLE), "--target", "rpi4", "--int8", "--calibration", str(CALIBRATION)]
    arguments += ["-o", str(artifact)]
    for suffix in ("json", "html", "md", "xml"):
        arguments += ["--report", str(tmp_path / f"report.{suffix}")]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    manifest = json.loads((tmp_path / "digits.manifest.json").read_text())
    assert manifest["artifact"]["sha256"] == hashlib.sha256(artifact.read_bytes()).hexdigest()
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["schema_version"] == 1
    assert report["precision"] == "int8"
    for suffix in ("html", "md", "xml"):
        assert "logits" in (tmp_path / f"report.{suffix}").read_text()


def test_default_output_names(tmp_path: Path) -> None:
    model = tmp_path / "m.onnx"
    model.write_bytes(SAMPLE.read_bytes())
    assert CliRunner().invoke(main, ["compile", str(model), "--target", "rpi4"]).exit_code == 0
    assert (tmp_path / "m.rpi4.float32.tflite").is_file()
    assert (tmp_path / "m.rpi4.float32.manifest.json").is_file()


def test_default_calibration_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """--int8 without --calibration takes ./calibration_data when it fits the model's inputs."""
    (tmp_path / "calibration_data").symlink_to(CALIBRATION.parent, target_is_directory=True)
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, ["compile", str(SAMPLE), "--int8", "-o", "out.tflite"])
    assert result.exit_code == 0, result.output


def test_dump_ir_prints_the_stage(tmp_path: Path) -> None:
    arguments = ["compile", str(SAMPLE), "--dump-ir", "import", "-q", "-o", str(tmp_path / "x.tflite")]
    result = CliRunner().invoke(main, arguments)
    assert "graph main(%image: float32[1,1,8,8])" in result.output


def test_random_calibration_is_loud() -> None:
    compiled = edgec.compile(SAMPLE, precision="int8", calibration="random")
    assert any("random numbers" in item.what for item in compiled.diagnostics)


def test_verification_failure_is_exit_3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A float result outside the tolerance exits 3 and says FAILED; here the tolerance is made impossible."""
    from edgec.reports.model import Tolerance
    from edgec.verify import run

    monkeypatch.setattr(run, "FLOAT_TOLERANCE", Tolerance(relative=0.0, absolute=-1.0))
    result = CliRunner().invoke(main, ["compile", str(SAMPLE), "-o", str(tmp_path / "out.tflite")])
    assert result.exit_code == 3
    assert "FAILED" in result.output


def test_only_a_delegate_makes_partitions() -> None:
    """TFLM hands nothing to XNNPACK, though the check on the computer runs there."""
    made = edgec.compile(SAMPLE, target="cortex-m7", precision="int8", calibration="random")
    assert made.report.partitions is None
