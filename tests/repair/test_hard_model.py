"""The hard model: a trained depthwise network, its channels spread ×1000 apart, relu6, one scale for weights.

It is made from `samples/digits_cnn.onnx` by factors that cancel, so it classifies as the original does; only
its ranges are as bad as in Nagel et al. 2019.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from edgec.calibrate.ranges import collect_ranges
from edgec.ir import Array, Model
from edgec.ops import ActivationFunctionType
from edgec.options import CompileOptions
from edgec.pipeline import integer_pipeline, run_passes
from edgec.quantize import quantize_int8
from edgec.quantize.roles import assign_roles
from edgec.repair.bias import correct_bias_analytically
from edgec.repair.channels import collect_channel_statistics
from edgec.repair.copying import copy_with
from edgec.repair.equalize import equalize, scale_channels
from edgec.repair.freedom import FIXED, find_freedom
from tests.quantize.small_graphs import run_float, run_real

ROOT = Path(__file__).resolve().parents[2]
KINDS = ("conv_2d", "depthwise_conv_2d", "fully_connected")
SPREAD = 1000.0

Sample = dict[str, Array]


def float_model() -> Model:
    """The sample model as stages prepare it for int8."""
    from edgec import stages
    from edgec.diagnostics import Diagnostics
    from edgec.progress import Stopwatch

    job = stages.Job(CompileOptions(precision="int8"), Diagnostics(), Stopwatch(None))
    _, profile = stages.choose_target(job)
    source = stages.load(job, ROOT / "samples/digits_cnn.onnx")
    return run_passes(stages.import_and_optimize(job, source, profile), integer_pipeline(profile))


def calibration() -> list[Sample]:
    from PIL import Image

    files = sorted((ROOT / "calibration_data/digits").glob("*.png"))
    return [
        {"image": np.asarray(Image.open(file), np.float32)[None, None] / np.float32(255)} for file in files
    ]


def held_out() -> tuple[list[Sample], npt.NDArray[np.int64]]:
    with np.load(ROOT / "samples/digits_test.npz") as data:
        return [{"image": image[None]} for image in data["image"]], data["label"]


def spread_apart(model: Model, samples: list[Sample]) -> Model:
    """Bring all channels to a peak of 1.4, clamp at 6 without effect, then scale them by 1/1000 to 1."""
    statistics = collect_channel_statistics(model, samples)
    freedom = find_freedom(model.graph, assign_roles(model.graph))
    peaks = np.zeros(freedom.count)
    for value, labels in freedom.labels.items():
        if labels.size == labels.shape[-1]:
            np.maximum.at(peaks, freedom.channels(value), statistics[value.name].high)
    factors = np.random.default_rng(0).uniform(-np.log(SPREAD), 0, freedom.count)
    factors = np.exp(factors) * 1.4 / np.maximum(peaks, 1e-6)
    factors[FIXED] = 1.0
    scaled = scale_channels(model, freedom, factors)
    clamped = {
        node: replace(node.attributes, fused_activation_function=ActivationFunctionType.RELU6)
        for node in scaled.graph
        if node.kind in ("conv_2d", "depthwise_conv_2d")
        and getattr(node.attributes, "fused_activation_function", None) is ActivationFunctionType.RELU
    }
    assert len(clamped) == 3
    return copy_with(scaled, {}, clamped)


def top1(outputs: list[Array], labels: npt.NDArray[np.int64]) -> float:
    return float(np.mean([np.argmax(out) == label for out, label in zip(outputs, labels, strict=True)]))


@pytest.fixture(scope="module")
def hard() -> tuple[Model, Model]:
    """The original and the hard model."""
    original = float_model()
    return original, spread_apart(original, calibration())


def test_the_hard_model_classifies_as_the_original(hard: tuple[Model, Model]) -> None:
    """All its factors cancel; its weights are spread a thousandfold."""
    original, model = hard
    samples, _ = held_out()
    for sample in samples[:50]:
        np.testing.assert_allclose(
            run_float(model, sample)[0], run_float(original, sample)[0], rtol=1e-4, atol=1e-4
        )
    depthwise = next(node for node in model.graph if node.kind == "depthwise_conv_2d")
    ranges = np.abs(depthwise.operand(1).constant()).max(axis=(0, 1, 2))
    assert ranges.max() / ranges.min() > 300


def test_naive_int8_collapses_and_repairs_bring_it_back(hard: tuple[Model, Model]) -> None:
    """One scale for all weights: below 50 % without repairs (10 % is chance), with them as in float."""
    _, model = hard
    samples, labels = held_out()
    seen = calibration()
    truth = top1([run_float(model, sample)[0] for sample in samples], labels)
    assert truth > 0.97

    def accuracy(changed: Model) -> float:
        quantized = quantize_int8(changed, collect_ranges(changed, seen), per_axis=False)
        return top1([run_real(quantized, sample)[0] for sample in samples], labels)

    assert accuracy(model) < 0.5
    statistics = collect_channel_statistics(model, seen)
    even = equalize(model, statistics, per_tensor_kinds=KINDS).model
    ranges = collect_ranges(even, seen)
    statistics = collect_channel_statistics(even, seen)
    repaired = correct_bias_analytically(
        even, statistics, lambda changed: quantize_int8(changed, ranges, per_axis=False)
    ).model
    assert accuracy(repaired) > truth - 0.01
