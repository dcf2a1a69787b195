"""Activation functions: kernels where they exist, otherwise formulas that neither overflow nor cancel."""

from __future__ import annotations

import numpy as np

from edgec.frontends.onnx.context import LoweringContext, LoweringError
from edgec.frontends.onnx.integers import compute, number
from edgec.frontends.onnx.registry import lowers
from edgec.ir import DType, Value
from edgec.ops.elementwise import GeluAttributes, LeakyReluAttributes
from edgec.ops.erf import build_erf
from edgec.ops.infer import broadcast

_UNARY = {"Sigmoid": "logistic", "Tanh": "tanh", "HardSwish": "hard_swish"}
_CLIP_KERNELS: dict[tuple[float | None, float | None], str] = {
    (0.0, np.inf): "relu",
    (0.0, 6.0): "relu6",
    (-1.0, 1.0): "relu_n1_to_1",
}
_SELU_ALPHA, _SELU_GAMMA = 1.67326319217681884765625, 1.05070102214813232421875


@lowers(*_UNARY, dynamic=True)
def unary(ctx: LoweringContext) -> Value:
    """The kernel of the same function."""
    return ctx.build.op(_UNARY[ctx.op_type], [ctx.input(0)])


@lowers("Relu", dynamic=True)
def relu(ctx: LoweringContext) -> Value:
    """max(x, 0): a kernel for floats, the maximum for integers."""
    return _positive_part(ctx, ctx.input(0))


def _positive_part(ctx: LoweringContext, x: Value) -> Value:
    if x.dtype is DType.FLOAT32:
        return ctx.build.op("relu", [x])
    return compute(ctx, "maximum", x, number(ctx, 0, x))


@lowers("Clip", dynamic=True)
def clip(ctx: LoweringContext) -> Value:
    """min(max(x, low), high), by a relu kernel where the bounds are one's; infinite bounds are none."""
    x = ctx.input(0)
    low, high = _bound(ctx, 1, "min"), _bound(ctx, 2, "max")
    if x.dtype is DType.FLOAT32:
        kind = _CLIP_KERNELS.get((_known_bound(low, -np.inf), _known_bound(high, np.inf)))
        if kind is not None:
            return ctx.build.op(kind, [x])
    if low is not None and not _is_limit(low, lowest=True):
        x = compute(ctx, "maximum", x, ctx.build.reshape(low, ()))
    if high is not None and not _is_limit(high, lowest=False):
        x = compute(ctx, "minimum", x, ctx.build.reshape(high, ()))
    return x


def _bound(ctx: LoweringContext, index: int, attribute: str) -> Value | None:
    """Return a bound from its operand (opset 11 on) or its attribute."""
    if ctx.has(attribute):
        return ctx.build.constant(ctx.float(attribute))
    return ctx.optional_input(index)


def _is_limit(bound: Value, lowest: bool) -> bool:
    """Whether a bound clips no finite value: exporters write the type's limit for "none"."""
    if bound.data is None:
        return False
    limits = np.finfo(np.float32) if bound.dtype.is_float else np.iinfo(bound.dtype.value)
    value = bound.data.reshape(-1)[0]
    return bool(value <= limits.min) if lowest else bool(value >= limits.max)


def _known_bound(bound: Value | None, absent: float) -> float | None:
    """Return a bound as a number, `absent` where there is none, None where only the run time knows it."""
    if bound is None or _is_limit(bound, lowest=absent < 0):
        return absent
    return None if bound.data is None else float(bound.data.reshape(-1)[0])


@lowers("LeakyRelu", dynamic=True)
def leaky_relu(ctx: LoweringContext) -> Value:
    """The kernel of the same name."""
    return ctx.build.op("leaky_relu", [ctx.input(0)], LeakyReluAttributes(ctx.float("alpha", 0.01)))


@lowers("PRelu", dynamic=True)
def prelu(ctx: LoweringContext) -> Value:
    """x where x ≥ 0, else slope * x; one slope for all is a leaky relu, integers select."""
    x, slope = ctx.input(0), ctx.input(1)
    if broadcast((x.shape, slope.shape)) != x.shape:
        raise LoweringError(
            f"has a slope {list(slope.shape)} that does not broadcast to its input {list(x.shape)}",
            "The result has the input's shape.",
            "Reshape the slope, for instance to one number a channel: [C, 1, 1].",
        )
    if x.dtype is not DType.FLOAT32:
        condition = compute(ctx, "less", x, number(ctx, 0, x))
        return ctx.build.op("select_v2", [condition, compute(ctx, "mul", x, slope), x])
    if slope.data is not None and slope.data.size and np.all(slope.data == slope.data.flat[0]):
        return ctx.build.op("leaky_relu", [x], LeakyReluAttributes(float(slope.data.flat[0])))
    return ctx.build.op("prelu", [x, slope])


@lowers("Elu", dynamic=True)
def elu(ctx: LoweringContext) -> Value:
    """max(x, 0) + alpha (e^min(x, 0) - 1)."""
    return _scaled_elu(ctx, 1.0, ctx.float("alpha", 1.0))


@lowers("Selu", dynamic=True)
def selu(ctx: LoweringContext) -> Value:
    """gamma max(x, 0) + gamma alpha (e^min(x, 0) - 1)."""
    gamma = ctx.float("gamma", _SELU_GAMMA)
    return _scaled_elu(ctx, gamma, gamma * ctx.float("alpha", _SELU_ALPHA))


@lowers("Celu", dynamic=True)
def celu(ctx: LoweringContext) -> Value:
    """max(x, 0) + alpha (e^(min(x, 0) / alpha) - 1)."""
    alpha = ctx.float("alpha", 1.0)
    if alpha <= 0:
        raise LoweringError(
            f"has alpha {alpha:g}", "The exponential would grow instead of saturating.", "Use alpha above 0."
        )
    return _scaled_elu(ctx, 1.0, alpha, 1.0 / alpha)


def _scaled_elu(ctx: LoweringContext, above: float, below: float, steepness: float = 1.0) -> Value:
    """above · max(x, 0) + below · elu(steepness · min(x, 0)): the kernel has no settings of its own."""
    x, build = ctx.input(0), ctx.build
    if above == below == steepness == 1.0:
        return build.op("elu", [x])
    positive = _times(ctx, build.op("relu", [x]), above)
    negative = _times(ctx, build.op("minimum", [x, number(ctx, 0.0, x)]), steepness)
    return build.op("add", [positive, _times(ctx, build.op("elu", [negative]), below)])


def _times(ctx: LoweringContext, x: Value, factor: float) -> Value:
    """Return x times a number, x itself for 1."""
    return x if np.float32(factor) == 1 else ctx.build.op("mul", [x, number(ctx, factor, x)])


@lowers("HardSigmoid", dynamic=True)
def hard_sigmoid(ctx: LoweringContext) -> Value:
    """min(max(alpha x + beta, 0), 1) = relu6(6 alpha x + 6 beta) / 6: relu6 fuses into the sum before it."""
    x, build = ctx.input(0), ctx.build
    alpha, beta = ctx.float("alpha", 0.2), ctx.float("beta", 0.5)
    line = build.op("add", [_times(ctx, x, 6 * alpha), number(ctx, 6 * beta, x)])
    return build.op("mul", [build.op("relu6", [line]), number(ctx, 1 / 6, x)])


@lowers("Softplus", dynamic=True)
def softplus(ctx: LoweringContext) -> Value:
    """max(x, 0) + log(1 + e^-|x|): the exponential never overflows."""
    x, build = ctx.input(0), ctx.build
    decay = build.op("exp", [build.op("neg", [build.op("abs", [x])])])
    return build.op("add", [build.op("relu", [x]), _log_one_plus(ctx, decay)])


_ATANH_TERMS = 7


def _log_one_plus(ctx: LoweringContext, z: Value) -> Value:
    """log(1 + z) = 2 atanh(s), s = z / (2 + z), for z in [0, 1]: 1 + z would lose the digits of small z.

    s is at most 1/3, so the series s + s³/3 + s⁵/5 + … to seven terms has a relative error below 2e-8.
    """
    build = ctx.build
    s = build.op("div", [z, build.op("add", [z, number(ctx, 2.0, z)])])
    square = build.op("mul", [s, s])
    series = number(ctx, 1 / (2 * _ATANH_TERMS - 1), z)
    for term in range(_ATANH_TERMS - 2, -1, -1):
        series = build.op("add", [build.op("mul", [series, square]), number(ctx, 1 / (2 * term + 1), z)])
    return build.op("mul", [build.op("mul", [s, series]), number(ctx, 2.0, z)])


@lowers("Softsign", dynamic=True)
def softsign(ctx: LoweringContext) -> Value:
    """x / (1 + |x|)."""
    x, build = ctx.input(0), ctx.build
    return build.op("div", [x, build.op("add", [build.op("abs", [x]), number(ctx, 1.0, x)])])


@lowers("ThresholdedRelu", dynamic=True)
def thresholded_relu(ctx: LoweringContext) -> Value:
    """x where x > alpha, else 0."""
    x, build = ctx.input(0), ctx.build
    passes = build.op("greater", [x, number(ctx, ctx.float("alpha", 1.0), x)])
    return build.op("select_v2", [passes, x, number(ctx, 0.0, x)])


@lowers("Gelu", dynamic=True)
def gelu(ctx: LoweringContext) -> Value:
    """The kernel of the same name, in its exact form or its tanh approximation."""
    return ctx.build.op("gelu", [ctx.input(0)], GeluAttributes(ctx.string("approximate", "none") == "tanh"))


@lowers("Erf", dynamic=True)
def erf(ctx: LoweringContext) -> Value:
    """A quotient of polynomials, see `edgec.ops.erf`."""
    return build_erf(ctx.build, ctx.input(0))


@lowers("Mish", dynamic=True)
def mish(ctx: LoweringContext) -> Value:
    """x tanh(log(1 + e^x)) = x n / (n + 2) with n = e^x (e^x + 2); beyond x = 20 the quotient is 1."""
    x, build = ctx.input(0), ctx.build
    two = number(ctx, 2.0, x)
    power = build.op("exp", [build.op("minimum", [x, number(ctx, 20.0, x)])])
    n = build.op("mul", [power, build.op("add", [power, two])])
    return build.op("mul", [x, build.op("div", [n, build.op("add", [n, two])])])


@lowers("Swish", dynamic=True)
def swish(ctx: LoweringContext) -> Value:
    """x · sigmoid(alpha x)."""
    x = ctx.input(0)
    gate = ctx.build.op("logistic", [_times(ctx, x, ctx.float("alpha", 1.0))])
    return ctx.build.op("mul", [x, gate])


@lowers("Shrink", dynamic=True)
def shrink(ctx: LoweringContext) -> Value:
    """x - bias above lambd, x + bias below -lambd, 0 between."""
    x, build = ctx.input(0), ctx.build
    if x.dtype is not DType.FLOAT32:
        raise LoweringError(
            f"shrinks {x.dtype}", "Its bias and limits are floats.", "Cast to float32 in the source model."
        )
    lambd, bias = ctx.float("lambd", 0.5), number(ctx, ctx.float("bias"), x)
    below = build.op("less", [x, number(ctx, -lambd, x)])
    above = build.op("greater", [x, number(ctx, lambd, x)])
    rest = build.op("select_v2", [above, build.op("sub", [x, bias]), number(ctx, 0.0, x)])
    return build.op("select_v2", [below, build.op("add", [x, bias]), rest])
