"""Pooling of regions of interest: RoiAlign and MaxRoiPool.

Both read, for every region, rows of cells for each of its output rows and columns of cells for each of its
output columns, and pool over them:

    picked [R, O_h, k_h, O_w, k_w, C] → mean or max over k_h and k_w
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgec.frontends.onnx.context import LoweringContext, LoweringError
from edgec.frontends.onnx.lowerings.movement import concatenated, sliced
from edgec.frontends.onnx.lowerings.taps import Taps, clamped, linear_taps, read_rows, to_float, weights_of
from edgec.frontends.onnx.registry import lowers
from edgec.ir import Array, DType, Value
from edgec.ops import Builder
from edgec.ops.reduce import ReducerAttributes
from edgec.ops.slicing import GatherAttributes

Cells = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class _Regions:
    """Corners `[R, 4]` (x, y, x, y) in the image's cells, and the image of each region (`[R]`, int32)."""

    corners: Value
    images: Value


@dataclass(frozen=True, slots=True)
class _Group:
    """Regions whose bins have the same number of points along (height, width)."""

    members: Sequence[int]
    samples: tuple[int, int]


@lowers("RoiAlign", since=10)
def roi_align(ctx: LoweringContext) -> Value:
    """Mean or maximum of points inside of each bin, interpolated between the four cells around them."""
    x, build = ctx.input(0), ctx.build
    default = "half_pixel" if ctx.opset >= 16 else "output_half_pixel"
    aligned = ctx.string("coordinate_transformation_mode", default) == "half_pixel"
    corners = build.op("mul", [ctx.input(1), build.constant(ctx.float("spatial_scale", 1.0))])
    corners = build.op("sub", [corners, build.constant(0.5)]) if aligned else corners
    regions = _Regions(corners, ctx.cast(ctx.input(2), DType.INT32))
    bins = ctx.int("output_height", 1), ctx.int("output_width", 1)
    rows = build.reshape(ctx.to_channels_last(x), [x.shape[0] * x.shape[2] * x.shape[3], x.shape[1]])
    groups = _by_samples(ctx, bins, aligned)
    parts = [
        _aligned(ctx, rows, _chosen(build, regions, group.members), bins, group, aligned) for group in groups
    ]
    y = concatenated(build, parts, 0)
    order = np.argsort([member for group in groups for member in group.members]).astype(np.int32)
    if len(groups) > 1:
        y = build.op("gather", [y, build.constant(order)], GatherAttributes(axis=0))
    return ctx.to_channels_first(y)


def _by_samples(ctx: LoweringContext, bins: tuple[int, int], aligned: bool) -> list[_Group]:
    """Return the regions, grouped by how many points their bins have.

    sampling_ratio 0 means one point for each cell of a bin, which has to be known at compile time.
    """
    count, ratio = ctx.input(1).shape[0], ctx.int("sampling_ratio")
    if ratio > 0:
        return [_Group(list(range(count)), (ratio, ratio))]
    if ctx.input(1).data is None:
        raise LoweringError(
            "adapts the number of samples to regions computed at run time (sampling_ratio 0)",
            "Kernels compute a fixed number of points.",
            "Set sampling_ratio, for instance to 2, when exporting.",
        )
    corners = ctx.constant(1).astype(np.float32) * np.float32(ctx.float("spatial_scale", 1.0))
    extents = corners[:, [3, 2]] - corners[:, [1, 0]]
    extents = extents if aligned else np.maximum(extents, np.float32(1))
    samples = np.maximum(np.ceil(extents / np.array(bins, np.float32)), 0).astype(int)
    groups: dict[tuple[int, int], list[int]] = {}
    for region, (high, wide) in enumerate(samples.tolist()):
        groups.setdefault((high, wide), []).append(region)
    return [_Group(members, samples) for samples, members in groups.items()]


def _chosen(build: Builder, regions: _Regions, members: Sequence[int]) -> _Regions:
    if len(members) == regions.corners.shape[0]:
        return regions
    index = build.constant(np.array(members, np.int32))
    corners, images = (
        build.op("gather", [value, index], GatherAttributes(axis=0))
        for value in (regions.corners, regions.images)
    )
    return _Regions(corners, images)


def _aligned(
    ctx: LoweringContext, rows: Value, regions: _Regions, bins: tuple[int, int], group: _Group, aligned: bool
) -> Value:
    """Return `[R, O_h, O_w, C]` for regions whose bins have the same number of points."""
    build, count, channels = ctx.build, regions.corners.shape[0], rows.shape[1]
    if 0 in group.samples:
        return build.constant(np.zeros((count, *bins, channels), np.float32))
    sizes = ctx.input(0).shape[2:]
    axes = [
        _point_taps(build, regions, axis, (sizes[axis], bins[axis], group.samples[axis]), aligned)
        for axis in (0, 1)
    ]
    picked = read_rows(build, rows, axes, sizes, _first_rows(build, regions.images, sizes))
    weights = weights_of(build, axes)
    assert weights is not None
    picked = build.op("mul", [picked, weights])
    shape = (count, bins[0], 2 * group.samples[0], bins[1], 2 * group.samples[1], channels)
    if ctx.string("mode", "avg").lower() == "max":
        return _pooled(build, "reduce_max", picked, shape)
    points = group.samples[0] * group.samples[1]
    y = _pooled(build, "sum", picked, shape)
    return y if points == 1 else build.op("mul", [y, build.constant(1 / points)])


def _first_rows(build: Builder, images: Value, sizes: Sequence[int]) -> Value:
    first = build.op("mul", [images, build.constant(sizes[0] * sizes[1])])
    return build.reshape(first, [images.type.size, 1, 1])


def _point_taps(
    build: Builder, regions: _Regions, axis: int, settings: tuple[int, int, int], aligned: bool
) -> Taps:
    """Return the taps of all points along one axis, `[R, 1, bins * samples * 2]`."""
    size, bins, samples = settings
    count = regions.corners.shape[0]
    start, end = (sliced(build, regions.corners, 1, column, 1) for column in (1 - axis, 3 - axis))
    extent = build.op("sub", [end, start])
    if not aligned:  # regions without extent still have one cell
        extent = build.op("maximum", [extent, build.constant(1.0)])
    steps = (np.arange(bins * samples) + 0.5) / (bins * samples)
    along = build.op("mul", [extent, build.constant(steps.astype(np.float32)[None, :])])
    x = build.reshape(build.op("add", [along, start]), [count, bins * samples, 1])
    near = build.op("equal", [clamped(build, x, -1.0, float(size)), x])  # farther points count as 0
    taps = linear_taps(build, clamped(build, x, 0.0, size - 1.0))
    assert taps.weights is not None
    weights = build.op("mul", [taps.weights, to_float(build, near)])
    cells = build.op("minimum", [taps.cells, build.constant(size - 1.0)])
    row = [count, 1, bins * samples * 2]
    return Taps(build.reshape(cells, row), build.reshape(weights, row))


def _pooled(build: Builder, kind: str, picked: Value, shape: tuple[int, int, int, int, int, int]) -> Value:
    """Reduce `[R, O_h, k_h, O_w, k_w, C]`, given as any shape of that order, to `[R, O_h, O_w, C]`."""
    count, high, k_h, wide, k_w, channels = shape
    for x_shape in ([count * high, k_h, wide * k_w * channels], [count * high * wide, k_w, channels]):
        picked = build.reshape(picked, x_shape)
        if x_shape[1] > 1:
            picked = build.op(kind, [picked, build.constant([1])], ReducerAttributes(keep_dims=True))
    return build.reshape(picked, [count, high, wide, channels])


@lowers("MaxRoiPool")
def max_roi_pool(ctx: LoweringContext) -> Value:
    """Maximum over the cells of each bin; regions are (image, x, y, x, y), rounded, and known."""
    x, build = ctx.input(0), ctx.build
    regions = ctx.constant(1)
    sizes, bins = x.shape[2:], ctx.ints("pooled_shape") or []
    if len(bins) != 2 or len(sizes) != 2 or regions.ndim != 2 or regions.shape[1] != 5:
        raise LoweringError(
            f"pools {list(x.shape)} in regions {list(regions.shape)} to {bins}",
            "Images have two spatial axes, and a region is (image, x, y, x, y).",
            "Export the model again.",
        )
    corners = _rounded(regions[:, 1:].astype(np.float32) * np.float32(ctx.float("spatial_scale", 1.0)))
    (rows, full_rows), (columns, full_columns) = (
        _bin_cells(corners[:, 1 - axis], corners[:, 3 - axis], sizes[axis], bins[axis]) for axis in (0, 1)
    )
    first = regions[:, 0].astype(np.int64)[:, None, None] * (sizes[0] * sizes[1])
    count = len(regions)
    index = first + rows.reshape(count, -1, 1) * sizes[1] + columns.reshape(count, 1, -1)
    table = build.reshape(ctx.to_channels_last(x), [x.shape[0] * sizes[0] * sizes[1], x.shape[1]])
    picked = build.op(
        "gather", [table, build.constant(index.reshape(-1).astype(np.int32))], GatherAttributes(axis=0)
    )
    shape = (count, bins[0], rows.shape[2], bins[1], columns.shape[2], x.shape[1])
    y = _pooled(build, "reduce_max", picked, shape)
    full = (full_rows[:, :, None] & full_columns[:, None, :])[..., None]
    if not full.all():  # a bin without cells is 0
        y = build.op("mul", [y, build.constant(full.astype(np.float32))])
    return ctx.to_channels_first(y)


def _rounded(x: Array) -> Cells:
    """Round half away from zero, as C does."""
    return np.trunc(x + np.copysign(np.float32(0.5), x)).astype(np.int64)


def _bin_cells(start: Cells, end: Cells, size: int, bins: int) -> tuple[Cells, NDArray[np.bool_]]:
    """Return the cells of every bin, `[R, bins, most]` (the first one repeated), and where there are any."""
    extent = np.maximum(end - start + 1, 1).astype(np.float32)
    width = extent / np.float32(bins)
    low = np.floor(np.arange(bins, dtype=np.float32) * width[:, None]).astype(np.int64) + start[:, None]
    high = (
        np.ceil(np.arange(1, bins + 1, dtype=np.float32) * width[:, None]).astype(np.int64) + start[:, None]
    )
    low, high = np.clip(low, 0, size), np.clip(high, 0, size)
    most = max(int((high - low).max(initial=0)), 1)
    cells = low[..., None] + np.arange(most)
    cells = np.where(cells < high[..., None], cells, low[..., None])
    return np.clip(cells, 0, size - 1), high > low
