"""GridSample and AffineGrid: reading an image at points that a second input names.

A grid's coordinates run from -1 to 1 over an axis of `size` cells, last axis of the image first:

    align_corners      x = (g + 1) / 2 * (size - 1)        -1 and 1 are the centres of the outer cells
    otherwise          x = ((g + 1) * size - 1) / 2        -1 and 1 are their outer borders
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import numpy as np

from edgec.frontends.onnx.context import LoweringContext, LoweringError
from edgec.frontends.onnx.lowerings.movement import sliced
from edgec.frontends.onnx.lowerings.taps import (
    Taps,
    clamped,
    cubic_taps,
    linear_taps,
    nearest_taps,
    read_rows,
    weighted_sum,
    weights_of,
    zero_outside,
)
from edgec.frontends.onnx.registry import lowers
from edgec.ir import DType, Value
from edgec.ops import Builder
from edgec.ops.matmul import BatchMatMulAttributes

_TAPS: dict[str, Callable[[Builder, Value], Taps]] = {
    "nearest": nearest_taps,
    "linear": linear_taps,
    "bilinear": linear_taps,
    "cubic": cubic_taps,
    "bicubic": cubic_taps,
}
_PADDING_MODES = ("zeros", "border", "reflection")


@lowers("GridSample", since=16)
def grid_sample(ctx: LoweringContext) -> Value:
    """Interpolate `[N, C, sizes...]` at `[N, points..., axes]`."""
    x, grid, build = ctx.input(0), ctx.input(1), ctx.build
    mode = ctx.string("mode", "linear" if ctx.opset >= 20 else "bilinear")
    padding = ctx.string("padding_mode", "zeros")
    _check(x, grid, mode, padding)
    batch, channels, *sizes = x.shape
    count = prod(grid.shape[1:-1])
    points = build.reshape(grid, [batch, count, len(sizes)])
    axes = [
        _axis_taps(build, sliced(build, points, 2, len(sizes) - 1 - axis, 1), size, mode, padding, ctx)
        for axis, size in enumerate(sizes)
    ]
    rows = build.reshape(ctx.to_channels_last(x), [batch * prod(sizes), channels])
    first = first_rows(build, batch, prod(sizes)) if batch > 1 else None
    y = weighted_sum(build, read_rows(build, rows, axes, sizes, first), weights_of(build, axes))
    return ctx.to_channels_first(build.reshape(y, [batch, *grid.shape[1:-1], channels]))


def first_rows(build: Builder, batch: int, cells: int) -> Value:
    """Return the row at which each sample's cells begin, `[N, 1, 1]`."""
    return build.constant((np.arange(batch) * cells).astype(np.int32).reshape(batch, 1, 1))


def _check(x: Value, grid: Value, mode: str, padding: str) -> None:
    if mode not in _TAPS or padding not in _PADDING_MODES:
        raise LoweringError(
            f"has mode '{mode}' and padding_mode '{padding}'",
            f"Modes are {', '.join(_TAPS)}; paddings {', '.join(_PADDING_MODES)}.",
            "Correct the attributes.",
        )
    if x.dtype is not DType.FLOAT32:
        raise LoweringError(
            f"samples {x.dtype}", "The kernels interpolate float32.", "Cast to float32 in the source model."
        )
    if grid.type.rank != x.type.rank or grid.shape[0] != x.shape[0] or grid.shape[-1] != x.type.rank - 2:
        raise LoweringError(
            f"has a grid {list(grid.shape)} for an image {list(x.shape)}",
            "Its last axis holds one coordinate for each spatial axis.",
            "Export the model again.",
        )


def _axis_taps(build: Builder, grid: Value, size: int, mode: str, padding: str, ctx: LoweringContext) -> Taps:
    """Return the taps along one axis; those outside of the image follow the padding mode."""
    align = bool(ctx.int("align_corners"))
    low, high = (0.0, size - 1.0) if align else (-0.5, size - 0.5)
    x = _position(build, grid, size, align)
    if mode == "nearest":
        x = build.op(
            "round", [x]
        )  # of two equally near cells the even one; before reflection, which keeps it whole
    if padding == "border" and mode not in ("cubic", "bicubic"):  # of cubic taps each is held by itself
        x = clamped(build, x, 0.0, size - 1.0)
    elif padding == "reflection":
        x = _reflected(build, x, low, high)
    taps = _TAPS[mode](build, x)
    if padding == "zeros":
        return zero_outside(build, taps, size)
    cells = taps.cells if padding == "border" else _reflected(build, taps.cells, low, high)
    return Taps(clamped(build, cells, 0.0, size - 1.0), taps.weights)


def _position(build: Builder, grid: Value, size: int, align: bool) -> Value:
    shifted = build.op("add", [grid, build.constant(1.0)])
    if align:
        half = build.op("mul", [shifted, build.constant(0.5)])
        return build.op("mul", [half, build.constant(size - 1.0)])
    doubled = build.op("mul", [shifted, build.constant(float(size))])
    return build.op("mul", [build.op("sub", [doubled, build.constant(1.0)]), build.constant(0.5)])


def _reflected(build: Builder, x: Value, low: float, high: float) -> Value:
    """Mirror x at both borders until it is inside: a zigzag with a period of twice the range."""
    span = high - low
    if span == 0.0:
        return build.op("mul", [x, build.constant(0.0)])
    distance = build.op("abs", [build.op("sub", [x, build.constant(low)])])
    place = build.op("floor_mod", [distance, build.constant(2 * span)])
    back = build.op("sub", [build.constant(2 * span), place])
    return build.op("add", [build.op("minimum", [place, back]), build.constant(low)])


@lowers("AffineGrid", since=20)
def affine_grid(ctx: LoweringContext) -> Value:
    """theta `[N, axes, axes + 1]` times the homogeneous coordinates of every cell, last axis first."""
    theta, sizes = ctx.input(0), ctx.constant_ints(1)[2:]
    count = len(sizes)
    if count not in (2, 3) or theta.shape[1:] != (count, count + 1):
        raise LoweringError(
            f"has a theta {list(theta.shape)} for {count} spatial sizes",
            "It is [N, 2, 3] for two and [N, 3, 4] for three.",
            "Export the model again.",
        )
    lines = [_cell_coordinates(size, bool(ctx.int("align_corners"))) for size in sizes]
    cells = np.stack([*reversed(np.meshgrid(*lines, indexing="ij")), np.ones(sizes)], axis=-1)
    base = ctx.build.constant(cells.reshape(1, prod(sizes), count + 1).astype(np.float32))
    if theta.shape[0] > 1:
        base = ctx.build.constant(np.repeat(base.constant(), theta.shape[0], axis=0))
    grid = ctx.build.op("batch_matmul", [base, theta], BatchMatMulAttributes(adj_y=True))
    return ctx.build.reshape(grid, [theta.shape[0], *sizes, count])


def _cell_coordinates(size: int, align: bool) -> np.ndarray:
    if align:
        return np.linspace(-1.0, 1.0, size)
    return (2 * np.arange(size) + 1) / size - 1
