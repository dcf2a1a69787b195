"""Operators that ONNX defines by a function body, where a few kernels say it shorter."""

from __future__ import annotations

from edgec.frontends.onnx.axes import checked_axis
from edgec.frontends.onnx.context import LoweringContext, LoweringError
from edgec.frontends.onnx.registry import lowers
from edgec.ir import Value
from edgec.ops.reduce import ReducerAttributes


@lowers("RMSNormalization", since=23)
def rms_normalization(ctx: LoweringContext) -> Value:
    """x / √(mean of x² over the axes from `axis` on + epsilon) * scale."""
    x, build = ctx.input(0), ctx.build
    axes = list(range(checked_axis(ctx.int("axis", -1), x.type.rank), x.type.rank))
    squares = build.op("mul", [x, x])
    power = build.op("mean", [squares, build.constant(axes)], ReducerAttributes(keep_dims=True))
    inverse = build.op("rsqrt", [build.op("add", [power, build.constant(ctx.float("epsilon", 1e-5))])])
    return build.op("mul", [build.op("mul", [x, inverse]), ctx.input(1)])


@lowers("SwiGLU", since=28)
def swiglu(ctx: LoweringContext) -> Value:
    """a * sigmoid(alpha * a) * b."""
    gate, linear = ctx.input(0), ctx.input(1)
    if gate.shape != linear.shape:
        raise LoweringError(
            f"gates {list(linear.shape)} with {list(gate.shape)}",
            "The operator does not broadcast.",
            "Expand one of them in the source model.",
        )
    return ctx.build.op("mul", [swish(ctx, gate, ctx.float("alpha", 1.0)), linear])


def swish(ctx: LoweringContext, x: Value, alpha: float = 1.0) -> Value:
    """Return x * sigmoid(alpha * x)."""
    scaled = x if alpha == 1.0 else ctx.build.op("mul", [x, ctx.build.constant(alpha)])
    return ctx.build.op("mul", [x, ctx.build.op("logistic", [scaled])])
