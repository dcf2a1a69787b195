"""Reductions along axes, the place of the largest or smallest entry, running sums and the k best."""

from __future__ import annotations

import numpy as np

from edgec.frontends.onnx.axes import axes_setting, checked_axis
from edgec.frontends.onnx.context import LoweringContext, LoweringError
from edgec.frontends.onnx.integers import absolute, compute, compute_type, number
from edgec.frontends.onnx.registry import lowers
from edgec.ir import DType, Value
from edgec.ops.reduce import ArgMaxAttributes, ArgMinAttributes, CumsumAttributes, ReducerAttributes

_REDUCTIONS = {
    "ReduceMean": "mean",
    "ReduceSum": "sum",
    "ReduceMax": "reduce_max",
    "ReduceMin": "reduce_min",
    "ReduceProd": "reduce_prod",
}
_BOOLEAN = {"ReduceMax": "reduce_any", "ReduceMin": "reduce_all"}


@lowers(*_REDUCTIONS)
def reduction(ctx: LoweringContext) -> Value:
    """The kernel of the same name; on bools the largest is any, the smallest is all."""
    x = ctx.input(0)
    if x.dtype is DType.BOOL and ctx.op_type in _BOOLEAN:
        return _reduced(ctx, _BOOLEAN[ctx.op_type], x)
    return _reduced(ctx, _REDUCTIONS[ctx.op_type], x)


@lowers("ReduceL1")
def reduce_l1(ctx: LoweringContext) -> Value:
    """Σ |x|."""
    return _reduced(ctx, "sum", absolute(ctx, ctx.input(0)))


@lowers("ReduceSumSquare")
def reduce_sum_square(ctx: LoweringContext) -> Value:
    """Σ x²."""
    return _sum_of_squares(ctx)


@lowers("ReduceL2")
def reduce_l2(ctx: LoweringContext) -> Value:
    """√(Σ x²)."""
    _require_floats(ctx)
    return ctx.build.op("sqrt", [_sum_of_squares(ctx)])


@lowers("ReduceLogSum")
def reduce_log_sum(ctx: LoweringContext) -> Value:
    """log Σ x."""
    _require_floats(ctx)
    return ctx.build.op("log", [_reduced(ctx, "sum", ctx.input(0))])


@lowers("ReduceLogSumExp")
def reduce_log_sum_exp(ctx: LoweringContext) -> Value:
    """m + log Σ e^(x - m) with m = max x, held finite so that infinities do not cancel to NaN."""
    _require_floats(ctx)
    x, build = ctx.input(0), ctx.build
    largest = float(np.finfo(np.float32).max)
    peak = _reduced(ctx, "reduce_max", x, keep_dims=True)
    peak = build.op("minimum", [peak, number(ctx, largest, x)])
    peak = build.op("maximum", [peak, number(ctx, -largest, x)])
    total = _reduced(ctx, "sum", build.op("exp", [build.op("sub", [x, peak])]))
    logarithm = build.op("log", [total])
    return build.op("add", [logarithm, build.reshape(peak, logarithm.shape)])


def _sum_of_squares(ctx: LoweringContext) -> Value:
    x = ctx.input(0)
    return _reduced(ctx, "sum", compute(ctx, "mul", x, x))


def _require_floats(ctx: LoweringContext) -> None:
    if ctx.input(0).dtype is not DType.FLOAT32:
        raise LoweringError(
            f"takes roots or logarithms of {ctx.input(0).dtype}",
            "Their kernels compute in float32.",
            "Cast to float32 in the source model.",
        )


def _reduced(ctx: LoweringContext, kind: str, x: Value, keep_dims: bool | None = None) -> Value:
    """Reduce along the node's axes (attribute, or operand 1 in newer opsets); no axes means all of them."""
    axes = axes_setting(ctx, 1, x.type.rank)
    if not axes:
        axes = [] if ctx.int("noop_with_empty_axes") else list(range(x.type.rank))
    if not axes:
        return x
    keep = bool(ctx.int("keepdims", 1)) if keep_dims is None else keep_dims
    wide = x if x.dtype is DType.BOOL else ctx.cast(x, compute_type(x.dtype))
    operands = [wide, ctx.build.constant(sorted(axes))]
    return ctx.cast(ctx.build.op(kind, operands, ReducerAttributes(keep)), x.dtype)


@lowers("ArgMax", "ArgMin")
def arg(ctx: LoweringContext) -> Value:
    """The kernel of the same name, which takes the first of equals; the last one is the first from behind."""
    x = ctx.input(0)
    axis = checked_axis(ctx.int("axis"), x.type.rank)
    size = x.shape[axis]
    backwards = bool(ctx.int("select_last_index"))
    if backwards:
        x = ctx.build.op("reverse_v2", [x, ctx.build.constant([axis])])
    place = _first_extreme(ctx, x, axis)
    if backwards:
        place = ctx.build.op("sub", [number(ctx, size - 1, place), place])
    if not ctx.int("keepdims", 1):
        return place
    return ctx.build.reshape(place, [1 if a == axis else dim for a, dim in enumerate(x.shape)])


def _first_extreme(ctx: LoweringContext, x: Value, axis: int) -> Value:
    """Return int64 indices without the axis; int64 data, for which there is no kernel, ranks by topk_v2."""
    largest = ctx.op_type == "ArgMax"
    wide = ctx.cast(x, compute_type(x.dtype))
    if wide.dtype is DType.INT64:
        _, place = _best(ctx, wide, axis, 1, largest)
        return ctx.build.reshape(place, [dim for a, dim in enumerate(x.shape) if a != axis])
    attributes = ArgMaxAttributes() if largest else ArgMinAttributes()
    return ctx.build.op("arg_max" if largest else "arg_min", [wide, ctx.build.constant(axis)], attributes)


@lowers("CumSum")
def cumsum(ctx: LoweringContext) -> Value:
    """The kernel of the same name."""
    x = ctx.input(0)
    axis = ctx.build.constant(checked_axis(ctx.constant_ints(1)[0], x.type.rank))
    attributes = CumsumAttributes(bool(ctx.int("exclusive")), bool(ctx.int("reverse")))
    wide = ctx.cast(x, compute_type(x.dtype))
    return ctx.cast(ctx.build.op("cumsum", [wide, axis], attributes), x.dtype)


@lowers("TopK")
def top_k(ctx: LoweringContext) -> list[Value | None]:
    """topk_v2 along the last axis, which the axis is moved to; the smallest are the largest of -x."""
    x = ctx.input(0)
    axis = checked_axis(ctx.int("axis", -1), x.type.rank)
    k = ctx.int("k") if ctx.has("k") else ctx.constant_ints(1)[0]
    wide = ctx.cast(x, compute_type(x.dtype))
    values, indices = _best(ctx, wide, axis, k, bool(ctx.int("largest", 1)))
    return [ctx.cast(values, x.dtype), indices if ctx.wants_output(1) else None]


def _best(ctx: LoweringContext, x: Value, axis: int, k: int, largest: bool) -> tuple[Value, Value]:
    """Return the k best along an axis in order, and their int64 indices."""
    build, rank = ctx.build, x.type.rank
    to_last = [a for a in range(rank) if a != axis] + [axis]
    back = np.argsort(to_last).tolist()
    ranked = build.transpose(x if largest else _reversed_order(ctx, x), to_last)
    values, indices = build.node("topk_v2", [ranked, build.constant(k)]).results
    values = build.transpose(values, back)
    return (
        values if largest else _reversed_order(ctx, values),
        ctx.cast(build.transpose(indices, back), DType.INT64),
    )


def _reversed_order(ctx: LoweringContext, x: Value) -> Value:
    """Return -x, or -1 - x for integers: it undoes itself, and the lowest integer does not overflow."""
    if x.dtype is DType.FLOAT32:
        return ctx.build.op("neg", [x])
    return ctx.build.op("sub", [number(ctx, -1, x), x])
