"""Pools of one to three spatial dimensions (three: see window3d.py), and global pools.

MaxPool      pads repeat the edge: a window that touches a pad holds the edge cell already, so its
             maximum stays. Unlike a pad with the lowest float, this keeps calibrated ranges as they are.
AveragePool  sum / count; where counts differ: average_pool_2d(pad(x)) * (k_h * k_w) / count
LpPool       (sum |x|^p)^(1/p), the sum as a depthwise convolution with ones
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from math import prod

import numpy as np

from edgec.frontends.onnx.context import LoweringContext, LoweringError
from edgec.frontends.onnx.lowerings.convolution import convolve, zeros
from edgec.frontends.onnx.lowerings.padding import (
    UNIT,
    Window,
    axis_windows,
    from_nhwc,
    inside_taps,
    pad_or_crop,
    padded,
    refuse_empty,
    spatial_rank,
    to_nhwc,
)
from edgec.frontends.onnx.lowerings.pool_indices import max_pool_with_indices
from edgec.frontends.onnx.lowerings.window3d import slide
from edgec.frontends.onnx.registry import lowers
from edgec.ir import DYNAMIC, DType, Value
from edgec.ops import Builder, Padding
from edgec.ops.movement import ConcatenationAttributes
from edgec.ops.pool import Pool2DAttributes
from edgec.ops.reduce import ReducerAttributes
from edgec.ops.slicing import GatherAttributes


@lowers("MaxPool", dynamic=True)
def max_pool(ctx: LoweringContext) -> Value | Sequence[Value]:
    """Maximum over each window; cells in pads never win. Indices, where asked for, cost a gather."""
    if ctx.wants_output(1):
        if not ctx.input(0).type.is_static:
            raise LoweringError(
                "asks for the Indices output", "They need known sizes.", "Pin the dimensions."
            )
        return max_pool_with_indices(ctx, _axis_windows(ctx))
    windows, data, rank = _windowed(ctx)
    data = ctx.cast(data, DType.FLOAT32)  # exact for the 8-bit integers ONNX allows
    y = slide(ctx.build, data, windows, _maximum)
    return from_nhwc(ctx, ctx.cast(y, ctx.input(0).dtype), rank)


def _maximum(build: Builder, data: Value, windows: tuple[Window, Window]) -> Value:
    data, windows = _without_dilation(build, data, windows)
    if not all(window.is_same for window in windows) and not all(window.is_valid for window in windows):
        data, windows = _edges_repeated(build, data, windows)
    return _pool(build, "max_pool_2d", data, windows)


@lowers("AveragePool", dynamic=True)
def average_pool(ctx: LoweringContext) -> Value:
    """Mean over each window; pads count only with count_include_pad."""
    windows, data, rank = _windowed(ctx)
    average = partial(_average, include_pads=bool(ctx.int("count_include_pad")))
    return from_nhwc(ctx, slide(ctx.build, data, windows, average), rank)


def _average(build: Builder, data: Value, windows: tuple[Window, Window], *, include_pads: bool) -> Value:
    factors = _kernel_to_count(windows, include_pads)
    if any(window.dilation > 1 for window in windows):
        y = _window_sum(build, data, windows, 1 / prod(window.kernel for window in windows))
    elif _covers_everything(windows):
        y = _reduce(build, "mean", data, [1, 2])
    elif all(w.is_same for w in windows) and not include_pads:
        return _pool(build, "average_pool_2d", data, windows)
    else:
        # Pads become data even where SAME fits: average_pool_2d's SAME leaves them out of the count.
        data = pad_or_crop(build, data, [(0, 0), *((w.low, w.after) for w in windows), (0, 0)])
        y = _pool(build, "average_pool_2d", data, [_settled(window) for window in windows])
    return y if (factors == 1).all() else build.op("mul", [y, build.constant(factors.astype(np.float32))])


@lowers("LpPool", dynamic=True)
def lp_pool(ctx: LoweringContext) -> Value:
    """p-norm of each window."""
    windows, data, rank = _windowed(ctx)
    p = ctx.int("p", 2)
    summed = slide(ctx.build, _power(ctx.build, data, p), windows, partial(_window_sum, weight=1.0))
    return from_nhwc(ctx, _root(ctx.build, summed, p), rank)


@lowers("GlobalAveragePool", dynamic=True)
def global_average_pool(ctx: LoweringContext) -> Value:
    """Mean over all spatial axes."""
    return _global(ctx, "mean")


@lowers("GlobalMaxPool", dynamic=True)
def global_max_pool(ctx: LoweringContext) -> Value:
    """Maximum over all spatial axes."""
    return _global(ctx, "reduce_max")


@lowers("GlobalLpPool", dynamic=True)
def global_lp_pool(ctx: LoweringContext) -> Value:
    """p-norm over all spatial axes."""
    p = ctx.int("p", 2)
    data = _power(ctx.build, ctx.to_channels_last(ctx.input(0)), p)
    summed = _reduce(ctx.build, "sum", data, range(1, data.type.rank - 1))
    return ctx.to_channels_first(_root(ctx.build, summed, p))


def _global(ctx: LoweringContext, kind: str) -> Value:
    data = ctx.to_channels_last(ctx.input(0))
    return ctx.to_channels_first(_reduce(ctx.build, kind, data, range(1, data.type.rank - 1)))


def _reduce(build: Builder, kind: str, x: Value, axes: Sequence[int]) -> Value:
    return build.op(kind, [x, build.constant(list(axes))], ReducerAttributes(keep_dims=True))


def _windowed(ctx: LoweringContext) -> tuple[list[Window], Value, int]:
    """Return the node's windows (two or three), its input channels-last and its spatial dimensions."""
    windows = _axis_windows(ctx)
    rank = len(windows)
    return [UNIT, *windows] if rank == 1 else windows, to_nhwc(ctx, ctx.input(0)), rank


def _axis_windows(ctx: LoweringContext) -> list[Window]:
    x, kernel = ctx.input(0), ctx.ints("kernel_shape")
    spatial_rank(x)
    if kernel is None:
        raise LoweringError("attribute 'kernel_shape' is missing", "", "Export the model again.")
    return axis_windows(ctx, x.shape[2:], kernel, ceil=bool(ctx.int("ceil_mode")))


def _pool(build: Builder, kind: str, x: Value, windows: Sequence[Window]) -> Value:
    height, width = windows
    valid = all(window.is_valid for window in windows)
    attributes = Pool2DAttributes(
        padding=Padding.VALID if valid else Padding.SAME,
        stride_w=width.stride,
        stride_h=height.stride,
        filter_width=width.kernel,
        filter_height=height.kernel,
    )
    return build.op(kind, [x], attributes)


def _settled(window: Window) -> Window:
    """Return the window once its pads are part of the data: VALID with the same steps."""
    size = DYNAMIC if window.size == DYNAMIC else window.size + window.low + window.after
    return Window(size, window.kernel, window.stride, window.dilation, output=window.output)


def _covers_everything(windows: Sequence[Window]) -> bool:
    return all(w.is_valid and w.output == 1 and w.kernel == w.size for w in windows)


def _kernel_to_count(windows: Sequence[Window], include_pads: bool) -> np.ndarray:
    """Return `kernel size / counted cells` as `[1, O_h, O_w, 1]`; ceil_mode's overhang never counts."""
    factors: list[np.ndarray] = []
    for window in windows:
        if window.size == DYNAMIC and (include_pads or window.is_valid):
            factors.append(np.ones(1))  # VALID: every window lies inside
            continue
        low, high = (window.low, window.high) if include_pads else (0, 0)
        taps = window.taps()
        counted = ((taps >= -low) & (taps < window.size + high)).sum(axis=1)
        refuse_empty(counted)
        factors.append(window.kernel / counted)
    return (factors[0][:, None] * factors[1])[None, :, :, None]


def _window_sum(build: Builder, x: Value, windows: Sequence[Window], weight: float) -> Value:
    channels = x.shape[3]
    kernel = np.full((1, windows[0].kernel, windows[1].kernel, channels), weight, np.float32)
    data, padding = padded(build, x, windows)
    weights = build.constant(kernel, name=f"{build.source}/window")
    return convolve(build, data, weights, zeros(build, channels), windows, padding, depthwise=True)


def _without_dilation(
    build: Builder, x: Value, windows: tuple[Window, Window]
) -> tuple[Value, tuple[Window, Window]]:
    """Gather each dilated window's taps side by side: they become windows of stride `kernel`."""
    result: list[Window] = []
    for axis, window in enumerate(windows, start=1):
        if window.dilation > 1:
            taps = inside_taps(window)
            indices = build.constant(taps.reshape(-1).astype(np.int32))
            x = build.op("gather", [x, indices], GatherAttributes(axis=axis))
            window = Window(taps.size, window.kernel, window.kernel, output=window.output)
        result.append(window)
    return x, (result[0], result[1])


def _edges_repeated(
    build: Builder, x: Value, windows: tuple[Window, Window]
) -> tuple[Value, tuple[Window, Window]]:
    """Put copies of the first and last row and column where the windows have pads."""
    for axis, window in enumerate(windows, start=1):
        inside_taps(window)
        x = _edge_padded(build, x, axis, window.low, window.after)
    return x, (_settled(windows[0]), _settled(windows[1]))


def _edge_padded(build: Builder, x: Value, axis: int, low: int, high: int) -> Value:
    def part(start: int, stop: int) -> Value:
        begin, size = [0] * x.type.rank, list(x.shape)
        begin[axis], size[axis] = start, stop - start
        return build.op("slice", [x, build.constant(begin), build.constant(size)])

    last = x.shape[axis]
    first_kept, end_kept = max(-low, 0), last - max(-high, 0)
    middle = x if (first_kept, end_kept) == (0, last) else part(first_kept, end_kept)
    before = [part(0, 1)] * low if low > 0 else []
    after = [part(last - 1, last)] * high if high > 0 else []
    pieces = [*before, middle, *after]
    return middle if len(pieces) == 1 else build.op("concatenation", pieces, ConcatenationAttributes(axis))


def _power(build: Builder, x: Value, p: int) -> Value:
    if p == 2:
        return build.op("mul", [x, x])
    x = build.op("abs", [x])
    return x if p == 1 else build.op("pow", [x, build.constant(float(p))])


def _root(build: Builder, x: Value, p: int) -> Value:
    if p == 2:
        return build.op("sqrt", [x])
    return x if p == 1 else build.op("pow", [x, build.constant(1 / p)])
