"""Comparisons, logic on bools, bits of integers, and selection by a condition."""

from __future__ import annotations

import numpy as np

from edgec.frontends.onnx.context import LoweringContext
from edgec.frontends.onnx.integer_powers import power_of_two, shifted_right
from edgec.frontends.onnx.integers import compute, compute_type, number
from edgec.frontends.onnx.lowerings.movement import expanded
from edgec.frontends.onnx.registry import lowers
from edgec.ir import DType, Value

_COMPARISONS = {
    "Greater": "greater",
    "GreaterOrEqual": "greater_equal",
    "Less": "less",
    "LessOrEqual": "less_equal",
}
_LOGICAL = {"And": "logical_and", "Or": "logical_or", "Xor": "not_equal"}


@lowers("Equal", dynamic=True)
def equal(ctx: LoweringContext) -> Value:
    """The kernel of the same name, which also takes bools."""
    x, y = ctx.input(0), ctx.input(1)
    if x.dtype is DType.BOOL:
        return ctx.build.op("equal", [x, y])
    return compute(ctx, "equal", x, y)


@lowers(*_COMPARISONS, dynamic=True)
def comparison(ctx: LoweringContext) -> Value:
    """The kernel of the same name."""
    return compute(ctx, _COMPARISONS[ctx.op_type], ctx.input(0), ctx.input(1))


@lowers(*_LOGICAL, dynamic=True)
def logical(ctx: LoweringContext) -> Value:
    """The kernel of the same name; on bools, exclusive or is inequality."""
    return ctx.build.op(_LOGICAL[ctx.op_type], [ctx.input(0), ctx.input(1)])


@lowers("Not", dynamic=True)
def logical_not(ctx: LoweringContext) -> Value:
    """The kernel of the same name."""
    return ctx.build.op("logical_not", [ctx.input(0)])


@lowers("Where", dynamic=True)
def where(ctx: LoweringContext) -> Value:
    """select_v2, which broadcasts all three operands."""
    return ctx.build.op("select_v2", [ctx.input(0), ctx.input(1), ctx.input(2)])


@lowers("IsNaN", dynamic=True)
def is_nan(ctx: LoweringContext) -> Value:
    """x ≠ x holds for NaN alone."""
    x = ctx.input(0)
    return ctx.build.op("not_equal", [x, x])


@lowers("IsInf", dynamic=True)
def is_inf(ctx: LoweringContext) -> Value:
    """|x| = ∞, or x = ±∞ where only one sign counts; where none does, |x| < 0, which never holds."""
    x = ctx.input(0)
    positive, negative = ctx.int("detect_positive", 1), ctx.int("detect_negative", 1)
    if positive and negative:
        return ctx.build.op("equal", [ctx.build.op("abs", [x]), number(ctx, np.inf, x)])
    if positive or negative:
        return ctx.build.op("equal", [x, number(ctx, np.inf if positive else -np.inf, x)])
    return ctx.build.op("less", [ctx.build.op("abs", [x]), number(ctx, 0.0, x)])


@lowers("BitwiseAnd")
def bitwise_and(ctx: LoweringContext) -> Value:
    """The kernel of the same name, whose operands must have one shape."""
    return _common_bits(ctx)


@lowers("BitwiseOr")
def bitwise_or(ctx: LoweringContext) -> Value:
    """x + y - (x & y): the sum counts common bits twice."""
    return compute(ctx, "sub", compute(ctx, "add", ctx.input(0), ctx.input(1)), _common_bits(ctx))


@lowers("BitwiseXor")
def bitwise_xor(ctx: LoweringContext) -> Value:
    """x + y - 2 (x & y): the sum without the bits that are common."""
    common = _common_bits(ctx)
    total = compute(ctx, "add", ctx.input(0), ctx.input(1))
    return compute(ctx, "sub", total, compute(ctx, "add", common, common))


@lowers("BitwiseNot", dynamic=True)
def bitwise_not(ctx: LoweringContext) -> Value:
    """-1 - x in two's complement."""
    x = ctx.input(0)
    wide = ctx.cast(x, compute_type(x.dtype))
    return ctx.cast(ctx.build.op("sub", [number(ctx, -1, wide), wide]), x.dtype)


def _common_bits(ctx: LoweringContext) -> Value:
    x, y = ctx.input(0), ctx.input(1)
    wide, shape = compute_type(x.dtype), np.broadcast_shapes(x.shape, y.shape)
    operands = [expanded(ctx.build, ctx.cast(value, wide), shape) for value in (x, y)]
    return ctx.cast(ctx.build.op("stablehlo_and", operands), x.dtype)


@lowers("BitShift", dynamic=True)
def bit_shift(ctx: LoweringContext) -> Value:
    """right_shift, or to the left a product with 2^y; y outside [0, number of bits) moves every bit out."""
    x, y = ctx.input(0), ctx.input(1)
    bits = x.dtype.numpy.itemsize * 8
    if ctx.string("direction") == "LEFT":
        return compute(ctx, "mul", x, _power_of_two(ctx, y, x.dtype))
    if bits == 64:
        return shifted_right(ctx, x, y)
    if x.dtype is DType.UINT32:  # the kernel moves by 31 bits at most, which leaves the top one
        return ctx.cast(shifted_right(ctx, ctx.cast(x, DType.INT64), y), x.dtype)
    wide = {DType.UINT8: DType.INT32, DType.UINT16: DType.INT32}.get(x.dtype, x.dtype)
    y = ctx.cast(y, wide)
    if not wide.value.startswith("u"):  # the kernel knows large shifts, but takes negative ones for 0
        y = ctx.build.op(
            "select_v2", [compute(ctx, "less", y, number(ctx, 0, y)), number(ctx, bits - 1, y), y]
        )
    return ctx.cast(ctx.build.op("right_shift", [ctx.cast(x, wide), y]), x.dtype)


def _power_of_two(ctx: LoweringContext, y: Value, dtype: DType) -> Value:
    if y.data is None:
        return power_of_two(ctx, y, dtype)
    bits = dtype.numpy.itemsize * 8
    shifts = [int(shift) for shift in y.data.reshape(-1)]
    factors = [1 << shift if 0 <= shift < bits else 0 for shift in shifts]
    # The top bit of a signed type is its sign: 2^(bits - 1) wraps to the lowest value.
    wrapped = np.array(factors, np.uint64).astype(dtype.numpy).reshape(y.shape)
    return ctx.build.constant(wrapped)
