"""Builtins about shapes: constants where shapes are known, else taken as they are."""

from __future__ import annotations

import numpy as np

from edgec.frontends.tflite.context import Context, LoweringError
from edgec.frontends.tflite.registry import lowers
from edgec.ir import Array, Value


@lowers("SHAPE")
def shape(ctx: Context) -> list[Value] | None:
    """A static shape is a constant."""
    x = ctx.input(0)
    return _constant(ctx, np.asarray(x.shape, ctx.results[0].type.dtype.numpy)) if x.type.is_static else None


@lowers("RANK")
def rank(ctx: Context) -> list[Value]:
    """The number of axes."""
    return _constant(ctx, np.asarray(ctx.input(0).type.rank, np.int32))


@lowers("ZEROS_LIKE")
def zeros_like(ctx: Context) -> list[Value]:
    """Zeros of the operand's shape."""
    x = ctx.input(0)
    if not x.type.is_static:
        raise LoweringError("fills a shape known only at run time", "Kernels are compiled for one shape.")
    return _constant(ctx, np.zeros(x.shape, ctx.results[0].type.dtype.numpy))


@lowers("FILL")
def fill(ctx: Context) -> list[Value] | None:
    """`fill(dims, value)`: a constant, or a broadcast of a computed value."""
    if ctx.input(0).data is None:
        return None
    dims, value = ctx.ints(0, "shape"), ctx.input(1)
    if value.data is not None:
        return _constant(ctx, np.full(dims, value.data, value.data.dtype))
    return ctx.move("broadcast_to", [value, ctx.build.constant(dims)])


@lowers("RANGE")
def range_(ctx: Context) -> list[Value] | None:
    """`range(start, limit, delta)` of constants."""
    if any(ctx.input(index).data is None for index in range(3)):
        return None
    start, limit, delta = (ctx.constant(index, "bounds").reshape(-1)[0] for index in range(3))
    if delta == 0:
        raise LoweringError("counts in steps of 0", "It would never end.")
    counted = np.arange(start.item(), limit.item(), delta.item())
    return _constant(ctx, counted.astype(ctx.results[0].type.dtype.numpy))


@lowers("BROADCAST_ARGS")
def broadcast_args(ctx: Context) -> list[Value] | None:
    """The shape that two shapes broadcast to."""
    if ctx.input(0).data is None or ctx.input(1).data is None:
        return None
    found = np.broadcast_shapes(tuple(ctx.ints(0, "shape")), tuple(ctx.ints(1, "shape")))
    return _constant(ctx, np.asarray(found, ctx.results[0].type.dtype.numpy))


def _constant(ctx: Context, data: Array) -> list[Value]:
    return [ctx.build.constant(data)]
