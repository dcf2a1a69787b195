"""Factors and offsets of input channels move into the weights and bias of what reads them."""

from __future__ import annotations

import numpy as np
import pytest

from edgec.ir import Value
from edgec.ops import ActivationFunctionType, Builder, Padding
from edgec.ops.conv import Conv2DAttributes, TransposeConvAttributes
from edgec.ops.elementwise import MulAttributes
from edgec.ops.matmul import FullyConnectedAttributes
from edgec.passes.fuse import FUSE_SCALE_BEFORE
from edgec.passes.fuse.scale_before import FuseScaleBefore, SinkScaleBelowShift
from tests.support.ir_graphs import (
    Body,
    constant,
    conv,
    depthwise,
    fully_connected,
    ramp,
    reasons,
    rewritten,
)

ROUNDINGS = 2e-6
"""Weights are rounded once more, and sums cancel against a bias of their own size."""

RELU = ActivationFunctionType.RELU


def normalized(b: Builder, x: Value) -> Value:
    """Image normalization: one factor and one offset a channel."""
    channels = x.shape[-1]
    x = b.op("mul", [x, b.constant(ramp(channels, low=0.5, high=2.0))])
    return b.op("add", [x, b.constant(ramp(1, 1, 1, channels) if x.type.rank == 4 else ramp(channels))])


def grouped(b: Builder, x: Value) -> Value:
    return b.op("conv_2d", [x, b.constant(ramp(6, 3, 3, 2)), b.constant(ramp(6))])


def pointwise_same(b: Builder, x: Value) -> Value:
    weights, bias = b.constant(ramp(5, 1, 1, x.shape[3])), b.constant(ramp(5))
    return b.op("conv_2d", [x, weights, bias], Conv2DAttributes(Padding.SAME, 2, 2))


@pytest.mark.parametrize(
    ("make", "shape", "kind"),
    [
        (conv, (1, 5, 6, 3), "conv_2d"),
        (grouped, (1, 5, 6, 4), "conv_2d"),
        (pointwise_same, (1, 5, 6, 3), "conv_2d"),
        (depthwise, (1, 5, 6, 3), "depthwise_conv_2d"),
        (lambda b, x: depthwise(b, x, 2), (1, 5, 6, 3), "depthwise_conv_2d"),
        (fully_connected, (2, 6), "fully_connected"),
    ],
    ids=["valid", "grouped", "pointwise_same", "depthwise", "multiplier", "fully_connected"],
)
def test_normalization_moves_into_weights(make: Body, shape: tuple[int, ...], kind: str) -> None:
    result = rewritten(FUSE_SCALE_BEFORE, lambda b, x: make(b, normalized(b, x)), shape, rtol=ROUNDINGS)
    assert result.kinds == [kind]


def test_activation_of_the_reader_stays() -> None:
    attributes = Conv2DAttributes(fused_activation_function=RELU)
    body: Body = lambda b, x: conv(b, normalized(b, x), attributes=attributes)  # noqa: E731
    result = rewritten(FUSE_SCALE_BEFORE, body, (1, 5, 6, 3), rtol=ROUNDINGS)
    (node,) = result.model.graph
    assert node.attributes == attributes


def test_flattened_channels_meet_their_own_columns() -> None:
    """[1, 2, 3, 4] flattens to 24 columns: the factor of channel c goes to columns c, c + 4, ..."""

    def body(b: Builder, x: Value) -> Value:
        return fully_connected(b, b.reshape(normalized(b, x), [1, 24]), attributes=FullyConnectedAttributes())

    result = rewritten(FUSE_SCALE_BEFORE, body, (1, 2, 3, 4), rtol=ROUNDINGS)
    assert result.kinds == ["reshape", "fully_connected"]


def test_factor_passes_a_zero_pad_and_same_padding() -> None:
    """Zeros times a factor are zeros."""
    same = Conv2DAttributes(Padding.SAME)

    def padded(b: Builder, x: Value) -> Value:
        x = b.op("mul", [x, b.constant(ramp(3))])
        paddings = b.constant(np.array([[0, 0], [1, 1], [2, 0], [0, 0]], np.int32))
        return conv(b, b.op("pad", [x, paddings]))

    def in_kernel(b: Builder, x: Value) -> Value:
        return conv(b, b.op("mul", [x, constant(b, 0.3)]), attributes=same)

    assert rewritten(FUSE_SCALE_BEFORE, padded, (1, 5, 6, 3), rtol=ROUNDINGS).kinds == ["pad", "conv_2d"]
    assert rewritten(FUSE_SCALE_BEFORE, in_kernel, (1, 5, 6, 3), rtol=ROUNDINGS).kinds == ["conv_2d"]


def test_factor_before_transpose_conv() -> None:
    def body(b: Builder, x: Value) -> Value:
        x = b.op("mul", [x, b.constant(ramp(3))])
        operands = [b.constant([1, 9, 11, 2]), b.constant(ramp(2, 3, 3, 3)), x]
        return b.op("transpose_conv", operands, TransposeConvAttributes(stride_w=2, stride_h=2))

    assert rewritten(FUSE_SCALE_BEFORE, body, (1, 4, 5, 3), rtol=ROUNDINGS).kinds == ["transpose_conv"]


@pytest.mark.parametrize("padded", [False, True])
def test_one_factor_sinks_below_a_sum_that_must_stay(padded: bool) -> None:
    """A learned scale and shift before a padded convolution: only the shift stays a node."""
    attributes = Conv2DAttributes(Padding.VALID if padded else Padding.SAME)

    def body(b: Builder, x: Value) -> Value:
        y = b.op("mul", [x, constant(b, 0.11)])
        y = b.op("add", [y, b.constant(ramp(1, 1, 1, 3))])
        if padded:
            y = b.op("pad", [y, b.constant(np.array([[0, 0], [1, 1], [1, 1], [0, 0]], np.int32))])
        return conv(b, y, attributes=attributes)

    result = rewritten(FUSE_SCALE_BEFORE, body, (1, 5, 6, 3), rtol=ROUNDINGS)
    assert result.kinds == ["add", *["pad"] * padded, "conv_2d"]


def test_factors_of_channels_do_not_sink() -> None:
    """Divided by them, the shifts of one tensor would have different ranges by channel."""

    def body(b: Builder, x: Value) -> Value:
        y = b.op("add", [b.op("mul", [x, b.constant(ramp(3))]), constant(b, 1.0)])
        return conv(b, y, attributes=Conv2DAttributes(Padding.SAME))

    reason = "the factor is not one number, or the sum does not vary along the channels alone"
    assert reasons(SinkScaleBelowShift(), body, (1, 5, 6, 3)) == [reason]


def shift_same(b: Builder, x: Value) -> Value:
    attributes = Conv2DAttributes(Padding.SAME)
    return conv(b, b.op("add", [x, constant(b, 1.0)]), attributes=attributes)


def shift_padded(b: Builder, x: Value) -> Value:
    paddings = b.constant(np.array([[0, 0], [1, 1], [1, 1], [0, 0]], np.int32))
    return conv(b, b.op("pad", [b.op("add", [x, constant(b, 1.0)]), paddings]))


def shared(b: Builder, x: Value) -> list[Value]:
    y = b.op("mul", [x, constant(b, 2.0)])
    return [conv(b, y), b.op("abs", [y])]


def clipped(b: Builder, x: Value) -> Value:
    return conv(b, b.op("mul", [x, constant(b, 2.0)], MulAttributes(RELU)))


def spatial(b: Builder, x: Value) -> Value:
    return conv(b, b.op("mul", [x, b.constant(ramp(6, 1))]))


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (shift_same, "windows see padding, which the sum does not shift"),
        (shift_padded, "windows see padding, which the sum does not shift"),
        (shared, "the operand is not an unshared product or sum without activation"),
        (clipped, "the operand is not an unshared product or sum without activation"),
        (spatial, "the constant does not vary along the channels alone"),
    ],
)
def test_rule_says_why_it_does_not_fire(body: Body, reason: str) -> None:
    assert reasons(FuseScaleBefore(), body, (1, 5, 6, 3)) == [reason]


def test_rows_that_meet_different_factors_stay() -> None:
    body: Body = lambda b, x: fully_connected(b, b.op("mul", [x, b.constant(ramp(2, 1))]))  # noqa: E731
    assert reasons(FuseScaleBefore(), body, (2, 6)) == ["the constant does not vary along the channels alone"]
