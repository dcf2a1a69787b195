"""A 1x1 convolution behind another convolution: one node, one rounding less."""

from __future__ import annotations

import pytest

from edgec.ir import Value
from edgec.ops import ActivationFunctionType
from edgec.ops.conv import Conv2DAttributes
from edgec.quantize import quantize_int8
from edgec.quantize.prepare.pointwise import ComposePointwise
from edgec.rewrite import apply_rules
from tests.quantize.prepare.cases import Middle, float_change, network, refusals
from tests.quantize.small_graphs import RELU6, Sketch, calibrated, output_sqnr

NONE = ActivationFunctionType.NONE


def narrow(channels: int = 2, outputs: int = 6, kernel: int = 1) -> Middle:
    """relu ─ narrow ─ wide: the narrow one has no activation."""

    def middle(sketch: Sketch, x: Value) -> Value:
        x = sketch.conv(x, 8, fused=RELU6, name="before")
        x = sketch.conv(x, channels, kernel=kernel, fused=NONE, name="narrow")
        return sketch.conv(x, outputs, kernel=1, fused=RELU6, name="wide")

    return middle


@pytest.mark.parametrize("kernel", [1, 3])
def test_float_values_stay(kernel: int) -> None:
    """Within 2e-6 of the largest output; a padded border too, since a bias is the same at every pixel."""
    assert float_change(narrow(6, 6, kernel), ComposePointwise()) < 2e-6


def test_the_activation_of_the_second_stays() -> None:
    """Of five convolutions four are left, and the wide one still ends at 6."""
    model = network(narrow(6, 6))
    apply_rules(model.graph, (ComposePointwise(),))
    made = [node for node in model.graph if node.kind == "conv_2d"]
    assert len(made) == 4
    attributes = made[-2].attributes
    assert isinstance(attributes, Conv2DAttributes)
    assert attributes.fused_activation_function is RELU6


def test_int8_is_no_less_exact() -> None:
    """A tensor that is not rounded adds no noise; half a decibel is what rolling the rest again moves."""
    truth, joined = network(narrow(6, 6)), network(narrow(6, 6))
    apply_rules(joined.graph, (ComposePointwise(),))
    (own,) = output_sqnr(truth, quantize_int8(network(narrow(6, 6)), calibrated(truth)))
    (new,) = output_sqnr(truth, quantize_int8(joined, calibrated(joined)))
    assert new > own - 0.5


def test_a_bottleneck_stays() -> None:
    """8 → 2 → 6 has 28 weights, 8 → 6 has 48."""
    assert "48 weights in place of 28" in refusals(network(narrow(2, 6)), ComposePointwise())


def test_an_activation_or_another_reader_keeps_both() -> None:
    """What happens between the two is no product, or somebody reads it."""

    def middle(sketch: Sketch, x: Value) -> Value:
        x = sketch.build.op("tanh", [x])
        first = sketch.conv(x, 6, kernel=1, fused=RELU6, name="first")
        second = sketch.conv(first, 6, kernel=1, fused=NONE, name="second")
        third = sketch.conv(second, 6, kernel=1, fused=RELU6, name="third")
        return sketch.build.op("add", [second, third])

    reasons = refusals(network(middle), ComposePointwise())
    assert set(reasons) == {"not a 1x1 convolution of an unshared convolution without activation"}
