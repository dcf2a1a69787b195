"""The verifier catches each broken rule, and says which node and what."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from edgec.diagnostics import Severity
from edgec.ir import DType, Graph, Model, Node, Quantization, Value
from edgec.ops import Padding
from edgec.ops.pool import Pool2DAttributes
from edgec.quantize import check_quantized, quantize_int8
from tests.quantize.small_graphs import Sketch, calibrated


def sound() -> Model:
    """conv → max pool → add a constant → reshape → dense → softmax, in int8."""
    sketch = Sketch()
    x = sketch.conv(sketch.input(1, 4, 4, 3), 4)
    pooled = sketch.build.op("max_pool_2d", [x], Pool2DAttributes(Padding.VALID, 2, 2, 2, 2), "pooled")
    moved = sketch.build.op("add", [pooled, sketch.build.constant(0.5)], name="moved")
    dense = sketch.dense(sketch.build.reshape(moved, [1, 16]), 3)
    model = sketch.model(sketch.build.op("softmax", [dense], name="scores"))
    return quantize_int8(model, calibrated(model))


def node(model: Model, kind: str) -> Node:
    return next(node for node in model.graph if node.kind == kind)


def requantize(value: Value, scale: float, zero_point: int = 0) -> None:
    value.type = replace(value.type, quantization=Quantization.per_tensor(scale, zero_point))


def unequal_scales(model: Model) -> None:
    requantize(node(model, "max_pool_2d").result, 0.5)


def wrong_fixed_scale(model: Model) -> None:
    requantize(node(model, "softmax").result, 1 / 255, -128)


def weight_zero_point(model: Model) -> None:
    weights = node(model, "conv_2d").operand(1)
    form = weights.type.quantization
    assert form is not None
    weights.type = replace(weights.type, quantization=replace(form, zero_point=(1,) * len(form.scale)))


def full_range_weights(model: Model) -> None:
    node(model, "conv_2d").operand(1).constant().reshape(-1)[0] = -128


def wrong_axis(model: Model) -> None:
    weights = node(model, "conv_2d").operand(1)
    form = Quantization((0.01,) * 3, (0,) * 3, 1)
    weights.type = replace(weights.type, quantization=form)


def float_weights(model: Model) -> None:
    conv = node(model, "conv_2d")
    model.graph.set_operand(conv, 1, model.graph.constant(np.zeros(conv.operand(1).shape, np.float32)))


def wide_bias(model: Model) -> None:
    conv = node(model, "conv_2d")
    bias = conv.operand(2)
    model.graph.set_operand(
        conv, 2, Value("wide", replace(bias.type, dtype=DType.INT64), bias.constant().astype(np.int64))
    )


def bias_of_another_scale(model: Model) -> None:
    requantize(node(model, "fully_connected").operand(2), 0.5)


def saturated_bias(model: Model) -> None:
    node(model, "fully_connected").operand(2).constant()[0] = 2**31 - 1


def large_multiplier(model: Model) -> None:
    requantize(node(model, "fully_connected").result, 1e-9)


def vanishing_multiplier(model: Model) -> None:
    requantize(node(model, "fully_connected").result, 1e9)


def infinite_scale(model: Model) -> None:
    requantize(node(model, "add").result, float("inf"))


def zero_point_out_of_range(model: Model) -> None:
    requantize(node(model, "add").result, 0.1, 200)


def missing_parameters(model: Model) -> None:
    value = node(model, "add").result
    value.type = replace(value.type, quantization=None)


def float_inside(model: Model) -> None:
    value = node(model, "add").result
    value.type = replace(value.type, dtype=DType.FLOAT32, quantization=None)


VIOLATIONS = [
    (unequal_scales, "E0431", "(max_pool_2d)", "The kernel copies integers"),
    (wrong_fixed_scale, "E0432", "(softmax)", "the kernel assumes scale 0.00390625 zero_point -128"),
    (weight_zero_point, "E0433", "(conv_2d)", "weights have a zero point"),
    (full_range_weights, "E0433", "(conv_2d)", "weights hold -128"),
    (wrong_axis, "E0433", "(conv_2d)", "the kernel takes axis 0"),
    (float_weights, "E0433", "(conv_2d)", "weights are float32[4,3,3,3], not quantized int8"),
    (wide_bias, "E0434", "(conv_2d)", "not a quantized int32 constant"),
    (bias_of_another_scale, "E0434", "(fully_connected)", "bias scale is not input scale times weight scale"),
    (saturated_bias, "E0434", "(fully_connected)", "bias is above 2^30"),
    (large_multiplier, "E0435", "(fully_connected)", "Kernels take 2.33e-10 up to below 256"),
    (vanishing_multiplier, "E0435", "(fully_connected)", "multipliers reach from"),
    (infinite_scale, "E0436", "(add)", "has unusable parameters"),
    (zero_point_out_of_range, "E0436", "(add)", "has unusable parameters"),
    (missing_parameters, "E0436", "(add)", "is int8 without scale"),
    (float_inside, "E0437", "(add)", "is float32 inside the model"),
]


def test_a_sound_model_has_nothing_to_report() -> None:
    """The base of every violation below."""
    assert check_quantized(sound()) == []


@pytest.mark.parametrize(
    ("breaks", "code", "where", "text"), VIOLATIONS, ids=lambda item: getattr(item, "__name__", "")
)
def test_each_violation_is_found(breaks: Callable[[Model], None], code: str, where: str, text: str) -> None:
    """By its own code, at its node, in words."""
    model = sound()
    breaks(model)
    found = [item for item in check_quantized(model) if item.code == code and where in item.where]
    assert any(text in str(item) for item in found), check_quantized(model)
    assert "please report it" in str(found[0])


def test_a_ratio_outside_the_delegate_s_window_is_a_warning() -> None:
    """It runs, but slowly: 2^-10 of the output's scale is the least XNNPACK takes for add."""
    model = sound()
    requantize(node(model, "add").operand(1), 1e-9)
    (found,) = check_quantized(model)
    assert (found.code, found.severity) == ("W0441", Severity.WARNING)
    assert "XNNPACK leaves the node to a slower kernel" in str(found)


def test_floats_at_the_border_are_no_islands() -> None:
    """quantize of an input and dequantize of an output are the user's choice of interface."""
    sketch = Sketch()
    model = sketch.model(sketch.conv(sketch.input(1, 4, 4, 3), 4))
    made = quantize_int8(model, calibrated(model), input_type=DType.FLOAT32, output_type=DType.FLOAT32)
    assert [node.kind for node in made.graph] == ["quantize", "conv_2d", "dequantize"]
    assert check_quantized(made) == []


def test_subgraphs_are_checked_too() -> None:
    """A violation in a branch is as fatal as in the main graph."""
    model = sound()
    broken = sound()
    wrong_fixed_scale(broken)
    branch: Graph = broken.graph
    model.subgraphs.append(branch)
    assert [item.code for item in check_quantized(model)] == ["E0432"]
