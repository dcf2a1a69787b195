"""Col2Im and MaxUnpool: putting columns, or the cells that a pool kept, back into an image."""

from __future__ import annotations

from math import prod

import numpy as np

from edgec.frontends.onnx.context import LoweringContext, LoweringError
from edgec.frontends.onnx.integers import compute_type, number
from edgec.frontends.onnx.lowerings.movement import concatenated
from edgec.frontends.onnx.lowerings.padding import Window, axis_ints, pad_or_crop
from edgec.frontends.onnx.registry import lowers
from edgec.ir import Array, DType, Value
from edgec.ops import Builder
from edgec.ops.reduce import ReducerAttributes
from edgec.ops.slicing import GatherAttributes


@lowers("Col2Im", since=18)
def col2im(ctx: LoweringContext) -> Value:
    """Sum of the blocks' entries that lie on each cell, of any number of spatial axes."""
    x, sizes, block = ctx.input(0), ctx.constant_ints(1), ctx.constant_ints(2)
    windows = _block_windows(ctx, sizes, block)
    steps = prod(window.output for window in windows)
    if x.type.rank != 3 or x.shape[1] % prod(block) or x.shape[2] != steps:
        raise LoweringError(
            f"has columns {list(x.shape)} for blocks {block} in an image {sizes}",
            f"They are [batch, channels * {prod(block)}, {steps}].",
            "Export the model again.",
        )
    wide = ctx.cast(x, compute_type(x.dtype))
    channels = x.shape[1] // prod(block)
    rows = ctx.build.reshape(wide, [x.shape[0] * channels, prod(block) * steps])
    y = summed_entries(ctx.build, rows, 1, _sources(windows))
    return ctx.cast(ctx.build.reshape(y, [x.shape[0], channels, *sizes]), x.dtype)


def _block_windows(ctx: LoweringContext, sizes: list[int], block: list[int]) -> list[Window]:
    count = len(sizes)
    strides, dilations = axis_ints(ctx, "strides", count, 1), axis_ints(ctx, "dilations", count, 1)
    pads = axis_ints(ctx, "pads", 2 * count, 0)
    if len(block) != count:
        raise LoweringError(
            f"has blocks {block} in an image {sizes}", "One size for each axis.", "Correct it."
        )
    windows: list[Window] = []
    for axis in range(count):
        low, high = pads[axis], pads[axis + count]
        extent = (block[axis] - 1) * dilations[axis] + 1
        output = (sizes[axis] + low + high - extent) // strides[axis] + 1
        windows.append(
            Window(sizes[axis], block[axis], strides[axis], dilations[axis], low, high, max(output, 0))
        )
    return windows


def _sources(windows: list[Window]) -> list[list[int]]:
    """Return, for every cell of the image, the entries (tap, step) of a column that lie on it."""
    sizes = [window.size for window in windows]
    shape = [*(w.kernel for w in windows), *(w.output for w in windows)]
    entries = np.indices(shape).reshape(len(shape), -1)
    cell, inside = np.zeros(entries.shape[1], np.int64), np.ones(entries.shape[1], np.bool_)
    for axis, window in enumerate(windows):
        place = window.taps().T[entries[axis], entries[axis + len(windows)]]
        inside &= (place >= 0) & (place < sizes[axis])
        cell = cell * sizes[axis] + place
    found: list[list[int]] = [[] for _ in range(prod(sizes))]
    for entry in np.flatnonzero(inside).tolist():
        found[cell[entry]].append(entry)
    return found


def summed_entries(build: Builder, x: Value, axis: int, sources: list[list[int]]) -> Value:
    """Return, along `axis`, the sum of the named entries of x for every item of `sources`.

    One gather from x and an entry of zeros behind it, for items with fewer sources than others, and one sum.
    """
    most = max(map(len, sources))
    last = x.shape[axis]
    if any(len(entries) < most for entries in sources) or most == 0:
        pads = [(0, int(a == axis)) for a in range(x.type.rank)]
        x = pad_or_crop(build, x, pads)
    most = max(most, 1)
    table = np.full((len(sources), most), last, np.int32)
    for item, entries in enumerate(sources):
        table[item, : len(entries)] = entries
    if most == 1:
        return build.op("gather", [x, build.constant(table[:, 0].copy())], GatherAttributes(axis=axis))
    picked = build.op("gather", [x, build.constant(table)], GatherAttributes(axis=axis))
    return build.op("sum", [picked, build.constant([axis + 1])], ReducerAttributes(keep_dims=False))


@lowers("MaxUnpool")
def max_unpool(ctx: LoweringContext) -> Value:
    """Cells at the places that MaxPool's indices name, zeros elsewhere; of several cells the last wins.

    Indices count through the shape that undoes the pool; a larger output_shape adds zeros behind it.
    """
    x, indices = ctx.input(0), ctx.input(1)
    shape = _unpooled_shape(ctx, x)
    wanted = ctx.constant_ints(2) if ctx.optional_input(2) is not None else list(shape)
    if indices.shape != x.shape or len(wanted) != len(shape) or any(map(int.__lt__, wanted, shape)):
        raise LoweringError(
            f"has indices {list(indices.shape)} for {list(x.shape)} and an output {wanted}",
            f"There is one index for each cell, and the output is at least {list(shape)}.",
            "Export the model again.",
        )
    y = ctx.build.reshape(_placed(ctx, x, indices, prod(shape)), shape)
    return pad_or_crop(ctx.build, y, [(0, w - s) for w, s in zip(wanted, shape, strict=True)])


def _unpooled_shape(ctx: LoweringContext, x: Value) -> tuple[int, ...]:
    kernel, count = ctx.ints("kernel_shape") or [], x.type.rank - 2
    if len(kernel) != count:
        raise LoweringError(f"kernel_shape {kernel} does not fit {list(x.shape)}", "", "Export it again.")
    strides, pads = axis_ints(ctx, "strides", count, 1), axis_ints(ctx, "pads", 2 * count, 0)
    sizes = [
        (x.shape[axis + 2] - 1) * strides[axis] + kernel[axis] - pads[axis] - pads[axis + count]
        for axis in range(count)
    ]
    return (*x.shape[:2], *sizes)


def _placed(ctx: LoweringContext, x: Value, indices: Value, count: int) -> Value:
    """Return a line of `count` cells: at each place the last one that goes there, or zero."""
    build, total = ctx.build, x.type.size
    zero = build.constant(np.zeros(1, x.dtype.numpy))
    cells = concatenated(build, [zero, build.reshape(x, [total])], 0)
    if indices.data is not None:
        sources = build.constant(_last_cells(indices.data.reshape(-1), count))
    else:
        ids = ctx.cast(build.reshape(indices, [total]), DType.INT32)
        numbers = build.constant(np.arange(1, total + 1, dtype=np.int32))
        last = build.op("unsorted_segment_max", [numbers, ids, build.constant(count)])
        sources = build.op("maximum", [last, number(ctx, 0, last)])
    return build.op("gather", [cells, sources], GatherAttributes(axis=0))


def _last_cells(indices: Array, count: int) -> Array:
    sources = np.zeros(count, np.int32)
    sources[indices.astype(np.intp)] = np.arange(1, indices.size + 1, dtype=np.int32)
    return sources
