"""space_to_batch_nd and batch_to_space_nd: around a convolution they are the old way to write dilation.

    x ─ space_to_batch(d, pads) ─ conv VALID ─ batch_to_space(d, crops) ─ y
    x ─ pad(pads - crops) ─ conv VALID, dilation d ─ y

A crop at an end of y takes away exactly what the same amount of padding at that end of x gave. Alone, each is
a walk through six axes: `[B, H, W, C] ⇄ [B, H/d, d, W/d, d, C]`.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgec.frontends.tflite.context import Context, LoweringError, SpaceToBatch
from edgec.frontends.tflite.registry import lowers
from edgec.ir import Node, Value
from edgec.ops.conv import Conv2DAttributes, DepthwiseConv2DAttributes
from edgec.ops.spec import Padding

Pairs = tuple[tuple[int, int], tuple[int, int]]


@lowers("SPACE_TO_BATCH_ND")
def space_to_batch_nd(ctx: Context) -> list[Value]:
    """Blocks become batch entries."""
    x, (down, across), pads = ctx.input(0), _block(ctx), _pairs(ctx)
    padded = _padded(ctx, x, pads)
    batch, height, width, depth = padded.shape
    if height % down or width % across:
        raise LoweringError(f"cuts {height}x{width} into blocks of {down}x{across}", "The file is damaged.")
    parts = ctx.reshape(padded, [batch, height // down, down, width // across, across, depth])
    moved = _transposed(ctx, parts, [2, 4, 0, 1, 3, 5])
    result = ctx.reshape(moved, [batch * down * across, height // down, width // across, depth])
    ctx.blocks[result] = SpaceToBatch(x, (down, across), pads)
    return [result]


@lowers("BATCH_TO_SPACE_ND")
def batch_to_space_nd(ctx: Context) -> list[Value]:
    """Batch entries become blocks again; with its partner around a convolution it becomes dilation."""
    x, (down, across), crops = ctx.input(0), _block(ctx), _pairs(ctx)
    dilated = _dilated(ctx, x, (down, across), crops)
    if dilated is not None:
        return [dilated]
    batch, height, width, depth = x.shape
    if batch % (down * across):
        raise LoweringError(
            f"makes blocks of {down}x{across} from a batch of {batch}", "The file is damaged."
        )
    batch //= down * across
    parts = ctx.reshape(x, [down, across, batch, height, width, depth])
    moved = _transposed(ctx, parts, [2, 3, 0, 4, 1, 5])
    whole = ctx.reshape(moved, [batch, height * down, width * across, depth])
    return [_cropped(ctx, whole, crops)]


def _dilated(ctx: Context, x: Value, block: tuple[int, int], crops: Pairs) -> Value | None:
    conv = x.producer
    data = conv.operand(0) if conv is not None and conv.operands else None
    origin = ctx.blocks.get(data) if data is not None else None
    attributes = conv.attributes if conv is not None else None
    if conv is None or origin is None or origin.block != block:
        return None
    if not isinstance(attributes, Conv2DAttributes | DepthwiseConv2DAttributes):
        return None
    plain = (attributes.stride_h, attributes.stride_w) == (1, 1)
    undilated = (attributes.dilation_h_factor, attributes.dilation_w_factor) == (1, 1)
    kept = tuple((p - c, q - d) for (p, q), (c, d) in zip(origin.pads, crops, strict=True))
    if not plain or not undilated or attributes.padding is not Padding.VALID or min(map(min, kept)) < 0:
        return None
    return _convolved(ctx, conv, _padded(ctx, origin.x, (kept[0], kept[1])), block)


def _convolved(ctx: Context, conv: Node, x: Value, block: tuple[int, int]) -> Value:
    attributes = conv.attributes
    if not isinstance(attributes, Conv2DAttributes | DepthwiseConv2DAttributes):
        raise AssertionError("the caller looked")
    dilated = replace(attributes, dilation_h_factor=block[0], dilation_w_factor=block[1])
    result = ctx.build.op(conv.kind, [x, *conv.operands[1:]], dilated)
    result.type = replace(result.type, quantization=conv.result.type.quantization)
    return result


def _block(ctx: Context) -> tuple[int, int]:
    block = ctx.ints(1, "block shape")
    if ctx.input(0).type.rank != 4 or len(block) != 2:
        raise LoweringError(
            f"works on {ctx.input(0).shape} with blocks {block}", "Two spatial axes are taken."
        )
    return block[0], block[1]


def _pairs(ctx: Context) -> Pairs:
    first, second = ctx.constant(2, "padding").reshape(2, 2).tolist()
    return (int(first[0]), int(first[1])), (int(second[0]), int(second[1]))


def _padded(ctx: Context, x: Value, pads: Pairs) -> Value:
    if not any(map(any, pads)):
        return x
    return ctx.move("pad", [x, ctx.build.constant(np.array([(0, 0), *pads, (0, 0)], np.int32))])[0]


def _transposed(ctx: Context, x: Value, permutation: list[int]) -> Value:
    return ctx.move("transpose", [x, ctx.build.constant(permutation)])[0]


def _cropped(ctx: Context, x: Value, crops: Pairs) -> Value:
    if not any(map(any, crops)):
        return x
    begin = [0, crops[0][0], crops[1][0], 0]
    size = [x.shape[0], x.shape[1] - sum(crops[0]), x.shape[2] - sum(crops[1]), x.shape[3]]
    return ctx.move("slice", [x, ctx.build.constant(begin), ctx.build.constant(size)])[0]
