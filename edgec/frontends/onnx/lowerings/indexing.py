"""Operators that pick entries by index. ONNX counts negative indices from the end, kernels refuse them."""

from __future__ import annotations

import numpy as np

from edgec.frontends.onnx.axes import checked_axis
from edgec.frontends.onnx.context import LoweringContext, LoweringError
from edgec.frontends.onnx.integers import compute, number
from edgec.frontends.onnx.lowerings.movement import box, concatenated, expanded, sliced
from edgec.frontends.onnx.registry import lowers
from edgec.frontends.onnx.sizes import as_value, dim, int32, scalar
from edgec.ir import DYNAMIC, DType, Shape, Value
from edgec.ops.movement import ReverseSequenceAttributes
from edgec.ops.slicing import GatherAttributes


@lowers("Gather", dynamic=True)
def gather(ctx: LoweringContext) -> Value:
    """Slices of `x` along an axis; one known index, or a known run of them, is a slice."""
    x, indices = ctx.input(0), ctx.input(1)
    axis = checked_axis(ctx.int("axis"), x.type.rank)
    known = _known_entries(ctx, x, indices)
    if known is not None:
        return known
    if x.shape[axis] == DYNAMIC:
        indices = _from_an_unknown_front(ctx, indices, x, axis)
        return ctx.build.op("gather", [x, indices], GatherAttributes(axis))
    indices = from_the_front(ctx, indices, x.shape[axis])
    run = _known_run(indices) if x.type.is_static else None
    if run is None:
        return ctx.build.op("gather", [x, indices], GatherAttributes(axis))
    taken = sliced(ctx.build, x, axis, run, indices.type.size)
    return ctx.build.reshape(taken, [*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]])


def _known_entries(ctx: LoweringContext, x: Value, indices: Value) -> Value | None:
    """Return known entries of a vector that is computed at run time (a shape, say) as a constant."""
    if x.data is not None or indices.data is None or x.type.rank != 1 or not x.dtype.is_integer:
        return None
    entries = ctx.entries(x) if x.type.is_static else []
    places = [int(index) for index in indices.data.reshape(-1)]
    if any(not -len(entries) <= place < len(entries) for place in places):
        return None
    found = [entries[place] for place in places]
    if any(entry is None for entry in found):
        return None
    return ctx.build.constant(np.asarray(found, x.dtype.numpy).reshape(indices.shape))


def _from_an_unknown_front(ctx: LoweringContext, indices: Value, x: Value, axis: int) -> Value:
    """Return indices counted from the front of an axis whose size the run time knows."""
    if indices.data is not None and (not indices.data.size or int(indices.data.min()) >= 0):
        return int32(ctx.build, indices)
    wide = ctx.cast(as_value(ctx.build, dim(ctx.build, x, axis)), indices.dtype)
    shifted = ctx.build.op("add", [indices, wide])
    negative = ctx.build.op("less", [indices, number(ctx, 0, indices)])
    return ctx.build.op("select_v2", [negative, shifted, indices])


def from_the_front(ctx: LoweringContext, indices: Value, size: int) -> Value:
    """Return indices with `size` added where they are negative; known ones are checked and become int32."""
    if indices.data is None:
        shifted = ctx.build.op("add", [indices, number(ctx, size, indices)])
        negative = ctx.build.op("less", [indices, number(ctx, 0, indices)])
        return ctx.build.op("select_v2", [negative, shifted, indices])
    data = indices.data.astype(np.int64)
    if data.size and not -size <= int(data.min()) <= int(data.max()) < size:
        raise LoweringError(
            f"reads entries {int(data.min())} to {int(data.max())} of an axis of size {size}",
            "There are no such entries.",
            "Correct the indices, or the input shape if it was pinned.",
        )
    return ctx.build.constant(np.where(data < 0, data + size, data).astype(np.int32), name=indices.name)


def _known_run(indices: Value) -> int | None:
    """Return the first of known indices that count up by one, or None."""
    if indices.data is None or indices.data.size == 0 or indices.type.rank > 1:
        return None
    entries = [int(entry) for entry in indices.data.reshape(-1)]
    return entries[0] if entries == list(range(entries[0], entries[0] + len(entries))) else None


@lowers("GatherElements")
def gather_elements(ctx: LoweringContext) -> Value:
    """One gather in which all axes but the last are batches: each index reads from its own row."""
    x, indices = ctx.input(0), ctx.input(1)
    rank = x.type.rank
    axis = checked_axis(ctx.int("axis"), rank)
    if indices.type.rank != rank or any(
        i > d for a, (i, d) in enumerate(zip(indices.shape, x.shape, strict=True)) if a != axis
    ):
        raise LoweringError(
            f"has indices {list(indices.shape)} for data {list(x.shape)}",
            "Along every other axis they can be at most as long as the data.",
            "Correct the indices.",
        )
    indices = from_the_front(ctx, indices, x.shape[axis])
    x = box(ctx.build, x, [0] * rank, [x.shape[a] if a == axis else indices.shape[a] for a in range(rank)])
    to_last = [a for a in range(rank) if a != axis] + [axis]
    rows, picks = (ctx.build.transpose(value, to_last) for value in (x, indices))
    picked = ctx.build.op("gather", [rows, picks], GatherAttributes(rank - 1, batch_dims=rank - 1))
    return ctx.build.transpose(picked, np.argsort(to_last).tolist())


@lowers("GatherND")
def gather_nd(ctx: LoweringContext) -> Value:
    """The kernel of the same name; batch axes become coordinates in front of the given ones."""
    x, indices = ctx.input(0), ctx.input(1)
    batch, depth = ctx.int("batch_dims"), indices.shape[-1]
    dims = np.asarray(x.shape[batch : batch + depth])
    if len(dims) < depth or indices.shape[:batch] != x.shape[:batch]:
        raise LoweringError(
            f"has indices {list(indices.shape)} with {batch} batch axes for data {list(x.shape)}",
            "Their last axis names coordinates, and batch axes agree.",
            "Correct the indices.",
        )
    indices = coordinates_from_the_front(ctx, indices, dims)
    if batch:
        grid = np.indices(indices.shape[:batch]).transpose(*range(1, batch + 1), 0)
        grid = grid.reshape(*indices.shape[:batch], *[1] * (indices.type.rank - 1 - batch), batch)
        where = ctx.build.constant(grid.astype(indices.dtype.numpy))
        where = expanded(ctx.build, where, (*indices.shape[:-1], batch))
        indices = concatenated(ctx.build, [where, indices], indices.type.rank - 1)
    return ctx.build.op("gather_nd", [x, indices])


def coordinates_from_the_front(ctx: LoweringContext, indices: Value, dims: np.ndarray) -> Value:
    """Like `from_the_front` for vectors of coordinates, each with its own dimension."""
    if indices.data is not None:
        data = indices.data.astype(np.int64)
        data = np.where(data < 0, data + dims, data)
        if np.any((data < 0) | (data >= dims)):
            raise LoweringError(
                f"reads outside of the dimensions {dims.tolist()}",
                "There are no such entries.",
                "Correct the indices, or the input shape if it was pinned.",
            )
        return ctx.build.constant(data.astype(np.int32), name=indices.name)
    sizes = ctx.build.constant(dims.astype(indices.dtype.numpy))
    negative = ctx.build.op("less", [indices, number(ctx, 0, indices)])
    return ctx.build.op("select_v2", [negative, ctx.build.op("add", [indices, sizes]), indices])


@lowers("OneHot")
def one_hot(ctx: LoweringContext) -> Value:
    """select_v2(indices = 0 … depth - 1 along a new axis, on, off): what lies outside is off everywhere."""
    indices, values, depth = ctx.input(0), ctx.input(2), ctx.input(1)
    rank = indices.type.rank + 1
    axis = checked_axis(ctx.int("axis", -1), rank)
    if depth.data is None:
        depth = scalar(ctx.build, depth)
        steps = ctx.build.op("range", [ctx.build.constant(0), depth, ctx.build.constant(1)])
    else:
        depth = number(ctx, ctx.constant_ints(1)[0], indices)
        steps = ctx.build.constant(np.arange(depth.constant().item()).astype(indices.dtype.numpy))
    depth, steps = (ctx.cast(value, indices.dtype) for value in (depth, steps))
    shifted = compute(ctx, "add", indices, depth)
    negative = compute(ctx, "less", indices, number(ctx, 0, indices))
    entries = ctx.build.op("select_v2", [negative, shifted, indices])
    spread: Shape = (*indices.shape[:axis], 1, *indices.shape[axis:])
    along = [steps.shape[0] if a == axis else 1 for a in range(rank)]
    hit = compute(ctx, "equal", ctx.build.reshape(entries, spread), ctx.build.reshape(steps, along))
    off, on = (ctx.build.reshape(sliced(ctx.build, values, 0, index, 1), ()) for index in (0, 1))
    return ctx.build.op("select_v2", [hit, on, off])


def _counted(ctx: LoweringContext, depth: Value) -> Value:
    """Return 0 … depth - 1 as int32."""
    if depth.data is not None:
        return ctx.build.constant(np.arange(int(depth.data), dtype=np.int32))
    zero, one = (ctx.build.constant(np.asarray(item, np.int32)) for item in (0, 1))
    return ctx.build.op("range", [zero, depth, one])


@lowers("ReverseSequence")
def reverse_sequence(ctx: LoweringContext) -> Value:
    """The kernel of the same name: the first `sequence_lens[b]` steps of batch entry b, back to front."""
    x, lengths = ctx.input(0), ctx.input(1)
    if lengths.data is not None:
        lengths = ctx.cast(lengths, DType.INT32)
    attributes = ReverseSequenceAttributes(ctx.int("time_axis"), ctx.int("batch_axis", 1))
    return ctx.build.op("reverse_sequence", [x, lengths], attributes)
