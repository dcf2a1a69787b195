"""Factors and offsets of output channels move into weights and bias; numbers stay within roundings."""

from __future__ import annotations

import numpy as np
import pytest

from edgec.ir import Value
from edgec.ops import ActivationFunctionType, Builder, Padding
from edgec.ops.conv import Conv2DAttributes, TransposeConvAttributes
from edgec.ops.elementwise import AddAttributes
from edgec.ops.matmul import FullyConnectedAttributes
from edgec.passes.fuse import FUSE_BATCH_NORM
from edgec.passes.fuse.scale import FuseBatchNorm
from tests.support.ir_graphs import (
    Body,
    constant,
    conv,
    depthwise,
    fully_connected,
    make_model,
    ramp,
    reasons,
    rewritten,
)

ROUNDINGS = 1e-6
"""Weights are rounded once more and sums of up to 27 products are added: some 2^-24 of the largest output."""


def norm(b: Builder, x: Value, activation: ActivationFunctionType = ActivationFunctionType.NONE) -> Value:
    """A batch norm as front ends lower it: one factor and one offset a channel."""
    channels = x.shape[-1]
    scaled = b.op("mul", [x, b.constant(ramp(channels, low=0.5, high=2.0))])
    return b.op("add", [scaled, b.constant(ramp(1, channels))], AddAttributes(activation))


def transpose_conv(b: Builder, x: Value, *, bias: bool = True) -> Value:
    operands = [b.constant([1, 9, 11, 2]), b.constant(ramp(2, 3, 3, 3)), x]
    operands += [b.constant(ramp(2))] if bias else []
    return b.op("transpose_conv", operands, TransposeConvAttributes(stride_w=2, stride_h=2))


@pytest.mark.parametrize(
    ("make", "shape", "kind"),
    [
        (conv, (1, 5, 6, 3), "conv_2d"),
        (depthwise, (1, 5, 6, 3), "depthwise_conv_2d"),
        (lambda b, x: depthwise(b, x, 2), (1, 5, 6, 3), "depthwise_conv_2d"),
        (transpose_conv, (1, 4, 5, 3), "transpose_conv"),
        (lambda b, x: transpose_conv(b, x, bias=False), (1, 4, 5, 3), "transpose_conv"),
        (fully_connected, (2, 6), "fully_connected"),
        (lambda b, x: conv(b, x, 6), (1, 5, 6, 3), "conv_2d"),
    ],
    ids=["conv", "depthwise", "multiplier", "transpose_conv", "no_bias", "fully_connected", "six_channels"],
)
def test_batch_norm_moves_into_weights(make: Body, shape: tuple[int, ...], kind: str) -> None:
    result = rewritten(FUSE_BATCH_NORM, lambda b, x: norm(b, make(b, x)), shape, rtol=ROUNDINGS)
    assert result.kinds == [kind]


def test_grouped_convolution_scales_each_output_channel() -> None:
    def body(b: Builder, x: Value) -> Value:
        weights, bias = b.constant(ramp(6, 3, 3, 2)), b.constant(ramp(6))
        return norm(b, b.op("conv_2d", [x, weights, bias], Conv2DAttributes(Padding.SAME)))

    assert rewritten(FUSE_BATCH_NORM, body, (1, 5, 6, 4), rtol=ROUNDINGS).kinds == ["conv_2d"]


def test_scalar_factor_and_activation_of_the_sum_move_along() -> None:
    def body(b: Builder, x: Value) -> Value:
        y = b.op("mul", [conv(b, x), constant(b, 0.5)])
        return norm(b, y, ActivationFunctionType.RELU6)

    result = rewritten(FUSE_BATCH_NORM, body, (1, 5, 6, 3), rtol=ROUNDINGS)
    assert result.kinds == ["conv_2d"]
    (node,) = result.model.graph
    assert node.attributes == Conv2DAttributes(fused_activation_function=ActivationFunctionType.RELU6)


def test_transpose_conv_keeps_activations_outside() -> None:
    """Fused activations of transpose_conv arrived with version 4; older runtimes would ignore them."""
    body: Body = lambda b, x: norm(b, transpose_conv(b, x), ActivationFunctionType.RELU)  # noqa: E731
    result = rewritten(FUSE_BATCH_NORM, body, (1, 4, 5, 3), rtol=ROUNDINGS)
    assert result.kinds == ["transpose_conv", "relu"]


def test_reshape_that_keeps_channels_last_may_stand_between() -> None:
    def body(b: Builder, x: Value) -> Value:
        return norm(b, b.reshape(conv(b, x), [1, 12, 4]))

    result = rewritten(FUSE_BATCH_NORM, body, (1, 5, 6, 3), rtol=ROUNDINGS)
    assert result.kinds == ["conv_2d", "reshape"]


def test_sum_gives_fully_connected_its_bias() -> None:
    def body(b: Builder, x: Value) -> Value:
        y = fully_connected(b, x, 5, FullyConnectedAttributes())
        return b.op("add", [y, b.constant(ramp(5))])

    result = rewritten(FUSE_BATCH_NORM, body, (2, 6), rtol=ROUNDINGS)
    assert result.kinds == ["fully_connected"]
    (node,) = result.model.graph
    np.testing.assert_array_equal(node.operand(2).constant(), ramp(5))


def test_shared_weights_keep_their_data() -> None:
    """Two convolutions read one constant; only the one with a factor gets new weights."""
    data = ramp(4, 3, 3, 3)

    def body(b: Builder, x: Value) -> list[Value]:
        weights, bias = b.constant(data), b.constant(ramp(4))
        first, second = (b.op("conv_2d", [x, weights, bias]) for _ in range(2))
        return [norm(b, first), second]

    original = data.copy()
    result = rewritten(FUSE_BATCH_NORM, body, (1, 5, 6, 3), rtol=ROUNDINGS)
    assert result.kinds == ["conv_2d", "conv_2d"]
    np.testing.assert_array_equal(data, original)


def test_folding_rounds_once() -> None:
    """The folded weight is the float32 nearest to the real product, here 0.1f * 0.1f."""

    def body(b: Builder, x: Value) -> Value:
        weights = b.constant(np.full((1, 1), 0.1, np.float32))
        y = b.op("fully_connected", [x, weights, None])
        return b.op("mul", [y, constant(b, 0.1)])

    result = rewritten(FUSE_BATCH_NORM, body, (1, 1), rtol=ROUNDINGS)
    (node,) = result.model.graph
    assert node.operand(1).constant()[0, 0] == np.float32(float(np.float32(0.1)) ** 2)
    assert len(node.operands) == 3
    assert node.optional_operand(2) is None


def shared(b: Builder, x: Value) -> list[Value]:
    y = conv(b, x)
    return [b.op("mul", [y, constant(b, 2.0)]), b.op("abs", [y])]


def returned(b: Builder, x: Value) -> list[Value]:
    y = conv(b, x)
    return [b.op("mul", [y, constant(b, 2.0)]), y]


def spatial(b: Builder, x: Value) -> Value:
    return b.op("mul", [conv(b, x), b.constant(ramp(3, 1))])


def clipped(b: Builder, x: Value) -> Value:
    attributes = Conv2DAttributes(fused_activation_function=ActivationFunctionType.RELU)
    return b.op("mul", [conv(b, x, attributes=attributes), constant(b, 2.0)])


def computed(b: Builder, x: Value) -> Value:
    return b.op("mul", [b.op("abs", [x]), constant(b, 2.0)])


def huge(b: Builder, x: Value) -> Value:
    return b.op("mul", [b.op("mul", [conv(b, x), constant(b, 1e30)]), constant(b, 1e30)])


def mixed(b: Builder, x: Value) -> Value:
    return b.op("mul", [b.reshape(conv(b, x), [1, 4, 12]), b.constant(ramp(12))])


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (shared, "'conv_2d' has other readers, or no producer"),
        (returned, "'conv_2d' has other readers, or no producer"),
        (spatial, "float32[3,1] does not vary along the channels alone"),
        (clipped, "conv_2d has an activation fused already"),
        (computed, "abs has no constant weights"),
        (mixed, "reshape 'reshape' does not keep the channels last"),
    ],
)
def test_rule_says_why_it_does_not_fire(body: Body, reason: str) -> None:
    assert reasons(FuseBatchNorm(), body, (1, 6, 5, 3)) == [reason]


def test_as_many_columns_as_channels_are_not_taken_for_channels() -> None:
    """4 factors along the width of a 4x4x4 result: as many as channels, but not theirs."""
    body: Body = lambda b, x: b.op("mul", [conv(b, x), b.constant(ramp(4, 1))])  # noqa: E731
    reason = "float32[4,1] does not vary along the channels alone"
    assert reasons(FuseBatchNorm(), body, (1, 6, 6, 3)) == [reason]


def test_factor_that_overflows_the_weights_stays() -> None:
    """1e30 fits the weights, 1e30 once more does not: float32 ends at 3.4e38."""
    model = make_model(huge, (1, 5, 6, 3))
    FUSE_BATCH_NORM.run(model)
    assert [node.kind for node in model.graph] == ["conv_2d", "mul"]
