"""Int8 convolutions over few channels: wider pixels, the same integers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgec.kernels import KernelSet
from edgec.legalize.narrow_conv import WidenNarrowConv2D
from edgec.legalize.strided_pixels import StackStridedPixels
from edgec.ops import ActivationFunctionType, Padding
from edgec.ops.conv import Conv2DAttributes
from tests.legalize.graphs import ONE_PARTITION, Net, rewritten

RULE, BLOCKS = WidenNarrowConv2D(), StackStridedPixels()


def convolved(
    shape: tuple[int, int, int, int],
    window: tuple[int, int],
    stride: tuple[int, int] = (1, 1),
    *,
    padding: Padding = Padding.SAME,
    outputs: int = 16,
    dilation: int = 1,
) -> Net:
    """One conv_2d with a window of any height and width."""
    net = Net(int8=True)
    x = net.input(*shape)
    net.conv(x, outputs, padding=padding, stride_h=stride[0], stride_w=stride[1])
    (node,) = net.graph
    weights = net.graph.constant(net.random.integers(-127, 128, (outputs, *window, shape[3]), np.int8))
    weights.type = replace(weights.type, quantization=node.operand(1).type.quantization)
    attributes = Conv2DAttributes(
        padding, stride[1], stride[0], ActivationFunctionType.RELU6, dilation, dilation
    )
    y = net.op("conv_2d", [x, weights, node.operand(2)], attributes)
    net.graph.remove(node)
    return net.returns(y)


CASES = {
    "keyword_spotting": convolved((1, 49, 10, 1), (10, 4), (2, 2), outputs=64),
    "digits": convolved((1, 28, 28, 1), (5, 5), outputs=8),
    "one_side_padded": convolved((2, 12, 12, 1), (3, 3), (2, 2)),
    "valid": convolved((1, 12, 12, 1), (3, 3), padding=Padding.VALID, outputs=8),
    "column": convolved((1, 128, 1, 1), (64, 1), (4, 1)),
    "two_channels": convolved((1, 8, 16, 2), (3, 3)),
}


@pytest.mark.parametrize("net", CASES.values(), ids=CASES.keys())
def test_every_integer_stays(net: Net) -> None:
    """The sums hold the same products and zeros, so even the rounding is the same in all three kernels."""
    before = [net.run(kernels)[0] for kernels in KernelSet]
    macs = net.kinds()
    rewritten(net, RULE)
    assert len(net.kinds()) > len(macs)
    for kernels, expected in zip(KernelSet, before, strict=True):
        np.testing.assert_array_equal(net.run(kernels)[0], expected)
    assert net.partitions() == ONE_PARTITION


def test_a_pad_in_front_becomes_part_of_it() -> None:
    """A pad that only the convolution reads is not left to a node of its own between reshapes."""
    net = Net(int8=True)
    padded = net.op("pad", [net.input(1, 16, 16, 3), net.ints([[0, 0], [0, 1], [0, 1], [0, 0]])])
    net.returns(net.conv(padded, 8, 3, stride_h=2, stride_w=2))
    before = [net.run(kernels)[0] for kernels in KernelSet]
    rewritten(net, RULE)
    assert net.kinds() == ["reshape", "pad", "conv_2d", "reshape"]
    for kernels, expected in zip(KernelSet, before, strict=True):
        np.testing.assert_array_equal(net.run(kernels)[0], expected)


@pytest.mark.parametrize(
    ("net", "reason"),
    [
        (convolved((1, 12, 12, 8), (3, 3)), "8 channels and windows of 3 gain less than 1.25"),
        (
            convolved((1, 12, 12, 3), (3, 3), (2, 2)),
            "3 channels and windows of 3 gain less than 1.25",  # more work where 4 are multiplied at a time
        ),
        (convolved((1, 12, 12, 1), (3, 3), dilation=2), "the window is dilated"),
    ],
)
def test_reason_where_it_does_not_fire(net: Net, reason: str) -> None:
    """Full groups, and windows with holes."""
    assert rewritten(net, RULE) == [reason]


def test_float_stays() -> None:
    """Float kernels multiply one channel at a time."""
    net = Net()
    net.returns(net.conv(net.input(1, 8, 8, 1), 4, 3))
    assert rewritten(net, RULE) == ["not an int8 convolution of static shape"]


STRIDED = {
    "keyword_spotting": convolved((1, 49, 10, 1), (10, 4), (2, 2), outputs=64),
    "odd_window": convolved((2, 12, 12, 1), (3, 3), (2, 2), outputs=128),
    "odd_image": convolved((1, 13, 11, 2), (3, 5), (2, 2), outputs=80),
    "valid": convolved((1, 12, 12, 2), (4, 4), (2, 2), padding=Padding.VALID, outputs=64),
    "rows_left_over": convolved((1, 13, 15, 1), (2, 3), (2, 2), padding=Padding.VALID, outputs=180),
}


@pytest.mark.parametrize("net", STRIDED.values(), ids=STRIDED.keys())
def test_blocks_of_pixels_give_the_same_integers(net: Net) -> None:
    """In all three kernels: every window is made of whole blocks, with zeros where its size is odd."""
    before = [net.run(kernels)[0] for kernels in KernelSet]
    rewritten(net, BLOCKS)
    assert "space_to_depth" in net.kinds()
    for kernels, expected in zip(KernelSet, before, strict=True):
        np.testing.assert_array_equal(net.run(kernels)[0], expected)
    assert net.partitions() == ONE_PARTITION


@pytest.mark.parametrize(
    ("net", "reason"),
    [
        (
            convolved((1, 12, 12, 1), (3, 3), (2, 2)),
            "144 multiplications a pixel cost less than making blocks",
        ),
        (
            convolved((1, 12, 12, 3), (3, 3), (2, 2)),
            "weights are not constant, there are groups, or more than 2 channels",
        ),
        (
            convolved((1, 12, 12, 1), (3, 3), (2, 1)),
            "the strides are not 2, or the window is dilated or one pixel wide",
        ),
        (
            convolved((1, 12, 12, 1), (3, 1), (2, 2)),
            "the strides are not 2, or the window is dilated or one pixel wide",
        ),
    ],
    ids=["small", "three_channels", "other_strides", "one_pixel_wide"],
)
def test_reason_where_blocks_do_not_fit(net: Net, reason: str) -> None:
    """Blocks wider than a group, and windows that do not step by blocks."""
    assert rewritten(net, BLOCKS) == [reason]
