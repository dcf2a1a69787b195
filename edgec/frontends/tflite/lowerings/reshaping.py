"""Builtins that leave every element where it is: reshape, squeeze, expand_dims, unpack.

expand_dims, squeeze ─▶ reshape
unpack(x, axis)      ─▶ split along the axis, each part reshaped
"""

from __future__ import annotations

from edgec.frontends.tflite.context import Context, LoweringError
from edgec.frontends.tflite.registry import lowers
from edgec.frontends.tflite.structure import numbers
from edgec.ir import DYNAMIC, Value
from edgec.ops import op_spec
from edgec.ops.slicing import SplitAttributes


@lowers("RESHAPE")
def reshape(ctx: Context) -> list[Value] | None:
    """The new shape is operand 1, or in old files the option `new_shape`; one entry may be -1."""
    x, given = ctx.input(0), ctx.optional_input(1)
    if given is not None and given.data is not None:
        shape = [int(item) for item in given.data.reshape(-1)]
    elif given is None and ctx.options is not None:
        shape = numbers(ctx.options.newShape)
    else:
        return None
    if not x.type.is_static:
        return None
    return [ctx.reshape(x, _resolved(x, shape))]


def _resolved(x: Value, shape: list[int]) -> list[int]:
    known = 1
    for dim in shape:
        known *= dim if dim != DYNAMIC else 1
    if shape.count(DYNAMIC) == 1 and known and x.type.is_static and x.type.size % known == 0:
        return [x.type.size // known if dim == DYNAMIC else dim for dim in shape]
    if DYNAMIC in shape or not x.type.is_static or x.type.size != known:
        raise LoweringError(f"reshapes {list(x.shape)} to {shape}", "The number of elements differs.")
    return shape


@lowers("EXPAND_DIMS")
def expand_dims(ctx: Context) -> list[Value]:
    """A new axis of size 1 at `axis` of the result."""
    x = ctx.input(0)
    axis = _axis(ctx.ints(1, "axis")[0], x.type.rank + 1)
    return [ctx.reshape(x, [*x.shape[:axis], 1, *x.shape[axis:]])]


@lowers("SQUEEZE")
def squeeze(ctx: Context) -> list[Value]:
    """Drop the named axes of size 1, or all of them."""
    x = ctx.input(0)
    named = [_axis(axis, x.type.rank) for axis in numbers(ctx.options.squeezeDims if ctx.options else None)]
    dropped = named or [axis for axis, dim in enumerate(x.shape) if dim == 1]
    if any(x.shape[axis] != 1 for axis in dropped):
        raise LoweringError(f"squeezes axes {dropped} of {list(x.shape)}", "Only axes of size 1 can go.")
    return [ctx.reshape(x, [dim for axis, dim in enumerate(x.shape) if axis not in dropped])]


@lowers("UNPACK")
def unpack(ctx: Context) -> list[Value]:
    """One result for each entry along an axis, without that axis."""
    x = ctx.input(0)
    axis = _axis(ctx.option("axis"), x.type.rank)
    count = x.shape[axis]
    if count != len(ctx.results):
        raise LoweringError(f"has {len(ctx.results)} results for {count} entries", "The file is damaged.")
    shape = [*x.shape[:axis], *x.shape[axis + 1 :]]
    if count == 1:
        parts = [x]
    elif x.dtype in op_spec("split").support.litert:
        parts = ctx.move("split", [ctx.build.constant(axis), x], SplitAttributes(count))
    else:
        parts = [_entry(ctx, x, axis, index) for index in range(count)]
    return [ctx.reshape(part, shape) for part in parts]


def _entry(ctx: Context, x: Value, axis: int, index: int) -> Value:
    begin = [index if i == axis else 0 for i in range(x.type.rank)]
    size = [1 if i == axis else dim for i, dim in enumerate(x.shape)]
    return ctx.move("slice", [x, ctx.build.constant(begin), ctx.build.constant(size)])[0]


def _axis(axis: int, rank: int) -> int:
    if not -rank <= axis < rank:
        raise LoweringError(f"names axis {axis} of {rank}", "The file is damaged.")
    return axis % rank
