"""Operators that rearrange, join, cut or repeat data and compute nothing."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from edgec.frontends.onnx.axes import axes_setting, checked_axis, int_setting
from edgec.frontends.onnx.context import LoweringContext, LoweringError
from edgec.frontends.onnx.registry import lowers
from edgec.ir import DType, Value
from edgec.ops import Builder
from edgec.ops.movement import ConcatenationAttributes, SplitAttributes, StridedSliceAttributes

_LARGEST_SPLIT = 4
"""XNNPACK splits into at most four parts; it takes any number of slices."""


@lowers("Reshape")
def reshape(ctx: LoweringContext) -> Value:
    """The same elements in order under new dimensions: 0 keeps the input's, -1 takes what is left."""
    x, wanted = ctx.input(0), ctx.constant_ints(1)
    keeps = not ctx.int("allowzero")
    dims = [_kept(x, axis) if dim == 0 and keeps else dim for axis, dim in enumerate(wanted)]
    known = prod(dim for dim in dims if dim != -1)
    if -1 in dims and known:
        dims[dims.index(-1)] = x.type.size // known
    if any(dim < 0 for dim in dims) or prod(dims) != x.type.size:
        raise LoweringError(
            f"cannot turn {list(x.shape)} into {wanted}",
            f"The input has {x.type.size} elements.",
            "Correct the shape operand, or the input shape if it was pinned.",
        )
    return ctx.build.reshape(x, dims)


def _kept(x: Value, axis: int) -> int:
    if axis >= x.type.rank:
        raise LoweringError(
            f"copies dimension {axis} of an input with {x.type.rank} axes",
            "A 0 in the shape stands for the input's dimension at the same place.",
            "Correct the shape operand.",
        )
    return x.shape[axis]


@lowers("Flatten")
def flatten(ctx: LoweringContext) -> Value:
    """Two dimensions: those before `axis` as one, the rest as one."""
    x, axis = ctx.input(0), ctx.int("axis", 1)
    axis = axis if axis == x.type.rank else checked_axis(axis, x.type.rank)
    return ctx.build.reshape(x, [prod(x.shape[:axis]), prod(x.shape[axis:])])


@lowers("Squeeze")
def squeeze(ctx: LoweringContext) -> Value:
    """Reshape without the named dimensions of size 1, or without all of them."""
    x = ctx.input(0)
    axes = axes_setting(ctx, 1, x.type.rank)
    if axes is None:
        axes = [axis for axis, dim in enumerate(x.shape) if dim == 1]
    wide = [axis for axis in axes if x.shape[axis] != 1]
    if wide:
        raise LoweringError(
            f"drops axis {wide[0]} of {list(x.shape)}",
            f"Its size is {x.shape[wide[0]]}, and only axes of size 1 can go.",
            "Correct the axes.",
        )
    return ctx.build.reshape(x, [dim for axis, dim in enumerate(x.shape) if axis not in axes])


@lowers("Unsqueeze")
def unsqueeze(ctx: LoweringContext) -> Value:
    """Reshape with dimensions of size 1 at the named places of the result."""
    x = ctx.input(0)
    rank = x.type.rank + len(int_setting(ctx, "axes", 1) or [])
    added = axes_setting(ctx, 1, rank) or []
    dims = iter(x.shape)
    return ctx.build.reshape(x, [1 if axis in added else next(dims) for axis in range(rank)])


@lowers("Transpose")
def transpose(ctx: LoweringContext) -> Value:
    """Axes in another order, reversed where none is given."""
    x = ctx.input(0)
    permutation = ctx.ints("perm")
    if permutation is None:
        permutation = list(range(x.type.rank))[::-1]
    return ctx.build.transpose(x, permutation)


@lowers("Concat")
def concat(ctx: LoweringContext) -> Value:
    """Operands one behind the other along an axis; empty ones add nothing."""
    values = [ctx.input(index) for index in range(len(ctx.inputs))]
    axis = checked_axis(ctx.int("axis"), values[0].type.rank)
    return concatenated(ctx.build, [v for v in values if v.type.size] or values[:1], axis)


def concatenated(build: Builder, values: Sequence[Value], axis: int) -> Value:
    """Return values joined along an axis; a single one is returned itself."""
    if len(values) == 1:
        return values[0]
    return build.op("concatenation", values, ConcatenationAttributes(axis))


@lowers("Split")
def split(ctx: LoweringContext) -> list[Value]:
    """Parts along an axis: up to four equal ones by split, others as slices."""
    x = ctx.input(0)
    axis = checked_axis(ctx.int("axis"), x.type.rank)
    sizes = _part_sizes(ctx, x.shape[axis])
    if len(sizes) == 1:
        return [x]
    if len(set(sizes)) == 1 and len(sizes) <= _LARGEST_SPLIT and x.dtype is not DType.BOOL:
        operands = [ctx.build.constant(axis), x]
        return list(ctx.build.node("split", operands, SplitAttributes(len(sizes))).results)
    starts = np.cumsum([0, *sizes[:-1]]).tolist()
    return [sliced(ctx.build, x, axis, start, size) for start, size in zip(starts, sizes, strict=True)]


def _part_sizes(ctx: LoweringContext, total: int) -> list[int]:
    """Return the given sizes, or equal ones of which the last may be smaller (opset 18 on)."""
    sizes = int_setting(ctx, "split", 1)
    if sizes is None:
        count = ctx.int("num_outputs", len(ctx.node.output))
        part = -(-total // count)
        sizes = [part] * (count - 1) + [total - part * (count - 1)]
    if sum(sizes) != total or min(sizes, default=0) < 0 or len(sizes) < ctx.output_count:
        raise LoweringError(
            f"splits {total} into {sizes} for {ctx.output_count} results",
            "The sizes have to add up to the dimension, one for each result.",
            "Correct the split sizes, or the input shape if it was pinned.",
        )
    return sizes


def sliced(build: Builder, x: Value, axis: int, start: int, size: int) -> Value:
    """Return `size` entries along one axis; all of them is `x` itself."""
    starts = [start if a == axis else 0 for a in range(x.type.rank)]
    sizes = [size if a == axis else dim for a, dim in enumerate(x.shape)]
    return box(build, x, starts, sizes)


def box(build: Builder, x: Value, starts: Sequence[int], sizes: Sequence[int]) -> Value:
    """Return a box of `x` (explicit sizes: the only form that XNNPACK takes); all of it is `x` itself."""
    if tuple(sizes) == x.shape:
        return x
    return build.op("slice", [x, build.constant(list(starts)), build.constant(list(sizes))])


@lowers("Slice")
def slice_(ctx: LoweringContext) -> Value:
    """Every step-th entry of [start, end) along the named axes: slice for steps of 1, else strided_slice."""
    x = ctx.input(0)
    taken = [range(dim) for dim in x.shape]
    starts, ends = int_setting(ctx, "starts", 1) or [], int_setting(ctx, "ends", 2) or []
    axes = axes_setting(ctx, 3, x.type.rank)
    axes = list(range(len(starts))) if axes is None else axes
    steps = ctx.constant_ints(4) if ctx.optional_input(4) is not None else [1] * len(starts)
    if not len(starts) == len(ends) == len(axes) == len(steps) or 0 in steps:
        raise LoweringError(
            f"has starts {starts}, ends {ends}, axes {axes} and steps {steps}",
            "They need one entry for each axis, and no step can be 0.",
            "Correct the operands.",
        )
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        taken[checked_axis(axis, x.type.rank)] = range(x.shape[axis])[start:end:step]
    return _taken(ctx.build, x, taken)


def _taken(build: Builder, x: Value, taken: Sequence[range]) -> Value:
    sizes = [len(indices) for indices in taken]
    if 0 in sizes:
        return box(build, x, [0] * len(sizes), sizes)
    if all(indices.step == 1 or len(indices) == 1 for indices in taken):
        return box(build, x, [indices.start for indices in taken], sizes)
    # Going down to entry 0 has no end that is not negative: the mask says "to the border".
    down_to_border = sum(1 << axis for axis, indices in enumerate(taken) if indices.stop < 0)
    vectors = [[getattr(indices, part) for indices in taken] for part in ("start", "stop", "step")]
    operands = [x, *(build.constant(vector) for vector in vectors)]
    return build.op("strided_slice", operands, StridedSliceAttributes(end_mask=down_to_border))


@lowers("Expand")
def expand(ctx: LoweringContext) -> Value:
    """Dimensions of size 1 repeated to the broadcast of both shapes."""
    x, wanted = ctx.input(0), ctx.constant_ints(1)
    try:
        shape = np.broadcast_shapes(x.shape, tuple(wanted))
    except ValueError:
        raise LoweringError(
            f"expands {list(x.shape)} to {wanted}",
            "Only dimensions of size 1 can be repeated.",
            "Correct the shape operand, or the input shape if it was pinned.",
        ) from None
    return expanded(ctx.build, x, shape)


def expanded(build: Builder, x: Value, shape: Sequence[int]) -> Value:
    """Return `x` repeated to a shape it broadcasts to; only new dimensions of size 1 are a reshape."""
    padded = build.reshape(x, [1] * (len(shape) - x.type.rank) + list(x.shape))
    if padded.shape == tuple(shape):
        return padded
    return build.op("broadcast_to", [padded, build.constant(list(shape))])


@lowers("Tile")
def tile(ctx: LoweringContext) -> Value:
    """Copies of the whole tensor along each axis."""
    x, repeats = ctx.input(0), ctx.constant_ints(1)
    if len(repeats) != x.type.rank:
        raise LoweringError(
            f"has repeats {repeats} for {x.type.rank} axes", "It needs one for each.", "Correct the operand."
        )
    return tiled(ctx.build, x, repeats)


def tiled(build: Builder, x: Value, repeats: Sequence[int]) -> Value:
    """Return copies of `x` side by side along each axis; one copy is `x` itself."""
    if all(count == 1 for count in repeats):
        return x
    return build.op("tile", [x, build.constant(list(repeats))])
