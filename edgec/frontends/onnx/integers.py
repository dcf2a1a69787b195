"""Arithmetic on integers: kernels compute in int32 and int64, and int64 has no division.

What kernels take was tried with unquantized tensors in LiteRT 2.3: arithmetic on int8 and uint8 ends the
process for want of a scale, uint16 and uint64 are refused, `div` and `floor_div` lack int64. Sums,
differences and products of uint64 are those of int64, bit by bit; what else differs is in `unsigned`.
"""

from __future__ import annotations

import numpy as np

from edgec.frontends.onnx.context import LoweringContext, LoweringError
from edgec.ir import NO_ATTRIBUTES, Attributes, DType, Value

_COMPUTE_TYPES = {
    DType.FLOAT32: DType.FLOAT32,
    DType.INT8: DType.INT32,
    DType.UINT8: DType.INT32,
    DType.INT16: DType.INT32,
    DType.UINT16: DType.INT32,
    DType.INT32: DType.INT32,
    DType.UINT32: DType.INT64,
    DType.INT64: DType.INT64,
    DType.UINT64: DType.INT64,
}
_QUOTIENT_STEPS = 4
"""A float32 quotient is good to 22 bits: 2^63, 2^41, 2^19 and 1 bound what is left after each step."""


def compute_type(dtype: DType) -> DType:
    """Return the narrowest type with arithmetic kernels that holds every value; LoweringError for others."""
    if dtype not in _COMPUTE_TYPES:
        raise LoweringError(
            f"computes in {dtype}",
            "Kernels compute in float32, int32 and int64.",
            "Cast to one of these in the source model.",
        )
    return _COMPUTE_TYPES[dtype]


def compute(
    ctx: LoweringContext, kind: str, *operands: Value, attributes: Attributes = NO_ATTRIBUTES
) -> Value:
    """Run an arithmetic kernel in its compute type and return to the operands' type, wrapping around.

    A result of another type than the computed one (comparisons give bool) is returned as it is.
    """
    dtype = operands[0].dtype
    if dtype is DType.UINT64 and kind not in ("add", "sub", "mul", "neg", "equal", "not_equal"):
        return unsigned_compute(ctx, kind, *operands)
    wide = compute_type(dtype)
    result = ctx.build.op(kind, [ctx.cast(x, wide) for x in operands], attributes)
    return ctx.cast(result, dtype) if result.dtype is wide else result


def unsigned_compute(ctx: LoweringContext, kind: str, *operands: Value) -> Value:
    """Run what unsigned 64-bit integers do otherwise than signed ones; a module of its own."""
    from edgec.frontends.onnx import unsigned

    return unsigned.compute_uint64(ctx, kind, *operands)


def number(ctx: LoweringContext, value: float, like: Value) -> Value:
    """Return a scalar constant of the element type of `like`."""
    return ctx.build.constant(np.asarray(value, like.dtype.numpy))


def is_negative(ctx: LoweringContext, x: Value) -> Value:
    """Return `x < 0` as bool."""
    return compute(ctx, "less", x, number(ctx, 0, x))


def negate_where(ctx: LoweringContext, condition: Value, x: Value) -> Value:
    """Return `-x` where the condition holds, `x` elsewhere."""
    return ctx.build.op("select_v2", [condition, compute(ctx, "neg", x), x])


def absolute(ctx: LoweringContext, x: Value) -> Value:
    """Return `|x|`; unsigned integers as they are; in int64, which has no abs kernel, `max(x, -x)`."""
    if x.dtype.value.startswith("u"):
        return x
    if compute_type(x.dtype) is DType.INT64:
        return compute(ctx, "maximum", x, compute(ctx, "neg", x))
    return compute(ctx, "abs", x)


def truncated_division(ctx: LoweringContext, x: Value, y: Value) -> Value:
    """Return `x / y` rounded towards zero, exact for every value but the lowest of int32 and int64."""
    if compute_type(x.dtype) is not DType.INT64 or x.dtype is DType.UINT64:
        return compute(ctx, "div", x, y)
    if _fits_int32(x) and _fits_int32(y):
        narrow = [ctx.cast(operand, DType.INT32) for operand in (x, y)]
        return ctx.cast(ctx.build.op("div", narrow), x.dtype)
    wide_x, wide_y = ctx.cast(x, DType.INT64), ctx.cast(y, DType.INT64)
    multiple = ctx.build.op("sub", [wide_x, truncated_remainder(ctx, wide_x, wide_y)])
    return ctx.cast(exact_quotient(ctx, multiple, wide_y), x.dtype)


def truncated_remainder(ctx: LoweringContext, x: Value, y: Value) -> Value:
    """Return `sign(x) * (|x| mod |y|)`: the remainder of division rounded towards zero (C's `fmod`)."""
    magnitude = compute(ctx, "floor_mod", absolute(ctx, x), absolute(ctx, y))
    return negate_where(ctx, is_negative(ctx, x), magnitude)


def exact_quotient(ctx: LoweringContext, multiple: Value, y: Value) -> Value:
    """Return `multiple / y` in int64 where `y` divides it: sum of float32 quotients of what is left."""
    build = ctx.build
    divisor = ctx.cast(y, DType.FLOAT32)
    quotient: Value | None = None
    for _ in range(_QUOTIENT_STEPS):
        estimate = build.op("div", [ctx.cast(multiple, DType.FLOAT32), divisor])
        step = ctx.cast(estimate, DType.INT64)
        multiple = build.op("sub", [multiple, build.op("mul", [step, y])])
        quotient = step if quotient is None else build.op("add", [quotient, step])
    assert quotient is not None
    return quotient


def _fits_int32(x: Value) -> bool:
    """Whether all values are known to lie strictly inside int32 (its lowest value has no negative)."""
    if x.data is None:
        return False
    data = x.data.astype(np.int64)
    return bool(np.all(np.abs(data) < np.iinfo(np.int32).max))
