"""TensorScatter: writing the newest entries of a sequence into a cache of fixed length."""

from __future__ import annotations

import numpy as np

from edgec.frontends.onnx.axes import checked_axis
from edgec.frontends.onnx.context import LoweringContext, LoweringError
from edgec.frontends.onnx.integers import number
from edgec.frontends.onnx.lowerings.movement import concatenated
from edgec.frontends.onnx.registry import lowers
from edgec.ir import DType, Value
from edgec.ops.slicing import GatherAttributes


@lowers("TensorScatter")
def tensor_scatter(ctx: LoweringContext) -> Value:
    """Gather from the cache and the update, one behind the other, at places worked out for each sample.

    Cache entry t of a sample that is written from w on comes from the update where 0 ≤ t - w < length.
    """
    cache, update, starts = ctx.input(0), ctx.input(1), ctx.optional_input(2)
    axis = checked_axis(ctx.int("axis", -2), cache.type.rank)
    _check(cache, update, axis)
    batch, size, length = cache.shape[0], cache.shape[axis], update.shape[axis]
    if starts is None:
        starts = ctx.build.constant(np.zeros(batch, np.int32))
    sources = _sources(ctx, ctx.cast(starts, DType.INT32), size, length)
    both = concatenated(ctx.build, [cache, update], axis)
    return ctx.build.op("gather", [both, sources], GatherAttributes(axis, batch_dims=1))


def _check(cache: Value, update: Value, axis: int) -> None:
    rest = [dim for a, dim in enumerate(cache.shape) if a != axis]
    if axis == 0 or rest != [dim for a, dim in enumerate(update.shape) if a != axis]:
        raise LoweringError(
            f"writes {list(update.shape)} into {list(cache.shape)} along axis {axis}",
            "All other dimensions are equal, and axis 0 counts the samples.",
            "Correct the update.",
        )


def _sources(ctx: LoweringContext, starts: Value, size: int, length: int) -> Value:
    """Return int32 [B, size]: the place in the cache and the update behind it that each entry comes from."""
    build = ctx.build
    own = build.constant(np.arange(size, dtype=np.int32).reshape(1, size))
    offsets = build.op("sub", [own, build.reshape(starts, [starts.type.size, 1])])
    if ctx.string("mode", "linear") == "circular":
        offsets = build.op("floor_mod", [offsets, number(ctx, size, offsets)])
    written = build.op(
        "logical_and",
        [
            build.op("greater_equal", [offsets, number(ctx, 0, offsets)]),
            build.op("less", [offsets, number(ctx, length, offsets)]),
        ],
    )
    return build.op("select_v2", [written, build.op("add", [offsets, number(ctx, size, offsets)]), own])
