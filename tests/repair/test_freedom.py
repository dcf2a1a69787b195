"""Channel factors: found where they cancel, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest

from edgec.ir import Model
from edgec.ops import ActivationFunctionType, Builder
from edgec.ops.conv import Conv2DAttributes, TransposeConvAttributes
from edgec.ops.elementwise import AddAttributes
from edgec.quantize.roles import assign_roles
from edgec.repair.equalize import scale_channels
from edgec.repair.freedom import FIXED, Freedom, find_freedom
from tests.quantize.small_graphs import RELU, RELU6, Sketch
from tests.repair.nets import NONE, largest_difference, mixed


def freedom_of(model: Model) -> Freedom:
    return find_freedom(model.graph, assign_roles(model.graph))


def labels(model: Model, name: str) -> list[int]:
    values = [*model.graph.inputs, *(result for node in model.graph for result in node.results)]
    value = next(value for value in values if value.name == name)
    return freedom_of(model).channels(value).tolist()


def randomly_scaled(model: Model, seed: int = 3) -> Model:
    freedom = freedom_of(model)
    factors = np.exp(np.random.default_rng(seed).uniform(-3, 3, freedom.count))
    factors[FIXED] = 1.0
    return scale_channels(model, freedom, factors)


def test_any_factors_leave_the_function_alone() -> None:
    """Factors from 1/20 to 20 on every free channel of a graph with all kinds of joints: rounding only."""
    model = mixed()
    scaled = randomly_scaled(model)
    assert largest_difference(model, scaled, seed=7) < 1e-5
    before, after = (next(n for n in m.graph if n.results[0].name == "stem") for m in (model, scaled))
    assert not np.allclose(before.operand(1).constant(), after.operand(1).constant())


def test_factors_cancel_in_grouped_and_transposed_convolutions_and_prelu() -> None:
    """Weights of a group read their group's channels only; a transposed convolution has its data third."""
    sketch = Sketch()
    build = sketch.build
    x = sketch.conv(sketch.input(1, 5, 5, 3), 8, fused=RELU, name="first")
    grouped = build.op(
        "conv_2d",
        [x, sketch.weights(6, 3, 3, 4, fan_in=36), sketch.bias(6)],
        Conv2DAttributes(fused_activation_function=NONE),
        "grouped",
    )
    prelu = build.op("prelu", [grouped, build.constant(np.full((1, 1, 6), 0.25, np.float32))], name="prelu")
    shape = build.constant(np.array([1, 7, 7, 4], np.int32))
    up = build.op(
        "transpose_conv",
        [shape, sketch.weights(4, 3, 3, 6, fan_in=54), prelu, sketch.bias(4)],
        TransposeConvAttributes(stride_w=2, stride_h=2),
        "up",
    )
    model = sketch.model(sketch.conv(up, 2, name="last", fused=NONE))
    assert len(set(labels(model, "up")) - {FIXED}) == 4
    assert labels(model, "grouped") == labels(model, "prelu") and FIXED not in labels(model, "prelu")
    assert largest_difference(model, randomly_scaled(model), seed=7) < 1e-5


def test_a_constant_addend_is_scaled_with_its_channel() -> None:
    """x + c: a scalar becomes one number for each channel."""
    sketch = Sketch()
    x = sketch.conv(sketch.input(1, 4, 4, 2), 4, fused=RELU, name="first")
    shifted = sketch.build.op("add", [x, sketch.build.constant(0.7)], AddAttributes(RELU), "shifted")
    model = sketch.model(sketch.conv(shifted, 2, fused=NONE, name="last"))
    assert FIXED not in labels(model, "shifted")
    scaled = randomly_scaled(model)
    assert largest_difference(model, scaled, seed=7) < 1e-5
    addend = next(node for node in scaled.graph if node.kind == "add").operand(1)
    assert addend.shape == (4,)


def test_inputs_and_outputs_keep_their_numbers() -> None:
    """What the user feeds and reads is no channel of ours to scale."""
    model = mixed()
    assert set(labels(model, "x")) == set(labels(model, "logits")) == {FIXED}


def test_the_operands_of_an_add_share_their_labels() -> None:
    """Channel c of both sides gets one factor, else their sum would change."""
    model = mixed()
    assert labels(model, "stem") == labels(model, "point") == labels(model, "joined")
    assert len(set(labels(model, "joined"))) == 8
    assert set(labels(model, "depthwise")).isdisjoint(labels(model, "stem"))


def test_a_concatenation_carries_its_parts_labels() -> None:
    """In the order of its operands."""
    model = mixed()
    assert labels(model, "both") == labels(model, "body") + labels(model, "side")
    assert labels(model, "gated") == labels(model, "both")


@pytest.mark.parametrize("kind", ["logistic", "tanh", "exp"])
def test_nothing_is_free_in_front_of_a_function_that_is_not_homogeneous(kind: str) -> None:
    """f(s x) is not s f(x)."""
    sketch = Sketch()
    x = sketch.conv(sketch.input(1, 4, 4, 2), 4, fused=NONE, name="first")
    model = sketch.model(sketch.conv(sketch.build.op(kind, [x]), 2, name="last"))
    assert set(labels(model, "first")) == {FIXED}


def test_padding_with_zeros_is_free_and_with_numbers_is_not() -> None:
    """Zero times any factor is zero; 1.5 is a number of the padded tensor's own scale."""

    def padded(number: float) -> Model:
        sketch = Sketch()
        build = sketch.build
        x = sketch.conv(sketch.input(1, 4, 4, 2), 4, fused=RELU, name="first")
        pads = build.constant(np.array([[0, 0], [1, 1], [1, 1], [0, 0]], np.int32))
        y = build.op("padv2", [x, pads, build.constant(np.array(number, np.float32))], name="padded")
        return sketch.model(sketch.conv(y, 2, fused=NONE, name="last"))

    assert len(set(labels(padded(0.0), "first")) - {FIXED}) == 4
    assert largest_difference(padded(0.0), randomly_scaled(padded(0.0)), seed=7) < 1e-5
    assert set(labels(padded(1.5), "first")) == {FIXED}


def test_a_sum_with_padded_channels_takes_the_other_side_s_labels() -> None:
    """Residuals with channel padding: the zeros say nothing, the convolution beside them does."""
    sketch = Sketch()
    build = sketch.build
    x = sketch.conv(sketch.input(1, 4, 4, 2), 4, fused=RELU, name="narrow")
    pads = build.constant(np.array([[0, 0], [0, 0], [0, 0], [0, 2]], np.int32))
    padded = build.op("pad", [x, pads], name="padded")
    wide = sketch.conv(x, 6, fused=NONE, name="wide")
    joined = build.op("add", [padded, wide], AddAttributes(RELU), "joined")
    model = sketch.model(sketch.conv(joined, 2, fused=NONE, name="last"))
    assert labels(model, "joined") == labels(model, "wide")
    assert labels(model, "joined")[:4] == labels(model, "narrow")
    assert largest_difference(model, randomly_scaled(model), seed=7) < 1e-5


def test_a_channel_shuffle_is_followed() -> None:
    """reshape → transpose → reshape, as in ShuffleNet: labels move as the data does."""
    sketch = Sketch()
    build = sketch.build
    x = sketch.conv(sketch.input(1, 4, 4, 2), 6, fused=RELU, name="first")
    y = build.transpose(build.reshape(x, (1, 4, 4, 2, 3)), (0, 1, 2, 4, 3))
    y = build.reshape(y, (1, 4, 4, 6), "shuffled")
    model = sketch.model(sketch.conv(y, 2, fused=NONE, name="last"))
    assert labels(model, "shuffled") == [labels(model, "first")[i] for i in (0, 3, 1, 4, 2, 5)]
    assert largest_difference(model, randomly_scaled(model), seed=7) < 1e-5


def test_channels_behind_a_relu6_are_told() -> None:
    """min(s x, 6) is s min(x, 6) only below the clamp: whoever chooses factors has to know."""
    sketch = Sketch()
    x = sketch.conv(sketch.input(1, 4, 4, 2), 4, fused=RELU6, name="first")
    model = sketch.model(sketch.conv(x, 2, fused=ActivationFunctionType.NONE, name="last"))
    assert [value.name for value in freedom_of(model).clamped] == ["first"]
    assert not freedom_of(mixed()).clamped


def test_a_relu6_in_an_add_fixes_its_operands() -> None:
    """hard_swish's gate relu6(x + 3): its clamp is no channel's own."""
    sketch = Sketch()
    x = sketch.conv(sketch.input(1, 4, 4, 2), 4, fused=NONE, name="first")
    gate = sketch.build.op("add", [x, sketch.build.constant(3.0)], AddAttributes(RELU6))
    model = sketch.model(sketch.conv(sketch.build.op("mul", [x, gate]), 2, name="last"))
    assert set(labels(model, "first")) == {FIXED}


def test_labels_by_other_axes_have_no_channels() -> None:
    """Behind a transpose, channels are no last axis; asking for them is a fault of the caller."""
    sketch = Sketch()
    x = sketch.conv(sketch.input(1, 4, 4, 2), 4, fused=RELU, name="first")
    y = Builder(sketch.graph).transpose(x, (0, 3, 1, 2), "moved")
    y = sketch.build.transpose(y, (0, 2, 3, 1))
    model = sketch.model(sketch.conv(y, 2, fused=NONE, name="last"))
    moved = next(node.result for node in model.graph if node.results[0].name == "moved")
    with pytest.raises(ValueError, match="more than its last axis"):
        freedom_of(model).channels(moved)
    assert largest_difference(model, randomly_scaled(model), seed=7) < 1e-5
