"""Operators that describe or make tensors: their results are constants once shapes are known."""

from __future__ import annotations

from math import ceil, prod

import numpy as np

from edgec.frontends.onnx.context import LoweringContext, LoweringError
from edgec.frontends.onnx.integers import compute_type
from edgec.frontends.onnx.lowerings.cast import element_type
from edgec.frontends.onnx.lowerings.movement import box
from edgec.frontends.onnx.registry import lowers
from edgec.frontends.onnx.sizes import int32, length, shape_of
from edgec.ir import DYNAMIC, Array, DType, Value
from edgec.ops.builder import MAX_ELEMENTS
from edgec.ops.reduce import ReducerAttributes
from edgec.ops.sizes import ShapeAttributes


@lowers("Identity", dynamic=True)
def identity(ctx: LoweringContext) -> Value:
    """The value itself."""
    return ctx.input(0)


@lowers("Constant")
def constant(ctx: LoweringContext) -> Value:
    """The attribute's data, in the shape of the attribute: tensor, number or list."""
    if ctx.has("value"):
        return _known(ctx, ctx.tensor("value"))
    if ctx.has("value_float"):
        return _known(ctx, np.asarray(ctx.float("value_float"), np.float32))
    if ctx.has("value_int"):
        return _known(ctx, np.asarray(ctx.int("value_int"), np.int64))
    floats, ints = ctx.floats("value_floats"), ctx.ints("value_ints")
    if floats is not None:
        return _known(ctx, np.asarray(floats, np.float32))
    if ints is not None:
        return _known(ctx, np.asarray(ints, np.int64))
    raise LoweringError(
        f"holds its data as {', '.join(a.name for a in ctx.node.attribute) or 'nothing'}",
        "Only dense tensors and numbers can be constants.",
        "Store the constant as a dense tensor.",
    )


@lowers("Shape", dynamic=True)
def shape(ctx: LoweringContext) -> Value:
    """The dimensions [start, end) as int64, with Python's rules for negative and large bounds."""
    x, end = ctx.input(0), ctx.int("end") if ctx.has("end") else None
    taken = range(x.type.rank)[ctx.int("start") : end]
    dims = [x.shape[axis] for axis in taken]
    if DYNAMIC not in dims:
        return _known(ctx, np.asarray(dims, np.int64))
    found = ctx.build.op("shape", [x], ShapeAttributes(DType.INT64))
    part = box(ctx.build, found, [taken[0]], [len(dims)])
    return ctx.note_entries(part, [None if dim == DYNAMIC else dim for dim in dims])


@lowers("Size", dynamic=True)
def size(ctx: LoweringContext) -> Value:
    """The number of elements as int64."""
    x, build = ctx.input(0), ctx.build
    if x.type.is_static:
        return _known(ctx, np.asarray(x.type.size, np.int64))
    product = build.op("reduce_prod", [shape_of(build, x), build.constant([0])], ReducerAttributes())
    return ctx.cast(product, DType.INT64)


@lowers("ConstantOfShape")
def constant_of_shape(ctx: LoweringContext) -> Value:
    """A constant where the shape is known, else `fill`."""
    value = ctx.tensor("value") if ctx.has("value") else np.zeros(1, np.float32)
    if ctx.input(0).data is None:
        length(ctx, 0)
        return ctx.build.op("fill", [int32(ctx.build, ctx.input(0)), _known(ctx, value.reshape(()))])
    shape = ctx.constant_ints(0)
    _require_countable(prod(shape))
    return _known(ctx, np.full(shape, value.reshape(-1)[0], value.dtype))


def _require_countable(elements: float) -> None:
    """Refuse what no kernel can count before anything is allocated for it."""
    if elements > MAX_ELEMENTS:
        raise LoweringError(
            f"makes a tensor of {elements:.0f} elements",
            f"Kernels count up to {MAX_ELEMENTS}.",
            "Check its shape.",
        )


@lowers("Range")
def range_(ctx: LoweringContext) -> Value:
    """start + i * delta for every i below (limit - start) / delta; by a kernel where that is not known."""
    bounds = [ctx.build.reshape(ctx.input(index), ()) for index in range(3)]
    if any(value.data is None for value in bounds):
        wide = compute_type(bounds[0].dtype)
        return ctx.cast(ctx.build.op("range", [ctx.cast(value, wide) for value in bounds]), bounds[0].dtype)
    start, limit, delta = (ctx.constant(index).reshape(()) for index in range(3))
    step = delta.item()
    if step == 0:
        raise LoweringError(
            "has a delta of 0", "The range would never end.", "Correct delta in the source model."
        )
    _require_countable((limit.item() - start.item()) / step)
    count = max(ceil((limit.item() - start.item()) / step), 0)
    return _known(ctx, (start.item() + np.arange(count) * step).astype(start.dtype))


@lowers("EyeLike")
def eye_like(ctx: LoweringContext) -> Value:
    """A constant with ones on the k-th diagonal, of the operand's shape."""
    x = ctx.input(0)
    if x.type.rank != 2:
        raise LoweringError(
            f"has an operand of {x.type.rank} axes", "A diagonal needs a matrix.", "Correct the operand."
        )
    dtype = element_type(ctx.int("dtype")) if ctx.has("dtype") else x.dtype
    return _known(ctx, np.eye(*x.shape, k=ctx.int("k"), dtype=dtype.numpy))


@lowers("Trilu")
def trilu(ctx: LoweringContext) -> Value:
    """select_v2(triangle, x, 0) with the triangle's mask as a constant: 0 times infinity would be NaN."""
    x = ctx.input(0)
    if x.type.rank < 2:
        raise LoweringError(
            f"has an operand of {x.type.rank} axes", "A triangle needs a matrix.", "Correct the operand."
        )
    mask = _triangle(ctx, x.shape[-2], x.shape[-1], upper=bool(ctx.int("upper", 1)))
    return ctx.build.op("select_v2", [mask, x, ctx.build.constant(np.zeros((), x.dtype.numpy))])


def _triangle(ctx: LoweringContext, rows: int, columns: int, *, upper: bool) -> Value:
    """Return bool [rows, columns]: where column - row is at least (at most) the node's diagonal."""
    distance = np.arange(columns) - np.arange(rows)[:, None]
    diagonal = ctx.optional_input(1)
    if diagonal is None or diagonal.data is not None:
        k = 0 if diagonal is None else ctx.constant_ints(1)[0]
        return ctx.build.constant(distance >= k if upper else distance <= k)
    operands = [ctx.build.constant(distance.astype(diagonal.dtype.numpy)), diagonal]
    return ctx.build.op("greater_equal" if upper else "less_equal", operands)


def _known(ctx: LoweringContext, data: Array) -> Value:
    """Return a constant; wider and narrower floats become float32, like every initializer."""
    if data.dtype.kind == "f" or data.dtype.name == "bfloat16":
        data = data.astype(np.float32)
    try:
        DType.of(data)
    except ValueError:
        raise LoweringError(
            f"holds elements of type {data.dtype.name}",
            "Kernels have no such element type.",
            "Use float32, an integer type or bool in the source model.",
        ) from None
    return ctx.build.constant(np.asarray(data, order="C"))
