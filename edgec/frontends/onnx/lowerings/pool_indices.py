"""MaxPool with its Indices output: windows gathered side by side, their maximum and where it is.

    picked [N * C, windows, taps]      index = table[window, arg_max(picked)] + channel * cells

Taps in pads repeat the window's first real one, so they never win on their own: arg_max takes the first of
equals, and both name the same cell.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from edgec.frontends.onnx.context import LoweringContext
from edgec.frontends.onnx.lowerings.padding import Window, inside_taps
from edgec.ir import Array, DType, Value
from edgec.ops.reduce import ArgMaxAttributes, ReducerAttributes
from edgec.ops.slicing import GatherAttributes


def max_pool_with_indices(ctx: LoweringContext, windows: Sequence[Window]) -> Sequence[Value]:
    """Return the maxima and their places in the flattened input (int64), for windows over any axes."""
    x, build = ctx.input(0), ctx.build
    images, sizes = prod(x.shape[:2]), x.shape[2:]
    cells, names = _cells(windows, sizes, column_major=bool(ctx.int("storage_order")))
    count, taps = cells.shape
    rows = build.reshape(ctx.cast(x, DType.FLOAT32), [images, prod(sizes)])
    picked = build.op("gather", [rows, build.constant(cells)], GatherAttributes(axis=1))
    best = build.op("reduce_max", [picked, build.constant([2])], ReducerAttributes(keep_dims=False))
    tap = build.op("arg_max", [picked, build.constant(2)], ArgMaxAttributes(DType.INT32))
    entry = build.op("add", [tap, build.constant((np.arange(count) * taps).astype(np.int32))])
    place = build.op("gather", [build.constant(names.reshape(-1)), entry], GatherAttributes(axis=0))
    if images > 1:
        base = (np.arange(images, dtype=np.int64) * prod(sizes)).reshape(images, 1)
        place = build.op("add", [place, build.constant(base)])
    shape = [*x.shape[:2], *(window.output for window in windows)]
    return [build.reshape(ctx.cast(best, x.dtype), shape), build.reshape(place, shape)]


def _cells(windows: Sequence[Window], sizes: Sequence[int], *, column_major: bool) -> tuple[Array, Array]:
    """Return the cell that each tap of each window reads, `[windows, taps]`, and the name of that cell.

    A cell's name is its number in row-major order, or in column-major order where the node asks for it.
    """
    lines = [inside_taps(window) for window in windows]
    outputs, kernels = [line.shape[0] for line in lines], [line.shape[1] for line in lines]
    cells = np.zeros((*outputs, *kernels), np.int64)
    names = np.zeros_like(cells)
    for axis, line in enumerate(lines):
        shape = [1] * cells.ndim
        shape[axis], shape[axis + len(lines)] = line.shape
        place = line.reshape(shape)
        cells = cells + place * prod(sizes[axis + 1 :])
        names = names + place * prod(sizes[:axis] if column_major else sizes[axis + 1 :])
    whole = (prod(outputs), prod(kernels))
    return cells.reshape(whole).astype(np.int32), names.reshape(whole)
