"""Element-by-element arithmetic and mathematical functions.

Kernels of one kind with the ONNX operator stand in tables; the rest is algebra over them. Float add, sub, mul
and div kernels hold their results within the finite floats: 1 / 0 is 3.4e38, not infinity.
"""

from __future__ import annotations

from functools import reduce

import numpy as np

from edgec.frontends.onnx.context import LoweringContext
from edgec.frontends.onnx.integer_powers import integer_power
from edgec.frontends.onnx.integers import (
    absolute,
    compute,
    compute_type,
    is_negative,
    negate_where,
    number,
    truncated_division,
    truncated_remainder,
)
from edgec.frontends.onnx.registry import lowers
from edgec.ir import DType, Value
from edgec.ops.infer import broadcast

_BINARY = {"Add": "add", "Sub": "sub", "Mul": "mul"}
_VARIADIC = {"Sum": "add", "Max": "maximum", "Min": "minimum"}
_UNARY = {
    "Neg": "neg",
    "Exp": "exp",
    "Log": "log",
    "Sqrt": "sqrt",
    "Floor": "floor",
    "Ceil": "ceil",
    "Round": "round",
    "Sin": "sin",
    "Cos": "cos",
}
_LARGEST_UNROLLED_EXPONENT = 64


@lowers(*_BINARY, dynamic=True)
def binary(ctx: LoweringContext) -> Value:
    """The kernel of the same name, with NumPy's broadcasting."""
    return compute(ctx, _BINARY[ctx.op_type], ctx.input(0), ctx.input(1))


@lowers(*_UNARY, dynamic=True)
def unary(ctx: LoweringContext) -> Value:
    """The kernel of the same name."""
    return compute(ctx, _UNARY[ctx.op_type], ctx.input(0))


@lowers(*_VARIADIC, dynamic=True)
def variadic(ctx: LoweringContext) -> Value:
    """Chain of two-operand kernels; `maximum(NaN, y)` is y in these kernels, where ONNX says NaN."""
    return _chain(ctx, _VARIADIC[ctx.op_type])


@lowers("Mean", dynamic=True)
def mean(ctx: LoweringContext) -> Value:
    """Sum of all operands, times 1/n."""
    total = _chain(ctx, "add")
    return compute(ctx, "mul", total, number(ctx, 1.0 / len(ctx.inputs), total))


def _chain(ctx: LoweringContext, kind: str) -> Value:
    operands = [ctx.input(index) for index in range(len(ctx.inputs))]
    return reduce(lambda x, y: compute(ctx, kind, x, y), operands)


@lowers("Div", dynamic=True)
def div(ctx: LoweringContext) -> Value:
    """Quotient, integers rounded towards zero; dividing by a constant power of two multiplies, exactly."""
    x, y = ctx.input(0), ctx.input(1)
    if compute_type(x.dtype) is not DType.FLOAT32:
        return truncated_division(ctx, x, y)
    if y.data is not None and _is_power_of_two(y.data):
        return ctx.build.op("mul", [x, ctx.build.constant(np.reciprocal(y.data.astype(np.float32)))])
    return ctx.build.op("div", [x, y])


def _is_power_of_two(data: np.ndarray) -> bool:
    mantissa, exponent = np.frexp(data)
    return bool(data.size and np.all(np.abs(mantissa) == 0.5) and np.all(np.abs(exponent) < 100))


@lowers("Reciprocal", dynamic=True)
def reciprocal(ctx: LoweringContext) -> Value:
    """1 / x."""
    x = ctx.input(0)
    return ctx.build.op("div", [number(ctx, 1.0, x), x])


@lowers("Abs", dynamic=True)
def abs_(ctx: LoweringContext) -> Value:
    """|x|."""
    return absolute(ctx, ctx.input(0))


@lowers("Sign", dynamic=True)
def sign(ctx: LoweringContext) -> Value:
    """-1, 0 or 1: in int64, which has no kernel, `(x > 0) - (x < 0)`."""
    x = ctx.input(0)
    if compute_type(x.dtype) is not DType.INT64:
        return compute(ctx, "sign", x)
    zero = number(ctx, 0, x)
    above, below = compute(ctx, "greater", x, zero), compute(ctx, "less", x, zero)
    return ctx.build.op("sub", [ctx.cast(above, x.dtype), ctx.cast(below, x.dtype)])


@lowers("Pow", dynamic=True)
def pow_(ctx: LoweringContext) -> Value:
    """x ** y: constant exponents as products, roots and quotients, int64 bit by bit, the rest by kernel."""
    x, y = ctx.input(0), ctx.input(1)
    exponent = _uniform(y)
    if exponent is not None and _spread(x, y) == x.shape:
        special = _known_power(ctx, x, exponent)
        if special is not None:
            return special
    if x.dtype is DType.FLOAT32:
        return ctx.build.op("pow", [x, ctx.cast(y, DType.FLOAT32)])
    if y.dtype.is_float:
        return _integer_to_real_power(ctx, x, y)
    if compute_type(x.dtype) is DType.INT64 or compute_type(y.dtype) is DType.INT64:
        return ctx.cast(integer_power(ctx, ctx.cast(x, DType.INT64), y), x.dtype)
    return compute(ctx, "pow", x, ctx.cast(y, compute_type(x.dtype)))


def _integer_to_real_power(ctx: LoweringContext, x: Value, y: Value) -> Value:
    """Exact where the exponent is whole, else truncated from float32."""
    build = ctx.build
    whole = ctx.cast(y, DType.INT64)
    is_whole = build.op("equal", [ctx.cast(whole, DType.FLOAT32), y])
    exact = integer_power(ctx, ctx.cast(x, DType.INT64), whole)
    real = build.op("pow", [ctx.cast(x, DType.FLOAT32), y])
    return ctx.cast(build.op("select_v2", [is_whole, exact, ctx.cast(real, DType.INT64)]), x.dtype)


def _uniform(y: Value) -> float | None:
    """Return the one value that a constant holds everywhere, or None."""
    if y.data is None or y.data.size == 0 or np.any(y.data != y.data.flat[0]):
        return None
    return float(y.data.flat[0])


def _spread(x: Value, y: Value) -> tuple[int, ...]:
    return broadcast((x.shape, y.shape))


def _known_power(ctx: LoweringContext, x: Value, exponent: float) -> Value | None:
    """Return x ** exponent without the pow kernel, which no delegate takes; None where that is needed."""
    if x.dtype is DType.FLOAT32:
        if exponent == 0.5:
            return ctx.build.op("sqrt", [x])
        if exponent in (-0.5, -1.0):
            divisor = ctx.build.op("sqrt", [x]) if exponent == -0.5 else x
            return ctx.build.op("div", [number(ctx, 1.0, x), divisor])
    largest = 4 if x.dtype is DType.FLOAT32 else _LARGEST_UNROLLED_EXPONENT
    if exponent in range(1, largest + 1):
        return _product(ctx, x, int(exponent))
    return None


def _product(ctx: LoweringContext, x: Value, exponent: int) -> Value:
    """x ** n by squaring: x ** (2k + b) = (x ** k) ** 2 * x ** b."""
    if exponent == 1:
        return x
    half = _product(ctx, x, exponent // 2)
    square = compute(ctx, "mul", half, half)
    return compute(ctx, "mul", square, x) if exponent % 2 else square


@lowers("Mod", dynamic=True)
def mod(ctx: LoweringContext) -> Value:
    """x - y * floor(x / y), with the sign of y; with fmod=1 rounded towards zero, with the sign of x."""
    x, y = ctx.input(0), ctx.input(1)
    if ctx.int("fmod"):
        return truncated_remainder(ctx, x, y)
    return compute(ctx, "floor_mod", x, y)


@lowers("Tan", dynamic=True)
def tan(ctx: LoweringContext) -> Value:
    """sin x / cos x."""
    x = ctx.input(0)
    return ctx.build.op("div", [ctx.build.op("sin", [x]), ctx.build.op("cos", [x])])


@lowers("Asin", dynamic=True)
def asin(ctx: LoweringContext) -> Value:
    """atan2(x, √((1 - x)(1 + x)))."""
    x = ctx.input(0)
    return ctx.build.op("atan2", [x, _other_leg(ctx, x)])


@lowers("Acos", dynamic=True)
def acos(ctx: LoweringContext) -> Value:
    """atan2(√((1 - x)(1 + x)), x)."""
    x = ctx.input(0)
    return ctx.build.op("atan2", [_other_leg(ctx, x), x])


def _other_leg(ctx: LoweringContext, x: Value) -> Value:
    """√((1 - x)(1 + x)), which keeps its digits near 1 where √(1 - x²) loses them."""
    one = number(ctx, 1.0, x)
    product = ctx.build.op("mul", [ctx.build.op("sub", [one, x]), ctx.build.op("add", [one, x])])
    return ctx.build.op("sqrt", [product])


@lowers("Atan")
def atan(ctx: LoweringContext) -> Value:
    """atan2(x, 1); the kernel does not broadcast, so 1 is spread to the shape of x."""
    x = ctx.input(0)
    if x.type.rank == 0:
        return ctx.build.op("atan2", [x, number(ctx, 1.0, x)])
    ones = ctx.build.op("broadcast_to", [number(ctx, 1.0, x), ctx.build.constant(list(x.shape))])
    return ctx.build.op("atan2", [x, ones])


@lowers("Sinh", dynamic=True)
def sinh(ctx: LoweringContext) -> Value:
    """±(1 - e^-2a) e^a / 2 with a = |x|: elu(-2a) is e^-2a - 1 to the last digit, and e^a = (e^(a/2))²."""
    x, build = ctx.input(0), ctx.build
    magnitude = build.op("abs", [x])
    decay = build.op("elu", [build.op("mul", [magnitude, number(ctx, -2.0, x)])])
    root = build.op("exp", [build.op("mul", [magnitude, number(ctx, 0.5, x)])])
    half = build.op("mul", [build.op("mul", [decay, number(ctx, -0.5, x)]), root])
    return negate_where(ctx, is_negative(ctx, x), build.op("mul", [half, root]))


@lowers("Cosh", dynamic=True)
def cosh(ctx: LoweringContext) -> Value:
    """(e^x + e^-x) / 2 with e^x = (e^(x/2))², which overflows only where cosh x does."""
    x, build = ctx.input(0), ctx.build
    halves: list[Value] = []
    for half in (0.5, -0.5):
        root = build.op("exp", [build.op("mul", [x, number(ctx, half, x)])])
        halves.append(build.op("mul", [build.op("mul", [root, number(ctx, 0.5, x)]), root]))
    return build.op("add", halves)


@lowers("Asinh", dynamic=True)
def asinh(ctx: LoweringContext) -> Value:
    """±(log m + log(n + √(n² + m⁻²))) with a = |x|, m = max(a, 1), n = min(a, 1): no square overflows."""
    x, build = ctx.input(0), ctx.build
    one = number(ctx, 1.0, x)
    magnitude = build.op("abs", [x])
    m, n = build.op("maximum", [magnitude, one]), build.op("minimum", [magnitude, one])
    inverse = build.op("div", [one, m])
    squares = build.op("add", [build.op("mul", [n, n]), build.op("mul", [inverse, inverse])])
    near = build.op("log", [build.op("add", [n, build.op("sqrt", [squares])])])
    return negate_where(ctx, is_negative(ctx, x), build.op("add", [build.op("log", [m]), near]))


@lowers("Acosh", dynamic=True)
def acosh(ctx: LoweringContext) -> Value:
    """log(x + √(x - 1) √(x + 1)): no square overflows, no digits are lost near 1."""
    x, build = ctx.input(0), ctx.build
    one = number(ctx, 1.0, x)
    roots = [build.op("sqrt", [build.op(kind, [x, one])]) for kind in ("sub", "add")]
    return build.op("log", [build.op("add", [x, build.op("mul", roots)])])


@lowers("Atanh", dynamic=True)
def atanh(ctx: LoweringContext) -> Value:
    """(log(1 + x) - log(1 - x)) / 2."""
    x, build = ctx.input(0), ctx.build
    one = number(ctx, 1.0, x)
    logs = [build.op("log", [build.op(kind, [one, x])]) for kind in ("add", "sub")]
    return build.op("mul", [build.op("sub", logs), number(ctx, 0.5, x)])
