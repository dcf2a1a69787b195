"""Forms inside XNNPACK: the same float values, one partition, and int8 no less exact than the node's own."""

from __future__ import annotations

import numpy as np
import pytest

from edgec.ir import Value
from edgec.ops import ActivationFunctionType, Padding
from edgec.ops.elementwise import AddAttributes
from edgec.ops.pool import Pool2DAttributes
from edgec.quantize.prepare.channels import ScaleChannels
from edgec.quantize.prepare.clamps import PoolActivation
from edgec.quantize.prepare.gates import AbsorbScaleBehindRelu6, DecomposeHardSwish
from edgec.quantize.prepare.pools import AveragePoolToDepthwise, SubsampleByStrides
from edgec.quantize.prepare.slopes import DecomposePRelu
from edgec.rewrite import Rule
from tests.quantize.prepare.cases import (
    Middle,
    channel_numbers,
    compiled,
    float_change,
    network,
    partitions,
    refusals,
)
from tests.quantize.small_graphs import RELU6, Sketch, kinds, output_sqnr

RELU = ActivationFunctionType.RELU


def prelu(low: float, high: float) -> Middle:
    def build(sketch: Sketch, x: Value) -> Value:
        slopes = channel_numbers(sketch, x.shape[3], low, high)
        return sketch.build.op("prelu", [x, sketch.build.constant(slopes)])

    return build


def prelu_of_elements(sketch: Sketch, x: Value) -> Value:
    slopes = sketch.rng.uniform(-0.5, 0.5, x.shape[1:]).astype(np.float32)
    return sketch.build.op("prelu", [x, sketch.build.constant(slopes)])


def average(window: int, stride: int, padding: Padding) -> Middle:
    pool = Pool2DAttributes(padding, stride, stride, window, window)
    return lambda sketch, x: sketch.build.op("average_pool_2d", [x], pool)


def subsample(sketch: Sketch, x: Value) -> Value:
    """As a shortcut of ResNet v2: every third pixel of 9x9."""
    pool = Pool2DAttributes(Padding.VALID, 3, 3, 1, 1)
    return sketch.build.op("max_pool_2d", [x], pool)


def batch_norm(sketch: Sketch, x: Value) -> Value:
    """Behind a relu, so that no convolution takes it in; factors apart, as trained ones are."""
    x, build = sketch.build.op("relu", [x]), sketch.build
    scaled = build.op("mul", [x, build.constant(channel_numbers(sketch, x.shape[3], 0.02, 2.0))])
    return build.op("add", [scaled, build.constant(channel_numbers(sketch, x.shape[3], -1.0, 1.0))])


def alone(sketch: Sketch, x: Value) -> Value:
    return sketch.build.op("relu", [sketch.build.op("leaky_relu", [x])])


def shared(sketch: Sketch, x: Value) -> Value:
    return sketch.build.op("add", [sketch.build.op("relu6", [x]), x])


def hard_swish(sketch: Sketch, x: Value) -> Value:
    return sketch.build.op("hard_swish", [x])


def hard_sigmoid(sketch: Sketch, x: Value) -> Value:
    gate = sketch.conv(x, x.shape[3], kernel=1, fused=RELU6, name="gate")
    return sketch.build.op("mul", [gate, sketch.build.constant(1 / 6)])


FORMS: dict[str, tuple[Middle, Rule]] = {
    "slopes_below_one": (prelu(-0.6, 0.4), DecomposePRelu()),
    "slopes_around_one": (prelu(0.2, 1.8), DecomposePRelu()),
    "slopes_of_elements": (prelu_of_elements, DecomposePRelu()),
    "one_slope": (prelu(0.3, 0.3), DecomposePRelu()),
    "pool_valid": (average(3, 2, Padding.VALID), AveragePoolToDepthwise()),
    "pool_padded": (average(3, 1, Padding.SAME), AveragePoolToDepthwise()),
    "pool_padded_at_one_side": (average(2, 2, Padding.SAME), AveragePoolToDepthwise()),
    "subsample": (subsample, SubsampleByStrides()),
    "batch_norm": (batch_norm, ScaleChannels()),
    "relu_alone": (alone, PoolActivation()),
    "relu6_shared": (shared, PoolActivation()),
    "hard_swish": (hard_swish, DecomposeHardSwish()),
    "hard_sigmoid": (hard_sigmoid, AbsorbScaleBehindRelu6()),
}
every_form = pytest.mark.parametrize(("middle", "rule"), FORMS.values(), ids=FORMS.keys())


@every_form
def test_float_values_stay(middle: Middle, rule: Rule) -> None:
    """Within 2e-6 of the largest output: a few roundings of float32."""
    assert float_change(middle, rule) < 2e-6


@every_form
def test_int8_is_one_partition_and_no_less_exact(middle: Middle, rule: Rule) -> None:
    """Nothing is left outside, and held-out SQNR is at most 0.5 dB below that of the node's own kernel."""
    truth = network(middle)
    made = compiled(network(middle), prepared=True)
    found = partitions(made)
    assert (found.delegated, found.outside) == (1, ())
    (own,) = output_sqnr(truth, compiled(network(middle), prepared=False))
    (new,) = output_sqnr(truth, made)
    assert new > own - 0.5


def test_an_average_is_finer_than_the_pools() -> None:
    """The pool shares its operand's scale; averages span less, and the convolution's scale fits them."""
    middle = average(4, 4, Padding.VALID)
    truth = network(middle, size=16)
    (own,) = output_sqnr(truth, compiled(network(middle, size=16), prepared=False))
    (new,) = output_sqnr(truth, compiled(network(middle, size=16), prepared=True))
    assert new > own + 1


@pytest.mark.parametrize(
    ("pool", "reason"),
    [
        (Pool2DAttributes(Padding.VALID, 2, 2, 1, 1), "strides (2, 2) do not divide an image of (9, 9)"),
        (
            Pool2DAttributes(Padding.VALID, 3, 3, 2, 2),
            "the window has more than one pixel, or moves pixel by pixel",
        ),
        (
            Pool2DAttributes(Padding.VALID, 3, 3, 1, 1, RELU),
            "it has an activation, or a dynamic shape",
        ),
    ],
)
def test_other_pools_stay_pools(pool: Pool2DAttributes, reason: str) -> None:
    """A slice with strides has no form inside XNNPACK where these do not divide the image."""
    model = network(lambda sketch, x: sketch.build.op("max_pool_2d", [x], pool))
    assert refusals(model, SubsampleByStrides()) == [reason]


def test_a_relu_that_nobody_shares_costs_nothing() -> None:
    """Its operand saturates at zero instead, so no node is left of it."""
    made = compiled(network(alone), prepared=True)
    assert not {"relu", "max_pool_2d"} & set(kinds(made))


def test_a_hard_sigmoid_is_one_convolution() -> None:
    """The factor is in the weights and the upper end of the clamp is the end of the integers.

    The gate's convolution is one with that before it, which has no activation (`pointwise`).
    """
    made = compiled(network(hard_sigmoid), prepared=True)
    assert kinds(made) == ["conv_2d", "conv_2d"]


def test_one_number_for_all_channels_stays_a_product() -> None:
    """XNNPACK takes a constant of one element in a table look-up, which no convolution beats."""

    def middle(sketch: Sketch, x: Value) -> Value:
        product = sketch.build.op("mul", [sketch.build.op("tanh", [x]), sketch.build.constant(0.7)])
        return sketch.build.op("add", [product, sketch.build.constant(0.1)], AddAttributes())

    reasons = refusals(network(middle), ScaleChannels())
    assert reasons == ["the sum behind it takes it along", "one number serves all channels"]


def test_slopes_from_the_graph_keep_their_kernel() -> None:
    """A depthwise convolution takes constant weights alone."""
    sketch = Sketch()
    x, slopes = sketch.input(1, 4, 4, 3), sketch.input(3, name="slopes")
    model = sketch.model(sketch.build.op("prelu", [x, slopes]))
    assert refusals(model, DecomposePRelu()) == ["the slopes are computed at run time"]


def test_a_scale_is_not_taken_from_a_shared_convolution() -> None:
    """Another reader still needs the numbers as they are."""
    sketch = Sketch()
    gate = sketch.conv(sketch.input(1, 4, 4, 3), 3, fused=RELU6)
    scaled = sketch.build.op("mul", [gate, sketch.build.constant(1 / 6)])
    model = sketch.model(scaled, sketch.build.op("tanh", [gate]))
    reason = "the operand is not an unshared result of a node with constant weights"
    assert refusals(model, AbsorbScaleBehindRelu6()) == [reason]
