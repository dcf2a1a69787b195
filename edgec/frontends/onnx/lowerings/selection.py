"""Operators that pick entries by their values, so that only the run time knows how many there are.

Unique along an axis compares its slices as rows r of numbers, all with all:

    equal[i, j] = r[i] = r[j]         less[i, j] = r[i] < r[j] in the first column where they differ
    first[j]    = smallest i with equal[i, j]; r[j] is new where first[j] = j
    rank[j]     = number of new i with less[i, j]: the place of r[j] among the sorted new rows
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from edgec.frontends.onnx.axes import checked_axis
from edgec.frontends.onnx.context import LoweringContext, LoweringError
from edgec.frontends.onnx.integers import compute_type
from edgec.frontends.onnx.registry import lowers
from edgec.frontends.onnx.sizes import entry, shape_of
from edgec.ir import DYNAMIC, DType, Value
from edgec.ops import Builder
from edgec.ops.elementwise import CastAttributes
from edgec.ops.reduce import ArgMaxAttributes, CumsumAttributes, ReducerAttributes
from edgec.ops.slicing import GatherAttributes

_WHERE_TYPES = (DType.FLOAT32, DType.INT32, DType.INT64, DType.BOOL)
_MOST_ROWS = 2048
"""Rows are compared all with all."""


@lowers("NonZero", dynamic=True)
def non_zero(ctx: LoweringContext) -> Value:
    """`where` lists the coordinates of an entry a row; ONNX wants them in columns."""
    x = ctx.input(0)
    if not x.type.rank:
        raise LoweringError(
            "lists the coordinates of a scalar",
            "It has no axes.",
            "Reshape it to one axis in the source model.",
        )
    if x.dtype not in _WHERE_TYPES:
        x = ctx.cast(x, compute_type(x.dtype))
    return ctx.build.transpose(ctx.build.op("where", [x]), [1, 0])


@lowers("Compress", dynamic=True)
def compress(ctx: LoweringContext) -> Value:
    """Entries along an axis (of the flattened input without one) where a condition holds."""
    x, build = ctx.input(0), ctx.build
    if not ctx.has("axis"):
        x = build.reshape(x, [DYNAMIC] if not x.type.is_static else [x.type.size])
    axis = checked_axis(ctx.int("axis"), x.type.rank)
    return build.op("gather", [x, _places(build, ctx.input(1))], GatherAttributes(axis))


def _places(build: Builder, condition: Value) -> Value:
    """Return the indices at which a vector of bools holds."""
    return build.reshape(build.op("where", [condition]), [DYNAMIC])


@lowers("Unique", dynamic=True)
def unique(ctx: LoweringContext) -> list[Value | None]:
    """Distinct entries or slices, sorted or in the order of first occurrence; places and numbers of each."""
    x, build = ctx.input(0), ctx.build
    if not ctx.has("axis"):
        flat = build.reshape(x, [DYNAMIC] if not x.type.is_static else [x.type.size])
        return _described(ctx, x, flat, [1])
    axis = checked_axis(ctx.int("axis"), x.type.rank)
    to_front = [axis, *(a for a in range(x.type.rank) if a != axis)]
    slices = build.transpose(x, to_front)
    results = _described(ctx, x, slices, slices.shape[1:])
    results[0] = build.transpose(_required(results[0]), np.argsort(to_front).tolist())
    return results


def _described(ctx: LoweringContext, x: Value, slices: Value, rest: Sequence[int]) -> list[Value | None]:
    """Return the new slices, where each is first, which of them a slice is, and how often each is there."""
    build = ctx.build
    if slices.shape[0] == DYNAMIC or DYNAMIC in rest or slices.shape[0] > _MOST_ROWS:
        raise LoweringError(
            f"finds what is unique among {slices.type}",
            f"All are compared with all, which needs a known number of at most {_MOST_ROWS}.",
            "Do this step outside of the model.",
        )
    rows = ctx.cast(build.reshape(slices, [slices.shape[0], prod(rest)]), compute_type(x.dtype))
    equal, less = _compared(build, rows)
    first = _first(build, equal)
    order = build.constant(np.arange(rows.shape[0], dtype=np.int32))
    is_new = build.op("equal", [first, order])
    if ctx.int("sorted", 1):
        which = _count(build, build.op("logical_and", [less, build.reshape(is_new, [rows.shape[0], 1])]), 0)
        places = _sorted_places(build, is_new, which)
    else:
        ones = ctx.cast(is_new, DType.INT32)
        before = build.op("cumsum", [ones, build.constant(0)], CumsumAttributes(exclusive=True))
        which = build.op("gather", [before, first], GatherAttributes(0))
        places = ctx.cast(_places(build, is_new), DType.INT32)
    counts = _count(build, build.op("gather", [equal, places], GatherAttributes(0)), 1)
    kept = build.op("gather", [slices, places], GatherAttributes(0))
    rest_of = [ctx.cast(value, DType.INT64) for value in (places, which, counts)]
    return [kept, *(v if ctx.wants_output(i + 1) else None for i, v in enumerate(rest_of))]


def _compared(build: Builder, rows: Value) -> tuple[Value, Value]:
    """Return `[n, n]` bools: rows i and j are equal; row i is less than row j."""
    count, columns = rows.shape
    one, other = build.reshape(rows, [count, 1, columns]), build.reshape(rows, [1, count, columns])
    differs = build.op("not_equal", [one, other])
    last = build.constant([2])
    earlier = build.op("cumsum", [_ints(build, differs), build.constant(2)], CumsumAttributes(exclusive=True))
    decides = build.op("equal", [earlier, build.constant(np.asarray(0, np.int32))])
    smaller = build.op("logical_and", [build.op("less", [one, other]), decides])
    less = build.op("reduce_any", [smaller, last], ReducerAttributes())
    return build.op("logical_not", [build.op("reduce_any", [differs, last], ReducerAttributes())]), less


def _first(build: Builder, equal: Value) -> Value:
    """Return for each row the first one that equals it."""
    attributes = ArgMaxAttributes(DType.INT32)
    return build.op("arg_max", [_ints(build, equal), build.constant(1)], attributes)


def _sorted_places(build: Builder, is_new: Value, rank: Value) -> Value:
    """Return the places of new rows by rising rank: topk_v2 of the negative ranks of all of them."""
    new = build.op("cast", [_places(build, is_new)], _to_int32(DType.INT64))
    ranks = build.op("neg", [build.op("gather", [rank, new], GatherAttributes(0))])
    _, order = build.node("topk_v2", [ranks, entry(build, shape_of(build, new), 0)]).results
    return build.op("gather", [new, order], GatherAttributes(0))


def _count(build: Builder, condition: Value, axis: int) -> Value:
    return build.op("sum", [_ints(build, condition), build.constant([axis])], ReducerAttributes())


def _ints(build: Builder, condition: Value) -> Value:
    return build.op("cast", [condition], _to_int32(DType.BOOL))


def _to_int32(source: DType) -> CastAttributes:
    return CastAttributes(source, DType.INT32)


def _required(value: Value | None) -> Value:
    if value is None:
        raise AssertionError("the slices are always there")
    return value
