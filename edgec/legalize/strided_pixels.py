"""Int8 convolutions of one or two channels that skip every other row and column: 2x2 blocks as one pixel.

    x [N, H, W, C] ─ pad ─ space_to_depth ─▶ [N, H/2, W/2, 4 C] ─ conv_2d, stride 1, half the window

XNNPACK's int8 kernels multiply 4 or 8 channels at a time and pad the rest of each tap with zeros. Neighbours
of a row alone (`narrow_conv`) fill half as much of a group. The sums are of the same integers: bit-equal.

Measured with ai-edge-litert 2.3.0 on x86-64, one thread; the first is DS-CNN's first layer:

    image, window, channels    as it is    neighbours of a row    blocks
    49x10x1, 10x4, 64          6.5 µs      4.3 µs                 3.2 µs
    40x49x1, 8x8, 32           19 µs       11 µs                  6.9 µs
    124x64x1, 7x7, 64          126 µs      58 µs                  46 µs
    32x32x1, 4x4, 32           3.2 µs      2.5 µs                 2.3 µs
    64x64x2, 3x3, 16           4.3 µs      3.6 µs                 4.4 µs      not chosen
    96x96x1, 3x3, 8            9.2 µs      4.2 µs                 8.5 µs      not chosen
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from edgec.ir import Array, DType, Node, Value
from edgec.legalize.moves import Moves, types_run
from edgec.ops import Builder, Padding
from edgec.ops.conv import Conv2DAttributes
from edgec.ops.infer import expect
from edgec.ops.resize import SpaceToDepthAttributes
from edgec.rewrite import NoMatch, no_match

MAX_CHANNELS = 2
"""Blocks of more channels are wider than the groups of 8 that kernels multiply."""

MIN_PRODUCTS = 1024
"""Multiplications for a pixel of the result, by channel of the image, from which on making blocks pays."""


@dataclass(frozen=True)
class StackStridedPixels:
    """conv_2d(x, strides 2, 2) over at most 2 channels → conv_2d(space_to_depth(pad(x), 2))"""

    name: str = "stack_strided_pixels"
    kinds: tuple[str, ...] = ("conv_2d",)

    def apply(self, node: Node, build: Builder) -> Sequence[Value] | NoMatch:
        """Pad to whole blocks, and the window with zeros where its size is odd."""
        x, weights, bias = node.operand(0), node.operand(1), node.operand(2)
        options = expect(node.attributes, Conv2DAttributes)
        if x.dtype is not DType.INT8 or weights.dtype is not DType.INT8 or not x.type.is_static:
            return no_match("not an int8 convolution of static shape")
        depth = x.shape[3]
        if weights.data is None or bias.data is None or depth != weights.shape[3] or depth > MAX_CHANNELS:
            return no_match("weights are not constant, there are groups, or more than 2 channels")
        plain = (options.dilation_h_factor, options.dilation_w_factor) == (1, 1)
        if (options.stride_h, options.stride_w) != (2, 2) or not plain or min(weights.shape[1:3]) < 2:
            return no_match("the strides are not 2, or the window is dilated or one pixel wide")
        products = weights.type.size // depth
        if products < MIN_PRODUCTS:
            return no_match(f"{products} multiplications a pixel cost less than making blocks")
        if DType.INT8 not in types_run("space_to_depth", "xnnpack"):
            return no_match("XNNPACK does not run space_to_depth for int8")
        pads = [_pads(node, options, axis) for axis in (1, 2)]
        moves = Moves.like(x, build)
        blocks = moves.scaled(
            build.op("space_to_depth", [_padded(moves, x, pads)], SpaceToDepthAttributes(block_size=2))
        )
        stacked = build.constant(_stacked(weights.constant()), name=weights.name)
        stacked.type = replace(stacked.type, quantization=weights.type.quantization)
        attributes = Conv2DAttributes(
            Padding.VALID, fused_activation_function=options.fused_activation_function
        )
        made = build.op("conv_2d", [blocks, stacked, bias], attributes)
        return [Moves.like(node.result, build).scaled(made)]


def _pads(node: Node, options: Conv2DAttributes, axis: int) -> tuple[int, int]:
    """Return the padding before and behind that makes whole blocks of what windows read; negative: a cut."""
    size, windows, kernel = (value.shape[axis] for value in (node.operand(0), node.result, node.operand(1)))
    total = max((windows - 1) * 2 + kernel - size, 0) if options.padding is Padding.SAME else 0
    before = total // 2
    return before, 2 * (windows - 1) + kernel + kernel % 2 - before - size


def _padded(moves: Moves, x: Value, pads: Sequence[tuple[int, int]]) -> Value:
    """Return the image with the padding, as lines: XNNPACK copies pixels of few channels one by one."""
    n, height, width, depth = x.shape
    kept = [size + min(after, 0) for size, (_, after) in zip((height, width), pads, strict=True)]
    x = moves.slice(x, [0, 0, 0, 0], [n, *kept, depth])
    (top, bottom), (left, right) = [(before, max(after, 0)) for before, after in pads]
    shape = (n, kept[0] + top + bottom, kept[1] + left + right, depth)
    if shape == x.shape:
        return x
    line = moves.reshape(x, (n, kept[0], kept[1] * depth))
    line = moves.pad(line, [[0, 0], [top, bottom], [left * depth, right * depth]])
    return moves.reshape(line, shape)


def _stacked(weights: Array) -> Array:
    """Return weights [O, h, k, C] as [O, h/2, k/2, 4 C], odd sizes filled up with zeros."""
    outputs, height, width, depth = weights.shape
    even = np.pad(weights, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)))
    blocks = even.reshape(outputs, even.shape[1] // 2, 2, even.shape[2] // 2, 2, depth)
    return np.ascontiguousarray(blocks.transpose(0, 1, 3, 2, 4, 5)).reshape(
        outputs, even.shape[1] // 2, even.shape[2] // 2, 4 * depth
    )
