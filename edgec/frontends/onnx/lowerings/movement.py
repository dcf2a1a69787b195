"""Operators that rearrange, join, cut or repeat data and compute nothing."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from edgec.frontends.onnx.axes import axes_setting, checked_axis, int_setting
from edgec.frontends.onnx.context import LoweringContext, LoweringError
from edgec.frontends.onnx.registry import lowers
from edgec.frontends.onnx.sizes import (
    INT32_MAX,
    INT32_MIN,
    Size,
    as_value,
    dim,
    entry,
    int32,
    joined,
    length,
    named,
    packed,
    placed,
    reshaped,
    shape_of,
)
from edgec.ir import DYNAMIC, DType, Value
from edgec.ops import Builder
from edgec.ops.movement import ConcatenationAttributes, ReshapeAttributes
from edgec.ops.reduce import CumsumAttributes
from edgec.ops.slicing import TO_THE_END, GatherAttributes, SplitAttributes, StridedSliceAttributes

_FEW = 16
"""Vectors of at most this many entries may be shapes."""

_LARGEST_SPLIT = 4
"""XNNPACK splits into at most four parts; it takes any number of slices."""


@lowers("Reshape", dynamic=True)
def reshape(ctx: LoweringContext) -> Value:
    """The same elements in order under new dimensions: 0 keeps the input's, -1 takes what is left."""
    x, keeps = ctx.input(0), not ctx.int("allowzero")
    length(ctx, 1)
    wanted = ctx.entries(ctx.input(1))
    dims = [_kept(x, axis) if dim == 0 and keeps else dim for axis, dim in enumerate(wanted)]
    dims = [DYNAMIC if dim is None else dim for dim in dims]
    if dims.count(DYNAMIC) > 1 or (0 in dims and DYNAMIC in dims):
        return ctx.build.op("reshape", [x, _resolved(ctx, x, keeps)], ReshapeAttributes(tuple(dims)))
    known = prod(dim for dim in dims if dim != DYNAMIC)
    fits = not x.type.is_static or (x.type.size % known == 0 if DYNAMIC in dims else x.type.size == known)
    if min(dims, default=0) < DYNAMIC or not fits:
        raise LoweringError(
            f"cannot turn {list(x.shape)} into {wanted}",
            f"The input has {x.type.size} elements." if x.type.is_static else f"The input is {x.type}.",
            "Correct the shape operand, or the input shape if it was pinned.",
        )
    if x.type.is_static and DYNAMIC in dims:
        dims[dims.index(DYNAMIC)] = x.type.size // known
    return ctx.build.reshape(x, dims)


def _kept(x: Value, axis: int) -> int:
    if axis >= x.type.rank:
        raise LoweringError(
            f"copies dimension {axis} of an input with {x.type.rank} axes",
            "A 0 in the shape stands for the input's dimension at the same place.",
            "Correct the shape operand.",
        )
    return x.shape[axis]


def _resolved(ctx: LoweringContext, x: Value, keeps: bool) -> Value:
    """Return the shape operand as int32, with the input's dimensions in place of 0."""
    build = ctx.build
    shape = int32(build, ctx.input(1))
    if not keeps or 0 not in [entry or 0 for entry in ctx.entries(ctx.input(1))]:
        return shape
    own, missing = shape_of(build, x), max(shape.shape[0] - x.type.rank, 0)
    own = joined(build, [own, build.constant(np.zeros(missing, np.int32))]) if missing else own
    if own.shape != shape.shape:
        own = box(build, own, [0], [shape.shape[0]])
    is_zero = build.op("equal", [shape, build.constant(np.asarray(0, np.int32))])
    return build.op("select_v2", [is_zero, own, shape])


@lowers("Flatten", dynamic=True)
def flatten(ctx: LoweringContext) -> Value:
    """Two dimensions: those before `axis` as one, the rest as one."""
    x, axis = ctx.input(0), ctx.int("axis", 1)
    axis = axis if axis == x.type.rank else checked_axis(axis, x.type.rank)
    parts = (x.shape[:axis], x.shape[axis:])
    if all(DYNAMIC in part for part in parts):
        front = dim(ctx.build, x, 0)
        for index in range(1, axis):
            operands = [as_value(ctx.build, front), as_value(ctx.build, dim(ctx.build, x, index))]
            front = ctx.build.op("mul", operands)
        return reshaped(ctx.build, x, [front, DYNAMIC])
    return ctx.build.reshape(x, [DYNAMIC if DYNAMIC in part else prod(part) for part in parts])


@lowers("Squeeze", dynamic=True)
def squeeze(ctx: LoweringContext) -> Value:
    """Reshape without the named dimensions of size 1, or without all of them."""
    x, given = ctx.input(0), ctx.optional_input(1)
    if given is not None and given.data is None:
        return _squeezed_at_run_time(ctx, x, int32(ctx.build, given))
    axes = axes_setting(ctx, 1, x.type.rank)
    if axes is None:
        if DYNAMIC in x.shape:
            raise LoweringError(
                f"drops every axis of size 1 of {x.type}",
                "How many there are is known at run time only.",
                "Name the axes.",
            )
        axes = [axis for axis, size in enumerate(x.shape) if size == 1]
    wide = [axis for axis in axes if x.shape[axis] not in (1, DYNAMIC)]
    if wide:
        raise LoweringError(
            f"drops axis {wide[0]} of {list(x.shape)}",
            f"Its size is {x.shape[wide[0]]}, and only axes of size 1 can go.",
            "Correct the axes.",
        )
    kept = [axis for axis in range(x.type.rank) if axis not in axes]
    return _regrouped(ctx, x, [dim(ctx.build, x, axis) for axis in kept])


def _regrouped(ctx: LoweringContext, x: Value, sizes: Sequence[Size]) -> Value:
    """Return x under other axes of size 1, and keep what is known of its entries."""
    result = reshaped(ctx.build, x, sizes)
    if x.dtype.is_integer and x.type.is_static and x.type.size <= _FEW:
        ctx.note_entries(result, ctx.entries(x))
    return result


def _squeezed_at_run_time(ctx: LoweringContext, x: Value, axes: Value) -> Value:
    """Reshape to the dimensions whose axes are not named."""
    build, rank = ctx.build, x.type.rank
    stays = build.op("logical_not", [named(build, axes, rank)])
    places = build.reshape(build.op("where", [stays]), [rank - length(ctx, 1)])
    shape = build.op("gather", [shape_of(build, x), places], GatherAttributes(0))
    return build.op("reshape", [x, shape])


@lowers("Unsqueeze", dynamic=True)
def unsqueeze(ctx: LoweringContext) -> Value:
    """Reshape with dimensions of size 1 at the named places of the result."""
    x, given = ctx.input(0), ctx.optional_input(1)
    if given is not None and given.data is None:
        return _unsqueezed_at_run_time(ctx, x, int32(ctx.build, given))
    rank = x.type.rank + len(int_setting(ctx, "axes", 1) or [])
    added = axes_setting(ctx, 1, rank) or []
    dims = iter(range(x.type.rank))
    return _regrouped(ctx, x, [1 if axis in added else dim(ctx.build, x, next(dims)) for axis in range(rank)])


def _unsqueezed_at_run_time(ctx: LoweringContext, x: Value, axes: Value) -> Value:
    """Reshape to 1 where an axis is named, else to the input's next dimension: counted by a running sum."""
    build, rank = ctx.build, x.type.rank + length(ctx, 1)
    new = named(build, axes, rank)
    old = ctx.cast(build.op("logical_not", [new]), DType.INT32)
    place = build.op("cumsum", [old, build.constant(0)], CumsumAttributes(exclusive=True))
    last = build.constant(np.asarray(max(x.type.rank - 1, 0), np.int32))
    own = joined(build, [shape_of(build, x)]) if x.type.rank else build.constant([1])
    dims = build.op("gather", [own, build.op("minimum", [place, last])], GatherAttributes(0))
    shape = build.op("select_v2", [new, build.constant(np.asarray(1, np.int32)), dims])
    return build.op("reshape", [x, shape])


@lowers("Transpose", dynamic=True)
def transpose(ctx: LoweringContext) -> Value:
    """Axes in another order, reversed where none is given."""
    x = ctx.input(0)
    permutation = ctx.ints("perm")
    if permutation is None:
        permutation = list(range(x.type.rank))[::-1]
    return ctx.build.transpose(x, permutation)


@lowers("Concat", dynamic=True)
def concat(ctx: LoweringContext) -> Value:
    """Operands one behind the other along an axis; empty ones add nothing."""
    values = [ctx.input(index) for index in range(len(ctx.inputs))]
    axis = checked_axis(ctx.int("axis"), values[0].type.rank)
    result = concatenated(ctx.build, [v for v in values if 0 not in v.shape] or values[:1], axis)
    if result.data is None and result.type.rank == 1 and result.dtype.is_integer and result.type.is_static:
        ctx.note_entries(result, [entry for value in values for entry in ctx.entries(value)])
    return result


def concatenated(build: Builder, values: Sequence[Value], axis: int) -> Value:
    """Return values joined along an axis; a single one is returned itself."""
    if len(values) == 1:
        return values[0]
    return build.op("concatenation", values, ConcatenationAttributes(axis))


@lowers("Split", dynamic=True)
def split(ctx: LoweringContext) -> list[Value]:
    """Parts along an axis: up to four equal ones by split, others as slices."""
    x, given = ctx.input(0), ctx.optional_input(1)
    axis = checked_axis(ctx.int("axis"), x.type.rank)
    if given is not None and given.data is None:
        return _split_at_run_time(ctx, x, axis, int32(ctx.build, given))
    if x.shape[axis] == DYNAMIC and int_setting(ctx, "split", 1) is None:
        raise LoweringError(
            f"splits axis {axis} of {x.type} into equal parts",
            "Their size is known at run time only.",
            "Give the sizes, or pin the dimension.",
        )
    sizes = _part_sizes(ctx, x.shape[axis])
    if len(sizes) == 1:
        return [x]
    if len(set(sizes)) == 1 and len(sizes) <= _LARGEST_SPLIT and x.dtype is not DType.BOOL:
        operands = [ctx.build.constant(axis), x]
        return list(ctx.build.node("split", operands, SplitAttributes(len(sizes))).results)
    starts = np.cumsum([0, *sizes[:-1]]).tolist()
    return [sliced(ctx.build, x, axis, start, size) for start, size in zip(starts, sizes, strict=True)]


def _split_at_run_time(ctx: LoweringContext, x: Value, axis: int, sizes: Value) -> list[Value]:
    """Slices that begin at the running sum of the sizes."""
    build, count = ctx.build, length(ctx, 1)
    starts = build.op("cumsum", [sizes, build.constant(0)], CumsumAttributes(exclusive=True))
    parts: list[Value] = []
    for index in range(count):
        begin, size = ([fill] * x.type.rank for fill in (0, TO_THE_END))
        vectors = [
            packed(build, [entry(build, of, index) if a == axis else n for a, n in enumerate(others)])
            for of, others in ((starts, begin), (sizes, size))
        ]
        parts.append(build.op("slice", [x, *vectors]))
    return parts


def _part_sizes(ctx: LoweringContext, total: int) -> list[int]:
    """Return the given sizes, or equal ones of which the last may be smaller (opset 18 on)."""
    sizes = int_setting(ctx, "split", 1)
    if sizes is None:
        count = ctx.int("num_outputs", len(ctx.node.output))
        part = -(-total // count)
        sizes = [part] * (count - 1) + [total - part * (count - 1)]
    if total not in (sum(sizes), DYNAMIC) or min(sizes, default=0) < 0 or len(sizes) < ctx.output_count:
        raise LoweringError(
            f"splits {total} into {sizes} for {ctx.output_count} results",
            "The sizes have to add up to the dimension, one for each result.",
            "Correct the split sizes, or the input shape if it was pinned.",
        )
    return sizes


def sliced(build: Builder, x: Value, axis: int, start: int, size: int) -> Value:
    """Return `size` entries along one axis; all of them is `x` itself."""
    starts = [start if a == axis else 0 for a in range(x.type.rank)]
    sizes = [size if a == axis else dim for a, dim in enumerate(x.shape)]  # DYNAMIC means: to the end
    return box(build, x, starts, sizes)


def box(build: Builder, x: Value, starts: Sequence[int], sizes: Sequence[int]) -> Value:
    """Return a box of `x` (explicit sizes: the only form that XNNPACK takes); all of it is `x` itself."""
    if tuple(sizes) == x.shape and not any(starts):
        return x
    return build.op("slice", [x, build.constant(list(starts)), build.constant(list(sizes))])


@lowers("Slice", dynamic=True)
def slice_(ctx: LoweringContext) -> Value:
    """Every step-th entry of [start, end) along the named axes: slice for steps of 1, else strided_slice."""
    x = ctx.input(0)
    operands = [ctx.optional_input(index) for index in range(1, 5)]
    if any(value is not None and value.data is None for value in operands):
        return _sliced_at_run_time(ctx, x)
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
    axes = [checked_axis(axis, x.type.rank) for axis in axes]
    if any(x.shape[axis] == DYNAMIC for axis in axes):
        return _strided(ctx.build, x, axes, starts, ends, steps)
    taken = [range(dim) for dim in x.shape]
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        # ONNX clamps a start to 0 where Python has nothing
        first = max(start, -x.shape[axis]) if step < 0 else start
        taken[axis] = range(x.shape[axis])[first:end:step]
    if DYNAMIC in x.shape:
        # Nothing is taken from the axes of unknown size: the ranges of the others hold no border.
        ends = [taken[axis].stop if taken[axis].stop >= 0 else INT32_MIN for axis in axes]
        return _strided(ctx.build, x, axes, [taken[axis].start for axis in axes], ends, steps)
    result = _taken(ctx.build, x, taken)
    if x.type.rank == 1 and x.data is None and x.dtype.is_integer:
        ctx.note_entries(result, [ctx.entries(x)[index] for index in taken[0]])
    return result


def _strided(
    build: Builder,
    x: Value,
    axes: Sequence[int],
    starts: Sequence[int],
    ends: Sequence[int],
    steps: Sequence[int],
) -> Value:
    """A strided_slice along axes, of which some have an unknown size; the kernel knows ONNX's bounds."""
    whole = sum(1 << axis for axis in range(x.type.rank) if axis not in axes)
    vectors: list[Value] = []
    for given, default in ((starts, 0), (ends, 0), (steps, 1)):
        vector = [default] * x.type.rank
        for axis, number in zip(axes, given, strict=True):
            vector[axis] = min(max(number, INT32_MIN), INT32_MAX)
        vectors.append(build.constant(vector))
    return build.op("strided_slice", [x, *vectors], StridedSliceAttributes(whole, whole))


def _sliced_at_run_time(ctx: LoweringContext, x: Value) -> Value:
    """A strided_slice with bounds that the run time computes, put in the places of their axes."""
    build, rank, count = ctx.build, x.type.rank, length(ctx, 1)
    axes, steps = ctx.optional_input(3), ctx.optional_input(4)
    axes = None if axes is None else int32(build, axes)
    vectors: list[Value] = []
    for index, default in ((1, 0), (2, INT32_MAX)):
        others = build.constant(np.full(rank, default, np.int32))
        vectors.append(placed(build, int32(build, ctx.input(index)), axes, others))
    ones = build.constant(np.ones(count, np.int32))
    steps = ones if steps is None else int32(build, steps)
    vectors.append(placed(build, steps, axes, build.constant(np.ones(rank, np.int32))))
    whole = 0
    if axes is None or axes.data is not None:
        used = range(count) if axes is None else [checked_axis(int(axis), rank) for axis in axes.constant()]
        whole = sum(1 << axis for axis in range(rank) if axis not in used)
    return build.op("strided_slice", [x, *vectors], StridedSliceAttributes(whole, whole))


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


@lowers("Expand", dynamic=True)
def expand(ctx: LoweringContext) -> Value:
    """Dimensions of size 1 repeated to the broadcast of both shapes."""
    x = ctx.input(0)
    if ctx.input(1).data is None or not x.type.is_static:
        length(ctx, 1)
        shapes = [shape_of(ctx.build, x), int32(ctx.build, ctx.input(1))]
        if not x.type.rank:
            return ctx.build.op("broadcast_to", [x, shapes[1]])
        return ctx.build.op("broadcast_to", [x, ctx.build.op("broadcast_args", shapes)])
    wanted = ctx.constant_ints(1)
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


@lowers("Tile", dynamic=True)
def tile(ctx: LoweringContext) -> Value:
    """Copies of the whole tensor along each axis."""
    x = ctx.input(0)
    if ctx.input(1).data is None:
        return ctx.build.op("tile", [x, int32(ctx.build, ctx.input(1))])
    repeats = ctx.constant_ints(1)
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
