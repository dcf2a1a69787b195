"""Rewrites before calibration: same float values, quantizable nodes."""

from __future__ import annotations

import numpy as np
import pytest

from edgec.ir import Array, Model
from edgec.ops import ActivationFunctionType
from edgec.ops.elementwise import DivAttributes
from edgec.passes.contract import RulePass
from edgec.quantize import int8_rules, quantize_int8
from edgec.rewrite import Explanation, apply_rules
from tests.quantize.small_graphs import Sketch, calibrated, kinds, output_sqnr, run_float

RAMP = np.linspace(-4, 4, 48, dtype=np.float32).reshape(1, 4, 4, 3)


def one_node(kind: str, second: Array | None = None, fused: ActivationFunctionType | None = None) -> Model:
    sketch = Sketch()
    operands = [sketch.input(1, 4, 4, 3)]
    if second is not None:
        operands.append(sketch.build.constant(second))
    attributes = [] if fused is None else [DivAttributes(fused)]
    return sketch.model(sketch.build.op(kind, operands, *attributes, name="y"))


def scalar(value: float) -> Array:
    return np.asarray(value, np.float32)


@pytest.mark.parametrize(
    ("kind", "second", "expected"),
    [
        ("square", None, ["mul"]),
        ("neg", None, ["mul"]),
        ("pow", scalar(2.0), ["mul"]),
        ("pow", scalar(3.0), ["mul", "mul"]),
        ("pow", scalar(1.0), []),
        ("div", scalar(3.0), ["mul"]),
        ("div", np.array([2.0, -0.7, 1e5], np.float32), ["depthwise_conv_2d"]),
        ("hard_swish", None, ["add", "mul", "mul"]),
    ],
)
def test_the_rewritten_graph_computes_the_same(kind: str, second: Array | None, expected: list[str]) -> None:
    """Within 1e-6 of the largest value, a few roundings of float32, and under the same output name."""
    model = one_node(kind, second)
    before = run_float(model, {"x": RAMP})[0]
    assert RulePass("int8", int8_rules()).run(model).modified
    assert kinds(model) == expected
    if expected:
        assert model.graph.outputs[0].name == "y"
        after = run_float(model, {"x": RAMP})[0]
        np.testing.assert_allclose(after, before, rtol=1e-6, atol=1e-6 * float(np.abs(before).max()))
    else:
        assert model.graph.outputs[0] is model.graph.inputs[0]


def test_a_fused_activation_stays_with_the_product() -> None:
    """div with relu becomes mul with relu."""
    model = one_node("div", scalar(2.0), ActivationFunctionType.RELU)
    RulePass("int8", int8_rules()).run(model)
    np.testing.assert_array_equal(run_float(model, {"x": RAMP})[0], np.maximum(RAMP / 2, 0))


@pytest.mark.parametrize(
    ("kind", "second", "reason"),
    [
        ("div", scalar(0.0), "the divisor holds zero or a denormal number"),
        ("div", scalar(1e-39), "the divisor holds zero or a denormal number"),
        ("pow", scalar(0.5), "the exponent is not 1, 2 or 3"),
        ("pow", scalar(9.0), "the exponent is not 1, 2 or 3"),
        ("pow", np.array([2.0, 2.0, 3.0], np.float32), "the exponent is not 1, 2 or 3"),
    ],
)
def test_what_would_change_values_stays(kind: str, second: Array, reason: str) -> None:
    """The rule says why."""
    model = one_node(kind, second)
    explanations: list[Explanation] = []
    assert not apply_rules(model.graph, int8_rules(), explanations)
    assert kinds(model) == [kind]
    assert [item.reason for item in explanations] == [reason]


def test_division_by_a_run_time_value_stays() -> None:
    """It has an int8 kernel of its own."""
    sketch = Sketch()
    x, y = sketch.input(1, 4), sketch.input(1, 4, name="y")
    model = sketch.model(sketch.build.op("div", [x, y], name="z"))
    assert not apply_rules(model.graph, int8_rules())


def test_microcontroller_kernels_keep_their_own_nodes() -> None:
    """Without a delegate, hard_swish is one table look-up; only what has no int8 form is rewritten."""
    model = one_node("hard_swish")
    assert not RulePass("int8", int8_rules(delegate=False)).run(model).modified
    model = one_node("square")
    assert RulePass("int8", int8_rules(delegate=False)).run(model).modified


def test_decomposed_hard_swish_is_as_exact_in_int8_as_the_node() -> None:
    """The gate's range is [0, 6] and [0, 1] after 1/6: the same integers, so no rounding is added there."""

    def network() -> Model:
        sketch = Sketch(3)
        x = sketch.conv(sketch.input(1, 8, 8, 3), 8, fused=ActivationFunctionType.NONE)
        return sketch.model(sketch.build.op("hard_swish", [x], name="y"))

    whole = network()
    parts = RulePass("int8", int8_rules()).run(network()).model
    (expected,) = output_sqnr(whole, quantize_int8(whole, calibrated(whole)))
    (found,) = output_sqnr(parts, quantize_int8(parts, calibrated(parts)))
    assert found > expected - 1.0
