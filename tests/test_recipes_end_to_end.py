"""Recipes, budgets, schemes and heads through the public API, on the sample model and one small head."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from click.testing import CliRunner
from onnx import TensorProto, helper, numpy_helper

import edgec
from edgec.cli import main
from edgec.diagnostics import CompileError, Severity
from edgec.options import CompileOptions
from edgec.recipes.recipe import Recipe, read_recipe
from edgec.reports import words
from edgec.reports.model import Report

ROOT = Path(__file__).resolve().parents[1]
SAMPLE = ROOT / "samples" / "digits_cnn.onnx"
CALIBRATION = ROOT / "calibration_data" / "digits"
HELD_OUT = np.load(ROOT / "samples" / "digits_test.npz")
EVALUATION = {"image": HELD_OUT["image"], "labels": HELD_OUT["label"].astype(np.int64)}


def test_recipe_gives_the_same_bytes(tmp_path: Path) -> None:
    """A recipe written by one compile makes the same file in the next."""
    chosen = Recipe(calibrator="mse", repairs=("equalize", "bias"))
    first = edgec.compile(SAMPLE, precision="int8", calibration=CALIBRATION, recipe=chosen)
    assert first.recipe == chosen
    path = tmp_path / "r.toml"
    path.write_text(first.recipe.to_toml())
    again = edgec.compile(SAMPLE, precision="int8", calibration=CALIBRATION, recipe=path)
    assert again.tflite == first.tflite


def test_budget_within_reach_is_a_gate_that_passes() -> None:
    """The sample model loses no more than a point on labelled digits, whatever the recipe."""
    made = edgec.compile(
        SAMPLE, precision="int8", calibration=CALIBRATION, max_drop=1.0, evaluation=EVALUATION
    )
    (gate,) = made.report.gates
    assert gate.passed
    assert gate.actual <= 1.0
    assert "top1" in gate.name
    assert made.report.quantization is not None
    assert made.report.quantization.trials


def test_labelled_data_alone_is_evaluated() -> None:
    """Without a budget nothing is searched, but the figures are there: those of both models, by hand."""
    made = edgec.compile(SAMPLE, precision="int8", calibration=CALIBRATION, evaluation=EVALUATION)
    session = onnxruntime.InferenceSession(SAMPLE)
    right = [
        int(session.run(None, {"image": image[None]})[0].argmax()) == label
        for image, label in zip(EVALUATION["image"], EVALUATION["labels"], strict=True)
    ]
    assert made.report.gates == ()
    found = made.report.accuracy
    assert found is not None
    assert (found.metric, found.source_value) == ("top1", pytest.approx(100 * np.mean(right)))
    assert found.drop == pytest.approx(found.source_value - found.value)


def test_a_metric_alone_is_evaluated_on_the_calibration_samples() -> None:
    """`--metric agreement` needs no labels; one that does is refused before anything is calibrated."""
    made = edgec.compile(SAMPLE, precision="int8", calibration=CALIBRATION, metric="agreement")
    assert made.report.accuracy is not None
    assert made.report.accuracy.data == "the calibration samples"
    assert (made.report.accuracy.source_value, made.report.accuracy.value) == (100, 100)
    with pytest.raises(CompileError, match="E0613 --metric: 'top1' needs labels"):
        edgec.compile(SAMPLE, precision="int8", calibration=CALIBRATION, metric="top1")


def test_labels_that_do_not_fit_the_samples_are_no_proof() -> None:
    """Rolled by one, labels are those of other images: float is no better than guessing, which is said."""
    rolled = EVALUATION | {"labels": (EVALUATION["labels"] + 1) % 10}
    made = edgec.compile(SAMPLE, precision="int8", calibration=CALIBRATION, evaluation=rolled)
    (warning,) = [item for item in made.diagnostics if item.code == "W0619"]
    assert "guessing 10" in warning.what


def test_a_far_output_is_no_success() -> None:
    """One sample 500 times as bright leaves the digits one level of 256: nothing failed, but it is said."""
    images = EVALUATION["image"][:20]
    data = np.concatenate([images, 500 * images[:1]])
    made = edgec.compile(SAMPLE, precision="int8", calibration=data, observer="minmax", repairs=())
    assert made.report.passed
    assert words.state(made.report) == "POOR"
    assert "far from the source" in words.headline(made.report)
    (warning,) = [item for item in made.diagnostics if item.code == "W0703"]
    assert "calibrate-audit" in warning.next_step


def test_budget_out_of_reach_exits_with_3_and_says_why(tmp_path: Path) -> None:
    """No quantized model equals float: the best recipe is written all the same, and the exit code says so."""
    out = tmp_path / "digits.tflite"
    flags = ["--int8", "--calibration", str(CALIBRATION), "--calibration-samples", "16"]
    budget = ["--max-drop", "0", "--metric", "error", "--no-cache", "-q"]
    report = ["--report", str(tmp_path / "r.json")]
    run = CliRunner().invoke(main, ["compile", str(SAMPLE), "-o", str(out), *flags, *budget, *report])
    assert run.exit_code == 3, run.output
    assert out.exists()
    assert read_recipe(tmp_path / "digits.recipe.toml").precision == "int8"
    report = Report.load(tmp_path / "r.json")
    assert report.explanation is not None
    assert report.explanation.causes
    (warning,) = [item for item in report.diagnostics if item.code == "W0620"]
    assert "0 % is out of reach: the best of" in warning.what
    assert "The layers that make most of the noise: '" in warning.why


def test_int16x8_is_more_exact_than_int8() -> None:
    """Sixteen-bit activations leave the rounding of weights as the only loss."""
    kinds = ("int8", "int16x8")
    made = [edgec.compile(SAMPLE, precision=kind, calibration=CALIBRATION) for kind in kinds]
    sqnr = [item.report.worst_output.sqnr_db for item in made if item.report.worst_output]
    assert sqnr[1] > sqnr[0]
    assert made[1].report.inputs[0].dtype == "int16"
    assert made[1].report.quantization is not None
    assert made[1].report.quantization.float_ops == ()


def test_weight_only_forms_shrink_the_file() -> None:
    """int8 weights take a quarter of float's bytes, int4 an eighth of the larger tensors."""
    reports = {kind: edgec.compile(SAMPLE, weights=kind).report for kind in (None, "int8", "int4")}
    assert reports["int4"].size_bytes < reports["int8"].size_bytes < reports[None].size_bytes / 2
    assert all(report.passed for report in reports.values())  # rounded weights are no fault of the compile


def _head() -> onnx.ModelProto:
    """Boxes of 0..640 and scores of 0..1 in one output, as detectors export them."""
    rng = np.random.default_rng(0)
    weights = {
        "wb": np.abs(rng.normal(size=(8, 4))).astype(np.float32) * 80,
        "ws": rng.normal(size=(8, 3)).astype(np.float32),
    }
    nodes = [
        helper.make_node("MatMul", ["x", "wb"], ["boxes"]),
        helper.make_node("MatMul", ["x", "ws"], ["logits"]),
        helper.make_node("Sigmoid", ["logits"], ["scores"]),
        helper.make_node("Concat", ["boxes", "scores"], ["head"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "head",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 8])],
        [helper.make_tensor_value_info("head", TensorProto.FLOAT, [1, 7])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def test_unlike_parts_of_a_head_keep_their_scales() -> None:
    """The output is joined in float, so scores survive beside boxes, and a message names both parts."""
    x = np.random.default_rng(1).uniform(0, 1, (64, 8)).astype(np.float32)
    made = edgec.compile(_head(), precision="int8", calibration={"x": x})
    (output,) = made.report.outputs
    assert output.dtype == "float32"
    (message,) = [item for item in made.diagnostics if item.code == "W0444"]
    assert "boxes" in message.what
    assert "scores" in message.what


def test_asking_for_int8_outputs_keeps_one_scale() -> None:
    """The user's word on the output type wins."""
    x = np.random.default_rng(1).uniform(0, 1, (64, 8)).astype(np.float32)
    made = edgec.compile(_head(), precision="int8", calibration={"x": x}, output_type="int8")
    assert made.report.outputs[0].dtype == "int8"
    assert not [item for item in made.diagnostics if item.code == "W0444"]


def test_calibration_array_alone_is_taken() -> None:
    """One array feeds the only input."""
    x = np.random.default_rng(1).uniform(0, 1, (16, 8)).astype(np.float32)
    assert edgec.compile(_head(), precision="int8", calibration=x).report.passed


def test_audit_command_reads_the_sample_set() -> None:
    """The shipped samples are worth calibrating with, alone and with the model they are for."""
    for extra in ([], ["--model", str(SAMPLE)]):
        run = CliRunner().invoke(main, ["calibrate-audit", str(CALIBRATION), *extra])
        assert run.exit_code == 0, run.output
        assert "channel" in run.output


def test_a_repair_named_twice_is_applied_once() -> None:
    """Saying it again is no fault of anybody's."""
    options = CompileOptions(precision="int8", repairs=("bias", "bias"))
    assert options.chosen_recipe().repairs == ("bias",)


def test_a_budget_for_integers_that_are_given_is_refused() -> None:
    """The file's own scales are kept, so nothing would be held to the budget; samples are only unused."""
    made = edgec.compile(SAMPLE, precision="int8", calibration=CALIBRATION, repairs=(), observer="minmax")
    with pytest.raises(CompileError, match="E0616 --max-drop: has no effect: the source is quantized"):
        edgec.compile(made.tflite, precision="int8", max_drop=1.0)
    again = edgec.compile(made.tflite, precision="int8", calibration=EVALUATION["image"])
    assert [item.code for item in again.diagnostics if item.severity is Severity.WARNING] == ["W0622"]
