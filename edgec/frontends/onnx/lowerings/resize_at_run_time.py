"""Resize whose sizes only the run time knows: the coordinates of resize.py, computed in the graph.

    nearest          y = x[round(c)]                          one gather an axis
    linear and more  y = M @ x,  M = filter(taps - c) @ F     one product an axis

`F` folds the weights of taps outside of the axis onto its edge (or drops them), so the size of the input has
to be known for it; that of the result does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from edgec.frontends.onnx.context import LoweringContext, LoweringError
from edgec.frontends.onnx.sizes import as_value, dim, entry, int32
from edgec.ir import DYNAMIC, DType, Value
from edgec.ops import Builder
from edgec.ops.elementwise import CastAttributes
from edgec.ops.matmul import BatchMatMulAttributes
from edgec.ops.reduce import ReducerAttributes
from edgec.ops.slicing import GatherAttributes

_NEAR = 5
"""Taps on either side of the axis that a filter without antialiasing may reach."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How values are read at coordinates; names and meaning are ONNX's, `simple` is that of opset 10."""

    mode: str = "nearest"
    coordinates: str = "half_pixel"
    nearest: str = "round_prefer_floor"
    cubic: float = -0.75
    exclude_outside: bool = False
    antialias: bool = False
    extrapolation: float = 0.0


@dataclass(frozen=True)
class Math:
    """Float32 arithmetic on values and numbers."""

    build: Builder

    def op(self, kind: str, *operands: Value | float) -> Value:
        """Insert a node; numbers become float32 scalars."""
        given = [x if isinstance(x, Value) else self.build.constant(float(x)) for x in operands]
        return self.build.op(kind, given)

    def cast(self, x: Value, dtype: DType) -> Value:
        """Return x as another element type."""
        return x if x.dtype is dtype else self.build.op("cast", [x], CastAttributes(x.dtype, dtype))


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis: its number, size and result size as float32 scalars, scale and region of interest."""

    number: int
    size: Value
    output: Value
    scale: Value
    roi: tuple[Value, Value] | None = None


def by_scales(ctx: LoweringContext, scales: Value, numbers: Sequence[int]) -> list[Axis]:
    """Return axes whose result sizes are floor(size * scale)."""
    math, x = Math(ctx.build), ctx.input(0)
    axes: list[Axis] = []
    for index, number in enumerate(numbers):
        size, scale = _size(math, x, number), entry(ctx.build, scales, index)
        if scale.data is not None and scale.data == 1:
            continue  # stays as it is
        axes.append(Axis(number, size, math.op("floor", math.op("mul", size, scale)), scale))
    return axes


def by_sizes(ctx: LoweringContext, sizes: Value, numbers: Sequence[int], policy: str) -> list[Axis]:
    """Return axes with given result sizes; a policy keeps the ratio of sizes as one of them demands."""
    math, x = Math(ctx.build), ctx.input(0)
    wanted = int32(ctx.build, sizes)
    outputs = [math.cast(entry(ctx.build, wanted, i), DType.FLOAT32) for i in range(len(numbers))]
    own = [_size(math, x, number) for number in numbers]
    scales = [math.op("div", output, size) for output, size in zip(outputs, own, strict=True)]
    if policy != "stretch":
        common = scales[0]
        for scale in scales[1:]:
            common = math.op("minimum" if policy == "not_larger" else "maximum", common, scale)
        scales = [common] * len(scales)
        outputs = [math.op("floor", math.op("add", math.op("mul", common, size), 0.5)) for size in own]
    return [Axis(*parts) for parts in zip(numbers, own, outputs, scales, strict=True)]


def with_roi(ctx: LoweringContext, axes: Sequence[Axis], roi: Value) -> list[Axis]:
    """Return axes with their region: all starts come first, then all ends."""
    ends = [entry(ctx.build, roi, index) for index in range(2 * len(axes))]
    return [replace(axis, roi=(ends[i], ends[i + len(axes)])) for i, axis in enumerate(axes)]


def _size(math: Math, x: Value, number: int) -> Value:
    return math.cast(as_value(math.build, dim(math.build, x, number)), DType.FLOAT32)


def resample(ctx: LoweringContext, axes: Sequence[Axis], settings: Settings) -> Value:
    """Return the input resampled along axes."""
    math, x = Math(ctx.build), ctx.input(0)
    if settings.mode != "nearest" and (not x.type.is_static or x.dtype is not DType.FLOAT32):
        raise LoweringError(
            f"interpolates {x.type} to sizes that are computed at run time",
            "Its weights need float32 data of a known shape.",
            "Pin the dimensions of the inputs (--input-shape), or use mode nearest.",
        )
    y: Value = x
    inside: Value | None = None
    for axis in axes:
        c = _coordinates(math, axis, settings.coordinates)
        if settings.mode == "nearest":
            y = math.build.op(
                "gather", [y, _nearest(math, axis, c, settings.nearest)], GatherAttributes(axis.number)
            )
        else:
            y = _multiplied(
                math.build, y, axis.number, _matrix(math, axis, x.shape[axis.number], c, settings)
            )
        if settings.coordinates == "tf_crop_and_resize":
            inside = _inside(math, axis, c, x.type.rank, inside)
    if inside is None:
        return y
    value = math.build.constant(np.asarray(settings.extrapolation, x.dtype.numpy))
    return math.build.op("select_v2", [inside, y, value])


def _coordinates(math: Math, axis: Axis, mode: str) -> Value:
    """Return the source coordinate of every result position, see resize.py."""
    count = math.cast(axis.output, DType.INT32)
    zero, one = (math.build.constant(np.asarray(n, np.int32)) for n in (0, 1))
    x = math.cast(math.build.op("range", [zero, count, one]), DType.FLOAT32)
    last = math.op("sub", axis.size, 1)
    steps = math.op("maximum", math.op("sub", axis.output, 1), 1)
    half = math.op("div", math.op("add", x, 0.5), axis.scale)
    if mode == "half_pixel":
        return math.op("sub", half, 0.5)
    if mode == "pytorch_half_pixel":
        several = math.cast(math.op("greater", axis.output, 1), DType.FLOAT32)
        return math.op("mul", math.op("sub", half, 0.5), several)
    if mode == "asymmetric":
        return math.op("div", x, axis.scale)
    if mode == "align_corners":
        return math.op("div", math.op("mul", x, last), steps)
    if mode == "tf_half_pixel_for_nn":
        return half
    if mode == "half_pixel_symmetric":
        adjustment = math.op("div", axis.output, math.op("mul", axis.scale, axis.size))
        offset = math.op("mul", math.op("mul", axis.size, 0.5), math.op("sub", 1, adjustment))
        return math.op("sub", math.op("add", offset, half), 0.5)
    if mode == "tf_crop_and_resize" and axis.roi is not None:
        return _cropped(math, axis, x, last, steps)
    raise LoweringError(f"coordinate_transformation_mode '{mode}' is unknown", "", "Export again.")


def _cropped(math: Math, axis: Axis, x: Value, last: Value, steps: Value) -> Value:
    """An axis of scale 1 stays as it is, whatever its region: so does onnxruntime."""
    assert axis.roi is not None
    start, end = axis.roi
    step = math.op("div", math.op("mul", math.op("sub", end, start), last), steps)
    several = math.op("add", math.op("mul", start, last), math.op("mul", x, step))
    middle = math.op("mul", math.op("mul", math.op("add", start, end), 0.5), last)
    cropped = math.op("select_v2", math.op("greater", axis.output, 1), several, middle)
    kept = math.op("logical_and", math.op("equal", axis.scale, 1), math.op("equal", axis.output, axis.size))
    return math.op("select_v2", kept, x, cropped)


def _nearest(math: Math, axis: Axis, c: Value, mode: str) -> Value:
    half = math.op("add", math.op("floor", c), 0.5)
    is_tie = math.op("less", math.op("abs", math.op("sub", c, half)), 1e-6)
    tied = math.op("select_v2", is_tie, half, c)
    if mode == "simple":
        shrinks = math.op("less", axis.scale, 1)
        place = math.op("select_v2", shrinks, math.op("ceil", c), math.op("floor", c))
    elif mode in ("floor", "ceil"):
        place = math.op(mode, c)
    elif mode == "round_prefer_floor":
        place = math.op("ceil", math.op("sub", tied, 0.5))
    else:
        place = math.op("floor", math.op("add", tied, 0.5))
    place = math.op("minimum", math.op("maximum", place, 0), math.op("sub", axis.size, 1))
    return math.cast(place, DType.INT32)


def _matrix(math: Math, axis: Axis, size: int, c: Value, settings: Settings) -> Value:
    """Return `[output, size]` weights whose rows sum to 1."""
    beyond = 2 * size + _NEAR if settings.antialias else _NEAR
    taps = np.arange(-beyond, size + beyond, dtype=np.float32)
    c = math.op("minimum", math.op("maximum", c, -2), size + 1)  # beyond, values are extrapolated anyway
    distance = math.op("sub", math.build.constant(taps[None]), math.build.reshape(c, [DYNAMIC, 1]))
    if settings.antialias:
        distance = math.op("mul", distance, math.op("minimum", axis.scale, 1))
    weights = _filter(math, math.op("abs", distance), settings)
    fold = np.zeros((taps.size, size), np.float32)
    inside = (taps >= 0) & (taps < size)
    fold[np.arange(taps.size), np.clip(taps, 0, size - 1).astype(int)] = 1
    if settings.exclude_outside:
        fold[~inside] = 0
    folded = math.build.op("batch_matmul", [weights, math.build.constant(fold)], BatchMatMulAttributes())
    total = math.build.op("sum", [folded, math.build.constant([1])], ReducerAttributes(keep_dims=True))
    nothing = math.op("equal", total, 0)
    return math.op("div", folded, math.op("select_v2", nothing, 1, total))


def _filter(math: Math, x: Value, settings: Settings) -> Value:
    """Return the triangle, or Keys' cubic with coefficient a, of distances."""
    if settings.mode == "linear":
        return math.op("maximum", math.op("sub", 1, x), 0)
    a = settings.cubic
    square = math.op("mul", x, x)
    near = math.op("add", math.op("mul", math.op("sub", math.op("mul", x, a + 2), a + 3), square), 1)
    inner = math.op("add", math.op("mul", math.op("sub", math.op("mul", x, a), 5 * a), x), 8 * a)
    far = math.op("sub", math.op("mul", inner, x), 4 * a)
    outer = math.op("select_v2", math.op("less", x, 2), far, 0)
    return math.op("select_v2", math.op("less_equal", x, 1), near, outer)


def _multiplied(build: Builder, x: Value, number: int, matrix: Value) -> Value:
    """Return matrix @ x along one axis, which is moved next to the last for it."""
    rank = x.type.rank
    if rank == 1:
        product = build.op("batch_matmul", [matrix, build.reshape(x, [*x.shape, 1])], BatchMatMulAttributes())
        return build.reshape(product, [DYNAMIC])
    others = [axis for axis in range(rank) if axis != number]
    order = [*others[:-1], number, others[-1]]
    spread = build.reshape(matrix, [*[1] * (rank - 2), DYNAMIC, matrix.shape[1]])
    product = build.op("batch_matmul", [spread, build.transpose(x, order)], BatchMatMulAttributes())
    return build.transpose(product, np.argsort(order).tolist())


def _inside(math: Math, axis: Axis, c: Value, rank: int, others: Value | None) -> Value:
    last = math.op("sub", axis.size, 1)
    inside = math.op("logical_and", math.op("greater_equal", c, 0), math.op("less_equal", c, last))
    inside = math.build.reshape(inside, [DYNAMIC if a == axis.number else 1 for a in range(rank)])
    return inside if others is None else math.op("logical_and", others, inside)
