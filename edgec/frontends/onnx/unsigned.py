"""uint64 on int64 kernels: the same 64 bits, read through `bitcast`, the only kernel that takes uint64.

order       x < y unsigned   =   x ^ 2^63 < y ^ 2^63 signed         (adding 2^63 flips the top bit)
quotient    y >= 2^63:  x >= y
            else:       q = 2 * ((x >> 1) / y),  plus 1 where x - q * y >= y
"""

from __future__ import annotations

import numpy as np

from edgec.frontends.onnx.context import LoweringContext, LoweringError
from edgec.frontends.onnx.integers import exact_quotient, truncated_division
from edgec.ir import DType, Value
from edgec.ops.bits import BitcastAttributes

_TOP_BIT = np.asarray(np.iinfo(np.int64).min)
_ORDERED = ("less", "less_equal", "greater", "greater_equal", "maximum", "minimum")


def cast_uint64(ctx: LoweringContext, x: Value, dtype: DType) -> Value:
    """Return a run-time value in another type, where one of the two is uint64: integers wrap around."""
    if x.dtype is not DType.UINT64:
        signed = _from_float(ctx, x) if x.dtype.is_float else ctx.cast(x, DType.INT64)
        return _bits(ctx, signed, DType.UINT64)
    signed = _bits(ctx, x, DType.INT64)
    if not dtype.is_float:
        return ctx.cast(signed, dtype)
    real = ctx.cast(signed, dtype)
    wrapped = ctx.build.op("add", [real, ctx.build.constant(np.asarray(2.0**64, dtype.numpy))])
    return ctx.build.op("select_v2", [_is_negative(ctx, signed), wrapped, real])


def compute_uint64(ctx: LoweringContext, kind: str, *operands: Value) -> Value:
    """Run an order, a division or a remainder on uint64 operands; LoweringError for other kinds."""
    x, *others = (ctx.cast(value, DType.INT64) for value in operands)
    if kind in _ORDERED:
        result = ctx.build.op(kind, [_flipped(ctx, value) for value in (x, *others)])
        return result if result.dtype is DType.BOOL else ctx.cast(_flipped(ctx, result), DType.UINT64)
    if kind in ("div", "floor_mod"):
        quotient = _quotient(ctx, x, others[0])
        if kind == "div":
            return ctx.cast(quotient, DType.UINT64)
        multiple = ctx.build.op("mul", [quotient, others[0]])
        return ctx.cast(ctx.build.op("sub", [x, multiple]), DType.UINT64)
    raise LoweringError(
        f"computes {kind} in uint64",
        "Kernels compute in float32, int32 and int64.",
        "Cast to one of these in the source model.",
    )


def _quotient(ctx: LoweringContext, x: Value, y: Value) -> Value:
    build = ctx.build
    one, two = build.constant(np.asarray(1)), build.constant(np.asarray(2))
    is_large = _is_negative(ctx, y)
    divisor = build.op("select_v2", [is_large, one, y])
    doubled = build.op("mul", [truncated_division(ctx, _half(ctx, x), divisor), two])
    rest = build.op("sub", [x, build.op("mul", [doubled, divisor])])
    small = build.op("add", [doubled, _at_least(ctx, rest, divisor)])
    return build.op("select_v2", [is_large, _at_least(ctx, x, y), small])


def _half(ctx: LoweringContext, x: Value) -> Value:
    """Return the bits of x moved right by one: floor(x / 2), and 2^63 more where the top bit was set."""
    build = ctx.build
    two = build.constant(np.asarray(2))
    even = build.op("sub", [x, build.op("floor_mod", [x, two])])
    half = exact_quotient(ctx, even, two)
    return build.op("select_v2", [_is_negative(ctx, x), _flipped(ctx, half), half])


def _at_least(ctx: LoweringContext, x: Value, y: Value) -> Value:
    """Return 1 where x >= y as unsigned numbers, else 0."""
    holds = ctx.build.op("greater_equal", [_flipped(ctx, x), _flipped(ctx, y)])
    return ctx.cast(holds, DType.INT64)


def _from_float(ctx: LoweringContext, x: Value) -> Value:
    """Return the 64 bits of floor(|x|): above 2^63 by what is left of it."""
    build = ctx.build
    limit = build.constant(np.asarray(2.0**63, x.dtype.numpy))
    is_large = build.op("greater_equal", [x, limit])
    part = build.op("select_v2", [is_large, build.op("sub", [x, limit]), x])
    whole = ctx.cast(part, DType.INT64)
    return build.op("select_v2", [is_large, _flipped(ctx, whole), whole])


def _flipped(ctx: LoweringContext, x: Value) -> Value:
    return ctx.build.op("add", [x, ctx.build.constant(_TOP_BIT)])


def _is_negative(ctx: LoweringContext, x: Value) -> Value:
    return ctx.build.op("less", [x, ctx.build.constant(np.asarray(0))])


def _bits(ctx: LoweringContext, x: Value, dtype: DType) -> Value:
    return ctx.build.op("bitcast", [x], BitcastAttributes(dtype))
