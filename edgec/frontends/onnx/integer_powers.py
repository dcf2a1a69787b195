"""Integer powers and shifts by amounts known only at run time.

2^y      a table of all powers that the element type holds, read by `gather`
x^y      product over the bits of y:  x^(b0 + 2 b1 + ...) = x^b0 * (x^2)^b1 * ...   (wraps around like `mul`)
x >> y   floor(x / 2^y), as (x - x mod 2^y) / 2^y in 64 bits, where the kernel stops at 32
"""

from __future__ import annotations

import numpy as np

from edgec.frontends.onnx.context import LoweringContext
from edgec.frontends.onnx.integers import (
    compute,
    compute_type,
    exact_quotient,
    is_negative,
    negate_where,
    number,
)
from edgec.ir import DType, Value
from edgec.ops.slicing import GatherAttributes

_EXPONENT_BITS = 6
"""x^64 overflows 64 bits for all x but -1, 0 and 1, whose powers depend on the last bit of y alone."""


def integer_power(ctx: LoweringContext, x: Value, y: Value) -> Value:
    """Return int64 x ** y for any integer y; for y < 0 truncated to an integer: 0 but for |x| = 1."""
    build = ctx.build
    if y.dtype.value.startswith("u"):
        return _power_of_magnitude(ctx, x, _below_64(ctx, y))
    negative = is_negative(ctx, y)
    y = ctx.cast(y, DType.INT64)
    power = _power_of_magnitude(ctx, x, _below_64(ctx, negate_where(ctx, negative, y)))
    is_unit = build.op("equal", [build.op("mul", [x, x]), number(ctx, 1, x)])
    vanishes = build.op("logical_and", [negative, build.op("logical_not", [is_unit])])
    return build.op("select_v2", [vanishes, number(ctx, 0, power), power])


def _below_64(ctx: LoweringContext, y: Value) -> Value:
    """Return y >= 0 as int32 below 64; a larger one keeps its last bit."""
    build = ctx.build
    parity = ctx.cast(compute(ctx, "floor_mod", y, number(ctx, 2, y)), DType.INT32)
    largest = 1 << _EXPONENT_BITS
    beyond = compute(ctx, "greater_equal", y, number(ctx, largest, y))
    stand_in = build.op("add", [parity, build.constant(largest - 2)])
    return build.op("select_v2", [beyond, stand_in, ctx.cast(y, DType.INT32)])


def _power_of_magnitude(ctx: LoweringContext, x: Value, exponent: Value) -> Value:
    build = ctx.build
    two, one = build.constant(2), number(ctx, 1, x)
    result: Value | None = None
    for bit in range(_EXPONENT_BITS):
        is_set = build.op("equal", [build.op("floor_mod", [exponent, two]), build.constant(1)])
        factor = build.op("select_v2", [is_set, x, one])
        result = factor if result is None else compute(ctx, "mul", result, factor)
        if bit < _EXPONENT_BITS - 1:
            x = compute(ctx, "mul", x, x)
            exponent = build.op("floor_div", [exponent, two])
    assert result is not None
    return result


def power_of_two(ctx: LoweringContext, y: Value, dtype: DType) -> Value:
    """Return 2^y in an integer type; 0 where y is negative or at least the number of bits."""
    bits = dtype.numpy.itemsize * 8
    # In a signed type the last power is the sign bit: it wraps to the lowest value.
    table = np.array([1 << shift for shift in range(bits)] + [0], np.uint64).astype(compute_type(dtype).numpy)
    wide = ctx.cast(y, DType.INT64)
    low, high = (ctx.build.constant(np.asarray(limit)) for limit in (0, bits))
    outside = ctx.build.op(
        "logical_or", [ctx.build.op("less", [wide, low]), ctx.build.op("greater", [wide, high])]
    )
    shifts = ctx.build.op("select_v2", [outside, high, wide])
    indices = ctx.cast(shifts, DType.INT32)
    power = ctx.build.op("gather", [ctx.build.constant(table), indices], GatherAttributes(axis=0))
    return ctx.cast(power, dtype)


def shifted_right(ctx: LoweringContext, x: Value, y: Value) -> Value:
    """Return 64-bit x moved right by y bits; a signed x keeps its sign: all bits out leave -1 or 0."""
    factor = power_of_two(ctx, y, x.dtype)
    none_left = compute(ctx, "equal", factor, number(ctx, 0, factor))
    if x.dtype is DType.UINT64:
        divisor = _where(ctx, none_left, number(ctx, 1, factor), factor)
        return _where(ctx, none_left, number(ctx, 0, x), compute(ctx, "div", x, divisor))
    sign = ctx.build.op("neg", [ctx.cast(is_negative(ctx, x), DType.INT64)])
    # 2^63 wraps to a negative number; moving by 63 bits leaves the sign too.
    only_sign = compute(ctx, "less_equal", factor, number(ctx, 0, factor))
    divisor = _where(ctx, only_sign, number(ctx, 1, factor), factor)
    multiple = ctx.build.op("sub", [x, ctx.build.op("floor_mod", [x, divisor])])
    return _where(ctx, only_sign, sign, exact_quotient(ctx, multiple, divisor))


def _where(ctx: LoweringContext, condition: Value, x: Value, y: Value) -> Value:
    """Select in int64: the kernel does not take uint64."""
    chosen = ctx.build.op("select_v2", [condition, ctx.cast(x, DType.INT64), ctx.cast(y, DType.INT64)])
    return ctx.cast(chosen, x.dtype)
