"""Whole numbers that only the run time may know: shapes, axes, starts, pads. All are int32 in the graph.

Where everything is known these return constants, so one lowering serves both cases.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgec.frontends.onnx.axes import checked_axis
from edgec.frontends.onnx.context import LoweringContext, LoweringError
from edgec.ir import DYNAMIC, DType, Value
from edgec.ops import Builder
from edgec.ops.elementwise import CastAttributes
from edgec.ops.movement import ConcatenationAttributes, PackAttributes, ReshapeAttributes
from edgec.ops.reduce import ReducerAttributes
from edgec.ops.sizes import ShapeAttributes
from edgec.ops.slicing import GatherAttributes

INT32_MIN, INT32_MAX = int(np.iinfo(np.int32).min), int(np.iinfo(np.int32).max)

Size = int | Value
"""A number, or an int32 scalar that the run time computes."""


def int32(build: Builder, x: Value) -> Value:
    """Return whole numbers as int32, saturated: the largest int64 means "to the end" and stays large."""
    if x.data is not None:
        return build.constant(np.clip(np.asarray(x.data), INT32_MIN, INT32_MAX).astype(np.int32))
    if x.dtype is DType.INT32:
        return x
    if x.dtype is DType.INT64:
        for kind, bound in (("maximum", INT32_MIN), ("minimum", INT32_MAX)):
            x = build.op(kind, [x, build.constant(np.asarray(bound, np.int64))])
    return build.op("cast", [x], CastAttributes(x.dtype, DType.INT32))


def scalar(build: Builder, x: Value) -> Value:
    """Return a tensor of one whole number as an int32 scalar; a constant stays one, so shapes stay known."""
    number = int32(build, x)
    return build.reshape(number, ()) if number.data is None else build.constant(number.data.reshape(()))


def length(ctx: LoweringContext, index: int) -> int:
    """Return how many entries a vector operand has; LoweringError where only the run time knows."""
    value = ctx.input(index)
    if value.type.rank != 1 or not value.type.is_static:
        raise LoweringError(
            f"input {index} ('{value.name}') is {value.type}",
            "The number of its entries decides how many axes a result has.",
            "Make it an initializer or a constant.",
        )
    return value.shape[0]


def shape_of(build: Builder, x: Value) -> Value:
    """Return the dimensions of x as an int32 vector."""
    if x.type.is_static:
        return build.constant(np.asarray(x.shape, np.int32))
    return build.op("shape", [x], ShapeAttributes(DType.INT32))


def dim(build: Builder, x: Value, axis: int) -> Size:
    """Return one dimension of x."""
    known = x.shape[axis]
    return known if known != DYNAMIC else entry(build, shape_of(build, x), axis)


def entry(build: Builder, vector: Value, index: int) -> Value:
    """Return one entry of a vector as a scalar."""
    if vector.data is not None:
        return build.constant(vector.data[index])
    return build.op("gather", [vector, build.constant(index)], GatherAttributes(0))


def as_value(build: Builder, size: Size) -> Value:
    """Return a size as an int32 scalar."""
    return size if isinstance(size, Value) else build.constant(np.asarray(size, np.int32))


def packed(build: Builder, sizes: Sequence[Size]) -> Value:
    """Return sizes as an int32 vector."""
    known = [size if isinstance(size, int) else size.data for size in sizes]
    if all(size is not None for size in known):
        return build.constant(np.asarray(known, np.int32).reshape(-1))
    return build.op("pack", [as_value(build, size) for size in sizes], PackAttributes(len(sizes), 0))


def joined(build: Builder, vectors: Sequence[Value]) -> Value:
    """Return int32 vectors one behind the other."""
    known = [vector.data for vector in vectors]
    if all(data is not None for data in known):
        return build.constant(np.concatenate([data for data in known if data is not None]))
    filled = [vector for vector in vectors if vector.shape != (0,)]
    return filled[0] if len(filled) == 1 else build.op("concatenation", filled, ConcatenationAttributes(0))


def reshaped(build: Builder, x: Value, sizes: Sequence[Size]) -> Value:
    """Return x in another shape; one unknown size is what the others leave, more are computed."""
    dims = [size if isinstance(size, int) else DYNAMIC for size in sizes]
    if dims.count(DYNAMIC) <= 1 and 0 not in dims:
        return build.reshape(x, dims)
    return build.op("reshape", [x, packed(build, sizes)], ReshapeAttributes(tuple(dims)))


def placed(build: Builder, values: Value, axes: Value | None, default: Value) -> Value:
    """Return `default` (an entry an axis) with `values` at `axes`, which may be negative; None: in order."""
    rank, count = default.shape[0], values.shape[0]
    if axes is None:
        axes = build.constant(np.arange(count, dtype=np.int32))
    if axes.data is not None:
        places = [checked_axis(int(axis), rank) for axis in axes.data]
        picks = [count + a if a not in places else places.index(a) for a in range(rank)]
        both = joined(build, [values, default])
        if both.data is not None:
            return build.constant(both.data[picks])
        return build.op("gather", [both, build.constant(picks)], GatherAttributes(0))
    hit = hits(build, axes, rank)
    ones = build.op("cast", [hit], CastAttributes(DType.BOOL, DType.INT32))
    spread = build.op("mul", [ones, build.reshape(values, (count, 1))])
    total = build.op("sum", [spread, build.constant([0])], ReducerAttributes())
    return build.op("select_v2", [_any(build, hit), total, default])


def hits(build: Builder, axes: Value, rank: int) -> Value:
    """Return `[axes, rank]` bools: which axis each of the (possibly negative) axes names."""
    positive = build.op("floor_mod", [axes, build.constant(np.asarray(rank, np.int32))])
    numbers = build.constant(np.arange(rank, dtype=np.int32)[None])
    return build.op("equal", [build.reshape(positive, (axes.shape[0], 1)), numbers])


def named(build: Builder, axes: Value, rank: int) -> Value:
    """Return a bool for every axis: whether run-time axes name it."""
    return _any(build, hits(build, axes, rank))


def _any(build: Builder, hit: Value) -> Value:
    return build.op("reduce_any", [hit, build.constant([0])], ReducerAttributes())
