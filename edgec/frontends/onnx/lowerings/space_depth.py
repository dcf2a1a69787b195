"""DepthToSpace and SpaceToDepth: blocks of b x b pixels become channels and back.

Channel order: DCR is (row, column, depth), which is TFLite's; CRD is (depth, row, column). A constant
`gather` of channels turns one into the other.
"""

from __future__ import annotations

import numpy as np

from edgec.frontends.onnx.context import LoweringContext, LoweringError
from edgec.frontends.onnx.registry import lowers
from edgec.ir import Value
from edgec.ops.resize import DepthToSpaceAttributes, SpaceToDepthAttributes
from edgec.ops.slicing import GatherAttributes


@lowers("DepthToSpace")
def depth_to_space(ctx: LoweringContext) -> Value:
    """y[c, h*b + i, w*b + j] = x[(i*b + j) * C + c, h, w] for DCR, x[(c*b + i)*b + j, h, w] for CRD."""
    block = _block(ctx)
    data = ctx.to_channels_last(ctx.input(0))
    channels = data.shape[3]
    if channels % block**2:
        raise LoweringError(
            f"{channels} channels do not divide into blocks of {block}x{block}",
            "Each block needs one channel for each of its pixels.",
            "Export the model again.",
        )
    if _is_crd(ctx):
        data = _channels(ctx, data, np.arange(channels).reshape(-1, block**2).T)
    return ctx.to_channels_first(ctx.build.op("depth_to_space", [data], DepthToSpaceAttributes(block)))


@lowers("SpaceToDepth")
def space_to_depth(ctx: LoweringContext) -> Value:
    """y[(i*b + j) * C + c, h, w] = x[c, h*b + i, w*b + j] for DCR, y[(c*b + i)*b + j, h, w] for CRD."""
    block = _block(ctx)
    data = ctx.to_channels_last(ctx.input(0))
    y = ctx.build.op("space_to_depth", [data], SpaceToDepthAttributes(block))
    if _is_crd(ctx):
        y = _channels(ctx, y, np.arange(y.shape[3]).reshape(block**2, -1).T)
    return ctx.to_channels_first(y)


def _is_crd(ctx: LoweringContext) -> bool:
    mode = ctx.string("mode", "DCR")
    if mode not in ("DCR", "CRD"):
        raise LoweringError(f"mode '{mode}' is unknown", "ONNX defines DCR and CRD.", "Export again.")
    return mode == "CRD"


def _channels(ctx: LoweringContext, data: Value, order: np.ndarray) -> Value:
    indices = ctx.build.constant(order.reshape(-1).astype(np.int32))
    return ctx.build.op("gather", [data, indices], GatherAttributes(axis=3))


def _block(ctx: LoweringContext) -> int:
    block, x = ctx.int("blocksize"), ctx.input(0)
    if block < 1 or x.type.rank != 4:
        raise LoweringError(
            f"blocksize {block} does not fit input {list(x.shape)}",
            "It needs rank 4.",
            "Export the model again.",
        )
    return block
