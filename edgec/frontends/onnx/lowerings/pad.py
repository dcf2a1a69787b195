"""Pad in all its modes: what is cut off first, then what is added, axis by axis where no kernel does it."""

from __future__ import annotations

import numpy as np

from edgec.frontends.onnx.axes import axes_setting, int_setting
from edgec.frontends.onnx.context import LoweringContext, LoweringError
from edgec.frontends.onnx.lowerings.movement import box, concatenated, sliced, tiled
from edgec.frontends.onnx.lowerings.pad_at_run_time import centred, pad_at_run_time, read_pads
from edgec.frontends.onnx.registry import lowers
from edgec.frontends.onnx.sizes import Size, entry, int32, length
from edgec.ir import Value
from edgec.ops import Builder
from edgec.ops.slicing import GatherAttributes

Pads = list[tuple[int, int]]
_KERNEL_RANK = 5
"""The builtin pad kernels stop here."""


@lowers("Pad", dynamic=True)
def pad(ctx: LoweringContext) -> Value:
    """Negative pads cut, then positive ones add: a constant, a mirror image, the border or the other end."""
    x, mode = ctx.input(0), ctx.string("mode", "constant")
    if mode not in ("constant", *_BY_MODE):
        raise LoweringError(
            f"has mode '{mode}'",
            "Known modes are constant, reflect, edge and wrap.",
            "Export with one of these.",
        )
    if any(_is_computed(ctx, index) for index in (1, 3)):
        return pad_at_run_time(ctx.build, x, read_pads(ctx, 1, 3), mode, _fill(ctx))
    if not x.type.is_static:
        pads = _pads(ctx, x.type.rank)
        kernel_fits = (
            mode == "constant" and min(map(min, pads), default=0) >= 0 and x.type.rank <= _KERNEL_RANK
        )
        if kernel_fits:
            return _with_constant(ctx.build, x, pads, _fill(ctx))
        return pad_at_run_time(ctx.build, x, pads, mode, _fill(ctx))
    pads = _pads(ctx, x.type.rank)
    x = _cut(ctx.build, x, pads)
    pads = _added(pads)
    if mode == "constant":
        return _with_constant(ctx.build, x, pads, _fill(ctx))
    if not any(map(any, pads)):
        return x
    if mode == "reflect" and all(
        max(0, *both) < max(dim, 1) for both, dim in zip(pads, x.shape, strict=True)
    ):
        return ctx.build.op("mirror_pad", [x, ctx.build.constant(np.asarray(pads, np.int32))])
    if 0 in x.shape:
        raise LoweringError(f"pads an empty tensor in mode '{mode}'", "There is nothing to repeat.")
    for axis, (low, high) in enumerate(pads):
        if low or high:
            x = _BY_MODE[mode](ctx.build, x, axis, low, high)
    return x


def _is_computed(ctx: LoweringContext, index: int) -> bool:
    value = ctx.optional_input(index)
    return value is not None and value.data is None


def _pads(ctx: LoweringContext, rank: int) -> Pads:
    """Return (low, high) of every axis; the operand lists all lows, then all highs."""
    values = int_setting(ctx, "pads", 1)
    axes = axes_setting(ctx, 3, rank)
    axes = list(range(rank)) if axes is None else axes
    if values is None or len(values) != 2 * len(axes):
        raise LoweringError(
            f"has pads {values} for {len(axes)} axes", "Each axis needs two.", "Correct the pads."
        )
    pads = [(0, 0)] * rank
    for axis, low, high in zip(axes, values, values[len(axes) :], strict=False):
        pads[axis] = (low, high)
    return pads


def _cut(build: Builder, x: Value, pads: Pads) -> Value:
    starts = [max(-low, 0) for low, _ in pads]
    sizes = [dim - start - max(-high, 0) for dim, start, (_, high) in zip(x.shape, starts, pads, strict=True)]
    if min(sizes, default=0) < 0:
        raise LoweringError(
            f"cuts more than the input {list(x.shape)} has",
            "Negative pads remove entries.",
            "Correct the pads, or the input shape if it was pinned.",
        )
    return box(build, x, starts, sizes)


def _added(pads: Pads) -> Pads:
    return [(max(low, 0), max(high, 0)) for low, high in pads]


def _fill(ctx: LoweringContext) -> Value | None:
    """Return the scalar to pad with, from operand or attribute; None for 0."""
    value = ctx.optional_input(2)
    if value is None and ctx.float("value"):
        value = ctx.build.constant(ctx.float("value"))
    if value is None or (value.data is not None and not np.any(value.data)):
        return None
    return ctx.build.reshape(value, ())


def _with_constant(build: Builder, x: Value, pads: Pads, value: Value | None) -> Value:
    """`pad` for 0, `padv2` for other values; axis after axis where there are more than kernels take."""
    if not any(map(any, pads)):
        return x
    if x.type.rank <= _KERNEL_RANK:
        return _padded(build, x, pads, value)
    for axis, around in enumerate(pads):
        if any(around):
            x = _padded_axis(build, x, axis, around, value)
    return x


def _padded(build: Builder, x: Value, pads: Pads, value: Value | None) -> Value:
    paddings = build.constant(np.asarray(pads, np.int32))
    return build.op("pad", [x, paddings]) if value is None else build.op("padv2", [x, paddings, value])


def _padded_axis(build: Builder, x: Value, axis: int, around: tuple[int, int], value: Value | None) -> Value:
    """Pad one axis of many, seen as [before, axis, behind]."""
    before, behind = int(np.prod(x.shape[:axis])), int(np.prod(x.shape[axis + 1 :]))
    view = build.reshape(x, [before, x.shape[axis], behind])
    padded = _padded(build, view, [(0, 0), around, (0, 0)], value)
    return build.reshape(padded, [*x.shape[:axis], padded.shape[1], *x.shape[axis + 1 :]])


def _reflected(build: Builder, x: Value, axis: int, low: int, high: int) -> Value:
    """Mirror images of mirror images, for which mirror_pad is too short: a gather of known entries."""
    entries = np.pad(np.arange(x.shape[axis], dtype=np.int32), (low, high), mode="reflect")
    return build.op("gather", [x, build.constant(entries)], GatherAttributes(axis))


def _extended(build: Builder, x: Value, axis: int, low: int, high: int) -> Value:
    """Copies of the first entry, the input, copies of the last entry."""

    def copies(entry: int, count: int) -> list[Value]:
        if count == 0:
            return []
        repeats = [count if a == axis else 1 for a in range(x.type.rank)]
        return [tiled(build, sliced(build, x, axis, entry, 1), repeats)]

    return concatenated(build, [*copies(0, low), x, *copies(x.shape[axis] - 1, high)], axis)


def _wrapped(build: Builder, x: Value, axis: int, low: int, high: int) -> Value:
    """The input's end, the input, the input's beginning; whole copies where the pad exceeds it."""
    size = x.shape[axis]
    parts = [x] * (low // size + 1 + high // size)
    if low % size:
        parts.insert(0, sliced(build, x, axis, size - low % size, low % size))
    if high % size:
        parts.append(sliced(build, x, axis, 0, high % size))
    return concatenated(build, parts, axis)


_BY_MODE = {"reflect": _reflected, "edge": _extended, "wrap": _wrapped}


@lowers("CenterCropPad")
def center_crop_pad(ctx: LoweringContext) -> Value:
    """Cut or pad each named axis to a size, as much in front as behind; of an odd count, less in front."""
    x = ctx.input(0)
    axes = axes_setting(ctx, 2, x.type.rank)
    axes = list(range(x.type.rank)) if axes is None else axes
    if _is_computed(ctx, 1):
        return _centred_at_run_time(ctx, axes)
    sizes = ctx.constant_ints(1)
    if len(sizes) != len(axes) or min(sizes, default=1) < 1:
        raise LoweringError(
            f"has sizes {sizes} for {len(axes)} axes", "Each axis needs a positive one.", "Correct the sizes."
        )
    pads = [(0, 0)] * x.type.rank
    for axis, size in zip(axes, sizes, strict=True):
        missing = size - x.shape[axis]
        low = missing // 2 if missing > 0 else -(-missing // 2)
        pads[axis] = (low, missing - low)
    return _with_constant(ctx.build, _cut(ctx.build, x, pads), _added(pads), None)


def _centred_at_run_time(ctx: LoweringContext, axes: list[int]) -> Value:
    x, build = ctx.input(0), ctx.build
    if length(ctx, 1) != len(axes):
        raise LoweringError(
            f"has {length(ctx, 1)} sizes for {len(axes)} axes", "Each axis needs one.", "Correct the sizes."
        )
    pads: list[tuple[Size, Size]] = [(0, 0)] * x.type.rank
    sizes = int32(build, ctx.input(1))
    for index, axis in enumerate(axes):
        pads[axis] = centred(build, x, axis, entry(build, sizes, index))
    return pad_at_run_time(build, x, pads, "constant", None)
