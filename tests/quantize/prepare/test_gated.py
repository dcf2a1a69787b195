"""Squeeze and excite, one factor a channel that is computed at run time: forms that XNNPACK runs faster."""

from __future__ import annotations

import numpy as np
import pytest

from edgec.ir import Value
from edgec.ops import ActivationFunctionType, Padding
from edgec.ops.conv import Conv2DAttributes
from edgec.ops.movement import ConcatenationAttributes
from edgec.ops.reduce import ReducerAttributes
from edgec.quantize.prepare.gated import GateWeights, JoinPixels
from edgec.rewrite import Rule
from tests.quantize.prepare.cases import Middle, compiled, float_change, network, partitions, refusals
from tests.quantize.small_graphs import RELU6, Sketch, kinds, output_sqnr

RELU = ActivationFunctionType.RELU
CHANNELS, FEW = 32, 12


def factors(sketch: Sketch, x: Value) -> Value:
    """A hard sigmoid of the image's mean: one number for each channel."""
    mean = sketch.build.op("mean", [x, sketch.build.constant([1, 2])], ReducerAttributes(keep_dims=True))
    gate = sketch.conv(mean, x.shape[3], kernel=1, fused=RELU6, name="gate")
    return sketch.build.op("mul", [gate, sketch.build.constant(1 / 6)])


def excited(sketch: Sketch, x: Value, depth: int = CHANNELS) -> Value:
    x = sketch.conv(x, depth, name="wide")
    return sketch.build.op("mul", [x, factors(sketch, x)])


def excited_alone(sketch: Sketch, x: Value) -> Value:
    """A product that no 1x1 convolution reads."""
    return sketch.build.op("tanh", [excited(sketch, x, FEW)])


def squeezed(fused: ActivationFunctionType = RELU, outputs: int = 3, stride: int = 1) -> Middle:
    """A product with factors and the narrow convolution that reads it."""

    def middle(sketch: Sketch, x: Value) -> Value:
        return sketch.conv(excited(sketch, x), outputs, kernel=1, stride=stride, fused=fused, name="narrow")

    return middle


def factors_first(sketch: Sketch, x: Value) -> Value:
    x = sketch.conv(x, CHANNELS, name="wide")
    product = sketch.build.op("mul", [factors(sketch, x), x])
    return sketch.conv(product, 3, kernel=1, fused=RELU, name="narrow")


def with_an_empty_row(sketch: Sketch, x: Value) -> Value:
    """A channel that pruning left without weights: nothing to divide by."""
    x, build = excited(sketch, x), sketch.build
    weights = sketch.weights(3, 1, 1, CHANNELS, fan_in=CHANNELS).constant().copy()
    weights[1] = 0
    operands = [x, build.constant(weights), sketch.bias(3)]
    return build.op("conv_2d", operands, Conv2DAttributes(Padding.SAME, fused_activation_function=RELU))


def of_one_sign(sketch: Sketch, x: Value) -> Value:
    """Positive weights alone: as they are, their integers would have no zero point of 0."""
    x, build = excited(sketch, x), sketch.build
    weights = np.abs(sketch.weights(3, 1, 1, CHANNELS, fan_in=4 * CHANNELS).constant())
    operands = [x, build.constant(weights), sketch.bias(3)]
    return build.op("conv_2d", operands, Conv2DAttributes(Padding.SAME, fused_activation_function=RELU))


FORMS: dict[str, tuple[Middle, Rule, int]] = {
    "weights": (squeezed(), GateWeights(), 24),
    "weights_relu6": (squeezed(RELU6), GateWeights(), 24),
    "factors_first": (factors_first, GateWeights(), 24),
    "one_sign": (of_one_sign, GateWeights(), 24),
    "an_empty_row": (with_an_empty_row, GateWeights(), 24),
    "pixels": (excited_alone, JoinPixels(), 24),
    "pixels_in_threes": (excited_alone, JoinPixels(), 27),  # 27 * 27 = 3 * 243
}
every_form = pytest.mark.parametrize(("middle", "rule", "size"), FORMS.values(), ids=FORMS.keys())


@every_form
def test_float_values_stay(middle: Middle, rule: Rule, size: int) -> None:
    """Within 2e-6 of the largest output: a few roundings of float32."""
    assert float_change(middle, rule, size=size) < 2e-6


@every_form
def test_int8_is_one_partition(middle: Middle, rule: Rule, size: int) -> None:
    """Nothing is left outside."""
    del rule
    found = partitions(compiled(network(middle, size=size), prepared=True))
    assert (found.delegated, found.outside) == (1, ())


def gain(middle: Middle, size: int, seed: int) -> float:
    """dB of held-out SQNR by which the form is better than the product of the image."""
    truth = network(middle, size=size, seed=seed)
    (own,) = output_sqnr(truth, compiled(network(middle, size=size, seed=seed), prepared=False))
    (new,) = output_sqnr(truth, compiled(network(middle, size=size, seed=seed), prepared=True))
    return new - own


@every_form
def test_int8_is_about_as_exact(middle: Middle, rule: Rule, size: int) -> None:
    """Within half a decibel on average: in so few layers each rounding shows.

    The image is rounded once less; the weights, and the sum before its bias, are rounded once more.
    """
    del rule
    assert np.mean([gain(middle, size, seed) for seed in range(4)]) > -0.5


def test_weights_are_multiplied_in_place_of_the_image() -> None:
    """One product is left, of the 3x32 weights; each channel has its scale back from the depthwise node."""
    made = compiled(network(squeezed(), size=24), prepared=True)
    (product,) = [node for node in made.graph if node.kind == "mul"]
    assert product.result.shape == (1, 1, 3, CHANNELS)
    assert {"batch_matmul", "depthwise_conv_2d"} <= set(kinds(made))


def test_several_pixels_are_multiplied_at_once() -> None:
    """24x24 pixels of {CHANNELS} channels are 144 rows of four."""
    made = compiled(network(excited_alone, size=24), prepared=True)
    (product,) = [node for node in made.graph if node.kind == "mul"]
    assert product.result.shape == (1, 1, 144, 4 * FEW)


@pytest.mark.parametrize(
    ("middle", "size", "reason"),
    [
        (squeezed(), 5, f"25 pixels of {CHANNELS} channels are too few for 3 results each"),
        (squeezed(outputs=40), 24, f"576 pixels of {CHANNELS} channels are too few for 40 results each"),
        (
            squeezed(stride=2),
            24,
            "not a 1x1 convolution of an image that one factor a channel scales",
        ),
    ],
    ids=["few_pixels", "many_results", "strides"],
)
def test_other_products_keep_the_image(middle: Middle, size: int, reason: str) -> None:
    """Where the matrix has as many elements as the image, or the convolution skips pixels."""
    assert reason in refusals(network(middle, size=size), GateWeights())


def test_a_product_that_others_read_stays() -> None:
    """They need the image with its factors."""

    def middle(sketch: Sketch, x: Value) -> Value:
        x = excited(sketch, x)
        narrow = sketch.conv(x, 3, kernel=1, name="narrow")
        return sketch.build.op("concatenation", [narrow, x], ConcatenationAttributes(axis=3))

    reasons = refusals(network(middle, size=24), GateWeights())
    assert set(reasons) == {"not a 1x1 convolution of an image that one factor a channel scales"}


@pytest.mark.parametrize("size", [9, 23])
def test_pixels_are_joined_where_that_pays(size: int) -> None:
    """81 pixels are few; 23 * 23 = 529 can be divided by neither 2, 3 nor 4."""
    reason = f"{size * size} pixels of {FEW} channels are multiplied as fast one by one"
    assert reason in refusals(network(excited_alone, size=size), JoinPixels())


def test_constant_factors_are_another_rules_business() -> None:
    """`ScaleChannels` makes weights of them."""

    def middle(sketch: Sketch, x: Value) -> Value:
        constant = sketch.build.constant(sketch.rng.uniform(0.2, 2, (1, 1, 1, x.shape[3])).astype(np.float32))
        return sketch.build.op("mul", [x, constant])

    reason = "not an image that one factor a channel scales"
    assert reason in refusals(network(middle, size=24), JoinPixels())
