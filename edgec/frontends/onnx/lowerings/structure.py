"""Operators that describe or make tensors: their results are constants once shapes are known."""

from __future__ import annotations

from math import ceil

import numpy as np

from edgec.frontends.onnx.context import LoweringContext, LoweringError
from edgec.frontends.onnx.lowerings.cast import element_type
from edgec.frontends.onnx.registry import lowers
from edgec.ir import Array, DType, Value


@lowers("Identity")
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


@lowers("Shape")
def shape(ctx: LoweringContext) -> Value:
    """The dimensions [start, end) as an int64 constant, with Python's rules for negative and large bounds."""
    dims = ctx.input(0).shape
    end = ctx.int("end") if ctx.has("end") else None
    return _known(ctx, np.asarray(dims[ctx.int("start") : end], np.int64))


@lowers("Size")
def size(ctx: LoweringContext) -> Value:
    """The number of elements as an int64 constant."""
    return _known(ctx, np.asarray(ctx.input(0).type.size, np.int64))


@lowers("ConstantOfShape")
def constant_of_shape(ctx: LoweringContext) -> Value:
    """A constant of a known shape filled with one value."""
    value = ctx.tensor("value") if ctx.has("value") else np.zeros(1, np.float32)
    return _known(ctx, np.full(ctx.constant_ints(0), value.reshape(-1)[0], value.dtype))


@lowers("Range")
def range_(ctx: LoweringContext) -> Value:
    """start + i * delta for every i below (limit - start) / delta."""
    start, limit, delta = (ctx.constant(index).reshape(()) for index in range(3))
    step = delta.item()
    if step == 0:
        raise LoweringError(
            "has a delta of 0", "The range would never end.", "Correct delta in the source model."
        )
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
    offset = 0 if ctx.optional_constant(1) is None else ctx.constant_ints(1)[0]
    upper = bool(ctx.int("upper", 1))
    below = np.tri(*x.shape[-2:], k=offset - 1 if upper else offset, dtype=np.bool_)
    mask = ctx.build.constant(~below if upper else below)
    return ctx.build.op("select_v2", [mask, x, ctx.build.constant(np.zeros((), x.dtype.numpy))])


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
