"""Resize and Upsample: along every axis y = M @ x for a constant matrix M, or y = x[indices].

Coordinates are computed in float32 and in the source's order of operations, because a nearest neighbour is
decided by rounding. TFLite's own kernels are used only where their indices or weights are the node's:

    nearest          resize_nearest_neighbor where every index is equal, else gather
    linear           resize_bilinear where every weight is equal, else matrices
    cubic, antialias matrices
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from math import floor, prod

import numpy as np
import numpy.typing as npt

from edgec.frontends.onnx.axes import checked_axis
from edgec.frontends.onnx.context import LoweringContext, LoweringError
from edgec.frontends.onnx.lowerings import resize_at_run_time as at_run_time
from edgec.frontends.onnx.lowerings.matmul import fully_connected
from edgec.frontends.onnx.lowerings.resize_at_run_time import Settings
from edgec.frontends.onnx.registry import lowers
from edgec.ir import DYNAMIC, Attributes, Value
from edgec.ops import Builder
from edgec.ops.matmul import BatchMatMulAttributes
from edgec.ops.resize import ResizeBilinearAttributes, ResizeNearestNeighborAttributes
from edgec.ops.slicing import GatherAttributes

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class _Axis:
    """One resized axis: `x_source = coordinate(x_result)`."""

    axis: int
    size: int
    output: int
    scale: float
    roi: tuple[float, float] = (0.0, 1.0)


@lowers("Upsample", dynamic=True)
def upsample(ctx: LoweringContext) -> Value:
    """Resample at x / scale, nearest to the left or linear."""
    settings = Settings(_mode(ctx), "asymmetric", "simple")
    scales = ctx.floats("scales")
    if scales is None:
        if _sizes_are_open(ctx, 1):
            return _resize_at_run_time(ctx, settings, scales=1)
        scales = ctx.constant(1).reshape(-1).tolist()
    return _resize(ctx, _by_scales(ctx.input(0), scales, range(len(scales))), settings)


@lowers("Resize", dynamic=True)
def resize_opset_10(ctx: LoweringContext) -> Value:
    """Resample at x / scale, nearest (to the left when growing, to the right when shrinking) or linear."""
    settings = Settings(_mode(ctx), "asymmetric", "simple")
    if _sizes_are_open(ctx, 1):
        return _resize_at_run_time(ctx, settings, scales=1)
    scales = ctx.constant(1).reshape(-1).tolist()
    return _resize(ctx, _by_scales(ctx.input(0), scales, range(len(scales))), settings)


@lowers("Resize", since=11, dynamic=True)
def resize(ctx: LoweringContext) -> Value:
    """Resample to scales or sizes, in the coordinates that the node names."""
    settings = Settings(
        _mode(ctx),
        ctx.string("coordinate_transformation_mode", "half_pixel"),
        ctx.string("nearest_mode", "round_prefer_floor"),
        ctx.float("cubic_coeff_a", -0.75),
        bool(ctx.int("exclude_outside")),
        bool(ctx.int("antialias")),
        ctx.float("extrapolation_value"),
    )
    if _sizes_are_open(ctx, 1, 2, 3):
        return _resize_at_run_time(ctx, settings, roi=1, scales=2, sizes=3)
    return _resize(ctx, _read_axes(ctx, settings), settings)


def _sizes_are_open(ctx: LoweringContext, *indices: int) -> bool:
    """Whether only the run time knows what the node is told, or more of its input's shape than the batch."""
    given = [ctx.optional_input(index) for index in indices]
    computed = any(value is not None and value.data is None and value.shape != (0,) for value in given)
    return computed or DYNAMIC in ctx.input(0).shape[1:]


def _resize_at_run_time(
    ctx: LoweringContext, settings: Settings, *, scales: int, sizes: int | None = None, roi: int | None = None
) -> Value:
    x = ctx.input(0)
    numbers = [checked_axis(axis, x.type.rank) for axis in ctx.ints("axes") or range(x.type.rank)]
    by = [None if i is None or not _is_given(ctx, i) else ctx.input(i) for i in (scales, sizes, roi)]
    if (by[0] is None) == (by[1] is None):
        raise LoweringError("needs either scales or sizes", "It gives both or neither.", "Export again.")
    for value in by[:2]:
        if value is not None:
            _check_count(x, value.shape[0] if value.type.rank == 1 else 0, numbers)
    if by[0] is not None:
        if settings.coordinates == "align_corners" and by[0].data is None:
            raise LoweringError(
                "aligns corners by scales that are computed at run time",
                "Implementations differ where a scaled size is no whole number, and nothing says that it is.",
                "Give sizes instead of scales, or constant scales.",
            )
        axes = at_run_time.by_scales(ctx, by[0], numbers)
    else:
        policy = ctx.string("keep_aspect_ratio_policy", "stretch")
        axes = at_run_time.by_sizes(ctx, ctx.input(sizes or 0), numbers, policy)
    if settings.coordinates == "tf_crop_and_resize":
        if by[2] is None or by[2].shape != (2 * len(axes),):
            raise LoweringError("crops without a roi that fits", "It needs a start and an end for each axis.")
        axes = at_run_time.with_roi(ctx, axes, by[2])
    return at_run_time.resample(ctx, axes, settings)


def _is_given(ctx: LoweringContext, index: int) -> bool:
    value = ctx.optional_input(index)
    return value is not None and value.shape != (0,)


def _mode(ctx: LoweringContext) -> str:
    mode = {"bilinear": "linear"}.get(ctx.string("mode", "nearest"), ctx.string("mode", "nearest"))
    if mode not in ("nearest", "linear", "cubic"):
        raise LoweringError(
            f"mode '{mode}' is unknown", "ONNX defines nearest, linear, cubic.", "Export again."
        )
    return mode


def _read_axes(ctx: LoweringContext, settings: Settings) -> list[_Axis]:
    x = ctx.input(0)
    numbers = [axis % x.type.rank for axis in ctx.ints("axes") or range(x.type.rank)]
    scales, sizes, roi = _given(ctx, 2), _given(ctx, 3), _given(ctx, 1)
    if scales is not None and sizes is None:
        axes = _by_scales(x, scales, numbers)
    elif sizes is not None and scales is None:
        policy = ctx.string("keep_aspect_ratio_policy", "stretch")
        axes = _by_sizes(x, [int(size) for size in sizes], numbers, policy)
    else:
        raise LoweringError("needs either scales or sizes", "It gives both or neither.", "Export again.")
    if settings.coordinates != "tf_crop_and_resize":
        return axes
    if roi is None or len(roi) != 2 * len(axes):
        raise LoweringError("crops without a roi that fits", "It needs a start and an end for each axis.")
    return [replace(a, roi=(roi[i], roi[i + len(axes)])) for i, a in enumerate(axes)]


def _given(ctx: LoweringContext, index: int) -> list[float] | None:
    """Return an optional operand's numbers; an empty tensor means absent (opset 11 had no other way)."""
    data = ctx.constant(index) if _is_given(ctx, index) else None
    return None if data is None else [float(item) for item in data.reshape(-1)]


def _by_scales(x: Value, scales: Sequence[float], numbers: Sequence[int]) -> list[_Axis]:
    _check_count(x, len(scales), numbers)
    return [
        _Axis(n, x.shape[n], int(np.floor(np.float32(scale) * np.float32(x.shape[n]))), scale)
        for n, scale in zip(numbers, scales, strict=True)
    ]


def _by_sizes(x: Value, sizes: Sequence[int], numbers: Sequence[int], policy: str) -> list[_Axis]:
    _check_count(x, len(sizes), numbers)
    scales = [size / x.shape[n] for n, size in zip(numbers, sizes, strict=True)]
    if policy == "stretch":
        return [_Axis(n, x.shape[n], o, s) for n, o, s in zip(numbers, sizes, scales, strict=True)]
    scale = min(scales) if policy == "not_larger" else max(scales)
    return [_Axis(n, x.shape[n], floor(scale * x.shape[n] + 0.5), scale) for n in numbers]


def _check_count(x: Value, count: int, numbers: Sequence[int]) -> None:
    if count != len(numbers) or max(numbers, default=0) >= x.type.rank:
        raise LoweringError(
            f"{count} scales or sizes do not fit input {list(x.shape)}", "One an axis is due."
        )


def _resize(ctx: LoweringContext, axes: Sequence[_Axis], settings: Settings) -> Value:
    x = ctx.input(0)
    # An axis of scale 1 stays as it is, even where tf_crop_and_resize gives it a roi: so does onnxruntime.
    axes = [axis for axis in axes if axis.output != axis.size or axis.scale != 1.0]
    if DYNAMIC in x.shape[1:] or any(axis.size == DYNAMIC for axis in axes):
        raise LoweringError(
            f"resizes {x.type}",
            "Weights and indices follow from the size of an axis; only the batch may be known at run time.",
            "Pin the other dimensions with --input-shape.",
        )
    if any(axis.output < 1 for axis in axes):
        raise LoweringError(f"shrinks {list(x.shape)} to nothing", "A size would be 0.", "Use larger scales.")
    if not axes:
        return x
    if x.type.rank < 3 or any(axis.axis < 2 for axis in axes):
        return _resample(ctx.build, x, axes, settings)
    moved = [replace(axis, axis=axis.axis - 1) for axis in axes]
    return ctx.to_channels_first(_resample(ctx.build, ctx.to_channels_last(x), moved, settings))


def _resample(build: Builder, x: Value, axes: Sequence[_Axis], settings: Settings) -> Value:
    if settings.mode != "nearest" and not x.dtype.is_float:
        raise LoweringError(
            f"interpolates {x.dtype}",
            "Results between integers would have to be rounded.",
            "Cast to float32.",
        )
    maps = {axis.axis: _coordinates(axis, settings.coordinates) for axis in axes}
    if settings.mode == "nearest":
        y = _nearest(build, x, {a.axis: _indices(a, maps[a.axis], settings.nearest) for a in axes})
    else:
        y = _weighted(build, x, {a.axis: _matrix(a, maps[a.axis], settings) for a in axes})
    if settings.coordinates != "tf_crop_and_resize":
        return y
    return _extrapolated(
        build, y, {a.axis: _is_inside(a, maps[a.axis]) for a in axes}, settings.extrapolation
    )


def _coordinates(axis: _Axis, mode: str) -> Floats:
    """Return the source coordinate of every result position, in float32."""
    x, scale = np.arange(axis.output, dtype=np.float32), np.float32(axis.scale)
    half = np.float32(0.5)
    if mode == "half_pixel" or (mode == "pytorch_half_pixel" and axis.output > 1):
        return (x + half) / scale - half
    if mode == "pytorch_half_pixel" or (mode == "align_corners" and axis.output == 1):
        return np.zeros_like(x)
    if mode == "asymmetric":
        return x / scale
    if mode == "align_corners":
        _refuse_ambiguous_length(axis)
        return x * np.float32(axis.size - 1) / np.float32(axis.output - 1)
    if mode == "tf_half_pixel_for_nn":
        return (x + half) / scale
    if mode == "half_pixel_symmetric":
        adjustment = np.float32(axis.output) / (scale * np.float32(axis.size))
        offset = np.float32(axis.size / 2) * (1 - adjustment)
        return offset + (x + half) / scale - half
    if mode == "tf_crop_and_resize":
        return _cropped(axis, x)
    raise LoweringError(f"coordinate_transformation_mode '{mode}' is unknown", "", "Export again.")


def _cropped(axis: _Axis, x: Floats) -> Floats:
    start, end, last = np.float32(axis.roi[0]), np.float32(axis.roi[1]), np.float32(axis.size - 1)
    if axis.output == 1:
        return np.full_like(x, np.float32(0.5) * (start + end) * last)
    return start * last + x * (end - start) * last / np.float32(axis.output - 1)


def _indices(axis: _Axis, coordinates: Floats, mode: str) -> Ints:
    if mode == "simple":
        mode = "ceil" if axis.scale < 1 else "floor"
    rounding: dict[str, Callable[[Floats], Floats]] = {
        "floor": np.floor,
        "ceil": np.ceil,
        "round_prefer_floor": lambda x: np.ceil(_tied(x) - np.float32(0.5)),
        "round_prefer_ceil": lambda x: np.floor(_tied(x) + np.float32(0.5)),
    }
    if mode not in rounding:
        raise LoweringError(f"nearest_mode '{mode}' is unknown", "", "Export again.")
    return np.clip(rounding[mode](coordinates), 0, axis.size - 1).astype(np.int64)


def _tied(x: Floats) -> Floats:
    """Return x with what lies within 1e-6 of a half moved onto it: onnxruntime takes those for ties."""
    half = np.floor(x) + np.float32(0.5)
    return np.where(np.abs(x - half) < 1e-6, half, x)


def _matrix(axis: _Axis, coordinates: Floats, settings: Settings) -> Floats:
    """Return `[output, size]` weights: a filter around each coordinate, widened when antialiasing.

    Taps outside the axis repeat its edge, or are dropped under exclude_outside; rows sum to 1, unless no
    tap is left (such a result is extrapolated).
    """
    widening = max(1.0 / axis.scale, 1.0) if settings.antialias else 1.0
    support = (2 if settings.mode == "cubic" else 1) * widening
    centres = coordinates.astype(np.float64)[:, None]
    taps = np.arange(floor(centres.min() - support), floor(centres.max() + support) + 2)
    weights = _filter((taps - centres) / widening, settings)
    inside = (taps >= 0) & (taps < axis.size)
    if settings.exclude_outside:
        weights[:, ~inside] = 0.0
    folded = np.zeros((axis.output, axis.size))
    np.add.at(folded.T, np.clip(taps, 0, axis.size - 1), weights.T)
    total = folded.sum(axis=1, keepdims=True)
    return (folded / np.where(total == 0, 1, total)).astype(np.float32)


def _filter(distance: npt.NDArray[np.float64], settings: Settings) -> npt.NDArray[np.float64]:
    """Return the triangle, or Keys' cubic with coefficient a."""
    x, a = np.abs(distance), settings.cubic
    if settings.mode == "linear":
        return np.maximum(1 - x, 0)
    near = ((a + 2) * x - (a + 3)) * x**2 + 1
    far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return np.where(x <= 1, near, np.where(x < 2, far, 0.0))


def _nearest(build: Builder, x: Value, indices: dict[int, Ints]) -> Value:
    for flags in ((False, False), (False, True), (True, False)):
        if _native_fits(x, indices):
            same = (
                np.array_equal(i, _native_indices(x.shape[a], i.size, *flags)) for a, i in indices.items()
            )
            if all(same):
                attributes = ResizeNearestNeighborAttributes(*flags)
                sizes = {axis: i.size for axis, i in indices.items()}
                return _native(build, "resize_nearest_neighbor", x, sizes, attributes)
    for axis, taken in indices.items():
        operand = build.constant(taken.astype(np.int32))
        x = build.op("gather", [x, operand], GatherAttributes(axis=axis))
    return x


def _refuse_ambiguous_length(axis: _Axis) -> None:
    """The specification divides by size · scale - 1, onnxruntime by its floor: a whole length is both."""
    if abs(axis.scale * axis.size - axis.output) > axis.size * 2.0**-20:
        length = f"{axis.size} pixels {axis.scale * axis.size:g} long"
        raise LoweringError(
            f"align_corners with scale {axis.scale:g} makes {length}",
            "The specification and onnxruntime disagree on what that means.",
            "Export with sizes in place of scales.",
        )


def _native_indices(size: int, output: int, align_corners: bool, half_pixel_centers: bool) -> Ints:
    """Return what resize_nearest_neighbor reads, in its own float32 arithmetic."""
    aligned = align_corners and output > 1
    scale = (
        np.float32(size - 1) / np.float32(output - 1) if aligned else np.float32(size) / np.float32(output)
    )
    offset = np.float32(0.5 if half_pixel_centers else 0.0)
    at = (np.arange(output, dtype=np.float32) + offset) * scale
    rounded = np.floor(at + np.float32(0.5)) if align_corners else np.floor(at)
    return np.clip(rounded, 0, size - 1).astype(np.int64)


def _weighted(build: Builder, x: Value, matrices: dict[int, Floats]) -> Value:
    for flags in ((False, False), (False, True), (True, False)):
        if _native_fits(x, matrices):
            same = (_is_native(matrix, *flags) for matrix in matrices.values())
            if all(same):
                sizes = {axis: matrix.shape[0] for axis, matrix in matrices.items()}
                return _native(build, "resize_bilinear", x, sizes, ResizeBilinearAttributes(*flags))
    # The axis that shrinks most goes first: the others then have less to do.
    for axis, matrix in sorted(matrices.items(), key=lambda item: item[1].shape[0] / item[1].shape[1]):
        x = _multiplied(build, x, axis, matrix)
    return x


def _is_native(matrix: Floats, align_corners: bool, half_pixel_centers: bool) -> bool:
    """Whether resize_bilinear weighs the same; both compute coordinates in float32, hence the tolerance."""
    output, size = matrix.shape
    mode = "align_corners" if align_corners else "half_pixel" if half_pixel_centers else "asymmetric"
    axis = _Axis(0, size, output, output / size)
    native = _matrix(axis, _coordinates(axis, mode), Settings("linear"))
    return np.allclose(matrix, native, rtol=0, atol=max(size, output) * 2.0**-22)


def _native_fits(x: Value, axes: Collection[int]) -> bool:
    """Whether x is channels-last data and only its spatial axes change."""
    return x.type.rank in (3, 4) and all(0 < axis < x.type.rank - 1 for axis in axes)


def _native(build: Builder, kind: str, x: Value, sizes: dict[int, int], attributes: Attributes) -> Value:
    spatial = [sizes.get(axis, x.shape[axis]) for axis in range(1, x.type.rank - 1)]
    if x.type.rank == 3:
        lifted = build.reshape(x, [x.shape[0], 1, *x.shape[1:]])
        y = build.op(kind, [lifted, build.constant([1, *spatial])], attributes)
        return build.reshape(y, [x.shape[0], *spatial, x.shape[2]])
    return build.op(kind, [x, build.constant(spatial)], attributes)


def _multiplied(build: Builder, x: Value, axis: int, matrix: Floats) -> Value:
    """Return matrix @ x along one axis, without moving axes: [before, size, after]."""
    shape = [*x.shape[:axis], matrix.shape[0], *x.shape[axis + 1 :]]
    before, after = prod(x.shape[:axis]), prod(x.shape[axis + 1 :])
    if after == 1:
        y = fully_connected(build, build.reshape(x, [before, matrix.shape[1]]), build.constant(matrix), None)
        return build.reshape(y, shape)
    rows = build.reshape(x, [before, matrix.shape[1], after])
    y = build.op("batch_matmul", [build.constant(matrix[None]), rows], BatchMatMulAttributes())
    return build.reshape(y, shape)


def _is_inside(axis: _Axis, coordinates: Floats) -> npt.NDArray[np.bool_]:
    return (coordinates >= 0) & (coordinates <= axis.size - 1)


def _extrapolated(build: Builder, x: Value, inside: dict[int, npt.NDArray[np.bool_]], value: float) -> Value:
    """Put `value` wherever a coordinate lies outside the input on any axis."""
    mask = np.ones([1] * x.type.rank, np.bool_)
    for axis, flags in inside.items():
        mask = mask & flags.reshape([-1 if a == axis else 1 for a in range(x.type.rank)])
    if mask.all():
        return x
    kept = build.op("mul", [x, build.constant(mask.astype(x.dtype.numpy))])
    filled = np.where(mask, 0, value).astype(x.dtype.numpy)
    return build.op("add", [kept, build.constant(filled)]) if filled.any() else kept
