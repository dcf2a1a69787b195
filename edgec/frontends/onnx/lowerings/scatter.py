"""Operators that write updates to indexed places. All become rows: places are numbered through.

x [dims..., inner...] → [rows, inner...]      ids [count]: the row that each update goes to
known ids that fill a box:   dynamic_update_slice
no reduction:                gather from x and the updates, one behind the other
    x0 x1 x2 x3 | u0 u1 u2   with ids 2 0 2  →  entries 5 1 6 3: the last of several updates wins
add:                         x + scatter_nd(updates)
mul, max, min:               x ∘ unsorted_segment_∘(updates)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import numpy.typing as npt

from edgec.frontends.onnx.axes import checked_axis
from edgec.frontends.onnx.context import LoweringContext, LoweringError
from edgec.frontends.onnx.integers import compute, compute_type, number
from edgec.frontends.onnx.lowerings.indexing import coordinates_from_the_front, from_the_front
from edgec.frontends.onnx.lowerings.movement import concatenated
from edgec.frontends.onnx.registry import lowers
from edgec.ir import Array, DType, Shape, Value
from edgec.ops.reduce import ReducerAttributes
from edgec.ops.slicing import GatherAttributes

_SEGMENTS = {"mul": ("mul", "prod"), "max": ("maximum", "max"), "min": ("minimum", "min")}
_REDUCTIONS = {"add": "add", "mul": "mul", "max": "maximum", "min": "minimum"}


@dataclass(frozen=True, slots=True)
class _Rows:
    """Rows of `x`, which are numbered through `dims`, and the row that each update goes to."""

    x: Value
    dims: Shape
    ids: Value
    updates: Value

    @property
    def count(self) -> int:
        return prod(self.dims)

    @property
    def inner(self) -> Shape:
        return self.x.shape[len(self.dims) :]

    @property
    def distinct(self) -> bool:
        """Whether ids are known and no two are equal."""
        return self.ids.data is not None and np.unique(self.ids.data).size == self.ids.data.size


@lowers("ScatterElements", "Scatter")
def scatter_elements(ctx: LoweringContext) -> Value:
    """Each update goes to its own place, with the coordinate along `axis` replaced by the index."""
    x, indices, updates = ctx.input(0), ctx.input(1), ctx.input(2)
    axis = checked_axis(ctx.int("axis"), x.type.rank)
    if indices.shape != updates.shape or indices.type.rank != x.type.rank:
        raise LoweringError(
            f"has indices {list(indices.shape)} and updates {list(updates.shape)} for data {list(x.shape)}",
            "There is one index for each update, with as many axes as the data.",
            "Correct the indices.",
        )
    if not indices.type.size:
        return x
    strides = [prod(x.shape[a + 1 :]) for a in range(x.type.rank)]
    own = np.indices(indices.shape)
    base = sum((own[a] * stride for a, stride in enumerate(strides) if a != axis), np.zeros((), np.int64))
    ids = _numbered(ctx, from_the_front(ctx, indices, x.shape[axis]), strides[axis], base.reshape(-1))
    return _scattered(ctx, _Rows(x, x.shape, ids, ctx.build.reshape(updates, [updates.type.size])))


def _numbered(ctx: LoweringContext, indices: Value, stride: int, base: npt.NDArray[np.int64]) -> Value:
    """Return `index * stride + base` for each index as int32 [count]."""
    if indices.data is not None:
        ids = indices.data.reshape(-1).astype(np.int64) * stride + base
        return ctx.build.constant(ids.astype(np.int32))
    flat = ctx.build.reshape(ctx.cast(indices, DType.INT32), [indices.type.size])
    scaled = ctx.build.op("mul", [flat, number(ctx, stride, flat)])
    return ctx.build.op("add", [scaled, ctx.build.constant(base.astype(np.int32))])


@lowers("ScatterND")
def scatter_nd(ctx: LoweringContext) -> Value:
    """Coordinates in the last axis of the indices name a row of the data for each update."""
    x, indices, updates = ctx.input(0), ctx.input(1), ctx.input(2)
    depth = indices.shape[-1] if indices.type.rank else 0
    if not 1 <= depth <= x.type.rank or updates.shape != indices.shape[:-1] + x.shape[depth:]:
        raise LoweringError(
            f"has indices {list(indices.shape)} and updates {list(updates.shape)} for data {list(x.shape)}",
            "The last axis of the indices names coordinates, and there is one update for each of them.",
            "Correct the indices.",
        )
    if not updates.type.size:
        return x
    dims, count = x.shape[:depth], prod(indices.shape[:-1])
    coordinates = coordinates_from_the_front(ctx, indices, np.asarray(dims))
    ids = _row_numbers(ctx, coordinates, dims, count)
    return _scattered(ctx, _Rows(x, dims, ids, ctx.build.reshape(updates, [count, *x.shape[depth:]])))


def _row_numbers(ctx: LoweringContext, coordinates: Value, dims: Shape, count: int) -> Value:
    """Return the row number of each vector of coordinates as int32 [count]."""
    if coordinates.data is not None:
        strides = [prod(dims[axis + 1 :]) for axis in range(len(dims))]
        numbers = coordinates.data.astype(np.int64).reshape(-1, len(dims)) @ np.asarray(strides)
        return ctx.build.constant(numbers.astype(np.int32))
    vectors = ctx.build.reshape(ctx.cast(coordinates, DType.INT32), [count, len(dims)])
    if len(dims) == 1:
        return ctx.build.reshape(vectors, [count])
    strides = ctx.build.constant([prod(dims[axis + 1 :]) for axis in range(len(dims))])
    parts = ctx.build.op("mul", [vectors, strides])
    return ctx.build.op("sum", [parts, ctx.build.constant([1])], ReducerAttributes())


def _scattered(ctx: LoweringContext, rows: _Rows) -> Value:
    """Write or combine the updates, by the node's `reduction`."""
    reduction = ctx.string("reduction", "none")
    if reduction == "none":
        return _replaced(ctx, rows)
    if reduction not in _REDUCTIONS:
        raise LoweringError(
            f"has reduction '{reduction}'",
            "ONNX defines none, add, mul, max and min.",
            "Correct the attribute in the source model.",
        )
    if rows.distinct:
        taken = _taken(ctx, ctx.build.reshape(rows.x, [rows.count, *rows.inner]), rows.ids)
        combined = compute(ctx, _REDUCTIONS[reduction], taken, rows.updates)
        return _replaced(ctx, _Rows(rows.x, rows.dims, rows.ids, combined))
    if reduction == "add":
        return _added(ctx, rows)
    return _combined(ctx, rows, *_SEGMENTS[reduction])


def _replaced(ctx: LoweringContext, rows: _Rows) -> Value:
    """Return x with updates in their rows, the last one where several go to the same row."""
    box = None if rows.ids.data is None else _box(rows.ids.data, rows.dims)
    if box is not None:
        return _boxed(ctx, rows, *box)
    count, updates = rows.count, rows.updates.shape[0]
    if rows.ids.data is not None:
        places = np.arange(count, dtype=np.int32)
        places[rows.ids.data.astype(np.intp)] = count + np.arange(updates, dtype=np.int32)
        sources = ctx.build.constant(places)
    else:
        numbers = ctx.build.constant(np.arange(count, count + updates, dtype=np.int32))
        last = ctx.build.op("unsorted_segment_max", [numbers, rows.ids, ctx.build.constant(count)])
        sources = ctx.build.op("maximum", [last, ctx.build.constant(np.arange(count, dtype=np.int32))])
    table = concatenated(ctx.build, [ctx.build.reshape(rows.x, [count, *rows.inner]), rows.updates], 0)
    return ctx.build.reshape(_taken(ctx, table, sources), rows.x.shape)


def _taken(ctx: LoweringContext, table: Value, ids: Value) -> Value:
    return ctx.build.op("gather", [table, ids], GatherAttributes(0))


def _box(ids: Array, dims: Shape) -> tuple[list[int], list[int]] | None:
    """Return start and size of the box that ids fill in order, or None."""
    first, last = (np.array(np.unravel_index(int(ids[end]), dims)) for end in (0, -1))
    size = last - first + 1
    if np.any(size < 1) or np.prod(size) != ids.size:
        return None
    filled = np.arange(prod(dims)).reshape(dims)
    filled = filled[tuple(slice(f, f + s) for f, s in zip(first, size, strict=True))]
    return (first.tolist(), size.tolist()) if np.array_equal(filled.reshape(-1), ids) else None


def _boxed(ctx: LoweringContext, rows: _Rows, start: Sequence[int], size: Sequence[int]) -> Value:
    update = ctx.build.reshape(rows.updates, [*size, *rows.inner])
    if update.shape == rows.x.shape:
        return update
    begin = ctx.build.constant([*start, *[0] * len(rows.inner)])
    return ctx.build.op("dynamic_update_slice", [rows.x, update, begin])


def _added(ctx: LoweringContext, rows: _Rows) -> Value:
    wide = compute_type(rows.x.dtype)
    shape = ctx.build.constant([rows.count, *rows.inner])
    ids = ctx.build.reshape(rows.ids, [rows.updates.shape[0], 1])
    total = ctx.build.op("scatter_nd", [ids, ctx.cast(rows.updates, wide), shape])
    added = ctx.build.op("add", [ctx.cast(rows.x, wide), ctx.build.reshape(total, rows.x.shape)])
    return ctx.cast(added, rows.x.dtype)


def _combined(ctx: LoweringContext, rows: _Rows, kind: str, segments: str) -> Value:
    """Return x ∘ (all updates of a row); rows without updates are combined with the neutral number."""
    wide = compute_type(rows.x.dtype)
    if wide is DType.INT64:
        raise LoweringError(
            f"reduces {rows.x.dtype} by {ctx.string('reduction')}",
            "Several updates may go to one place, and the kernels that combine them have no int64.",
            "Cast to int32 in the source model.",
        )
    count = ctx.build.constant(rows.count)
    x, updates = ctx.cast(rows.x, wide), ctx.cast(rows.updates, wide)
    total = ctx.build.op(f"unsorted_segment_{segments}", [updates, rows.ids, count])
    result = ctx.build.op(kind, [x, ctx.build.reshape(total, x.shape)])
    if wide is DType.FLOAT32 and segments != "prod":
        changed = _has_effect(ctx, rows, updates, count, segments)
        result = ctx.build.op("select_v2", [ctx.build.reshape(changed, x.shape), result, x])
    return ctx.cast(result, rows.x.dtype)


def _has_effect(ctx: LoweringContext, rows: _Rows, updates: Value, count: Value, segments: str) -> Value:
    """Return where an update is not the neutral infinity.

    The kernel starts from the largest finite number, which is not neutral for infinities.
    """
    largest = segments == "max"
    infinity = number(ctx, -np.inf if largest else np.inf, updates)
    matters = ctx.build.op("not_equal", [updates, infinity])
    hits = ctx.build.op("unsorted_segment_max", [ctx.cast(matters, DType.INT32), rows.ids, count])
    return ctx.build.op("greater", [hits, number(ctx, 0, hits)])
