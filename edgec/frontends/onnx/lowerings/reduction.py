"""Reductions along axes, the place of the largest or smallest entry, running sums and the k best."""

from __future__ import annotations

import numpy as np

from edgec.frontends.onnx.axes import axes_setting, checked_axis
from edgec.frontends.onnx.context import LoweringContext, LoweringError
from edgec.frontends.onnx.integers import absolute, compute, compute_type, number
from edgec.frontends.onnx.registry import lowers
from edgec.frontends.onnx.sizes import dim, int32, length, reshaped, scalar, shape_of
from edgec.ir import DYNAMIC, DType, Value
from edgec.ops.reduce import ArgMaxAttributes, ArgMinAttributes, CumsumAttributes, ReducerAttributes

_REDUCTIONS = {
    "ReduceMean": "mean",
    "ReduceSum": "sum",
    "ReduceMax": "reduce_max",
    "ReduceMin": "reduce_min",
    "ReduceProd": "reduce_prod",
}
_BOOLEAN = {"ReduceMax": "reduce_any", "ReduceMin": "reduce_all"}


@lowers(*_REDUCTIONS, dynamic=True)
def reduction(ctx: LoweringContext) -> Value:
    """The kernel of the same name; on bools the largest is any, the smallest is all."""
    x = ctx.input(0)
    if x.dtype is DType.BOOL and ctx.op_type in _BOOLEAN:
        return _reduced(ctx, _BOOLEAN[ctx.op_type], x)
    result = _reduced(ctx, _REDUCTIONS[ctx.op_type], x)
    if 0 in x.shape and x.dtype is DType.FLOAT32 and ctx.op_type in _BOOLEAN:
        # Without any number, the kernels return the lowest (highest) finite one instead of infinity.
        nothing = -np.inf if ctx.op_type == "ReduceMax" else np.inf
        return ctx.build.op("fill", [shape_of(ctx.build, result), number(ctx, nothing, x)])
    return result


@lowers("ReduceL1", dynamic=True)
def reduce_l1(ctx: LoweringContext) -> Value:
    """Σ |x|."""
    return _reduced(ctx, "sum", absolute(ctx, ctx.input(0)))


@lowers("ReduceSumSquare", dynamic=True)
def reduce_sum_square(ctx: LoweringContext) -> Value:
    """Σ x²."""
    return _sum_of_squares(ctx)


@lowers("ReduceL2", dynamic=True)
def reduce_l2(ctx: LoweringContext) -> Value:
    """√(Σ x²)."""
    _require_floats(ctx)
    return ctx.build.op("sqrt", [_sum_of_squares(ctx)])


@lowers("ReduceLogSum", dynamic=True)
def reduce_log_sum(ctx: LoweringContext) -> Value:
    """log Σ x."""
    _require_floats(ctx)
    return ctx.build.op("log", [_reduced(ctx, "sum", ctx.input(0))])


@lowers("ReduceLogSumExp", dynamic=True)
def reduce_log_sum_exp(ctx: LoweringContext) -> Value:
    """m + log Σ e^(x - m) with m = max x, held finite so that infinities do not cancel to NaN."""
    _require_floats(ctx)
    x, build = ctx.input(0), ctx.build
    largest = float(np.finfo(np.float32).max)

    def peak(keep_dims: bool) -> Value:
        bounded = build.op("minimum", [_reduced(ctx, "reduce_max", x, keep_dims), number(ctx, largest, x)])
        return build.op("maximum", [bounded, number(ctx, -largest, x)])

    total = _reduced(ctx, "sum", build.op("exp", [build.op("sub", [x, peak(True)])]))
    if 0 in x.shape:
        return build.op("log", [total])  # -inf, which adding the peak would clamp in the builtin kernel
    return build.op("add", [build.op("log", [total]), peak(bool(ctx.int("keepdims", 1)))])


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
    axes = _axes(ctx, x)
    if axes.shape == (0,):
        return x
    keep = bool(ctx.int("keepdims", 1)) if keep_dims is None else keep_dims
    wide = x if x.dtype is DType.BOOL else ctx.cast(x, compute_type(x.dtype))
    return ctx.cast(ctx.build.op(kind, [wide, axes], ReducerAttributes(keep)), x.dtype)


def _axes(ctx: LoweringContext, x: Value) -> Value:
    """Return what to reduce along as int32; the kernel resolves negative axes that the run time computes."""
    given = ctx.optional_input(1)
    if given is not None and given.data is None and length(ctx, 1):
        return int32(ctx.build, given)
    axes = axes_setting(ctx, 1, x.type.rank) if given is None or given.data is not None else None
    if not axes:
        axes = [] if ctx.int("noop_with_empty_axes") else list(range(x.type.rank))
    return ctx.build.constant(np.asarray(sorted(axes), np.int32))


@lowers("ArgMax", "ArgMin", dynamic=True)
def arg(ctx: LoweringContext) -> Value:
    """The kernel of the same name, which takes the first of equals; the last one is the first from behind."""
    x = ctx.input(0)
    axis = checked_axis(ctx.int("axis"), x.type.rank)
    size = x.shape[axis]
    backwards = bool(ctx.int("select_last_index"))
    if backwards and size == DYNAMIC:
        raise LoweringError(
            f"counts from the end of an axis of {x.type}",
            "Its size is known at run time only.",
            "Pin it with --input-shape.",
        )
    if backwards:
        x = ctx.build.op("reverse_v2", [x, ctx.build.constant([axis])])
    place = _first_extreme(ctx, x, axis)
    if backwards:
        place = ctx.build.op("sub", [number(ctx, size - 1, place), place])
    if not ctx.int("keepdims", 1):
        return place
    sizes = [1 if a == axis else dim(ctx.build, x, a) for a in range(x.type.rank)]
    return reshaped(ctx.build, place, sizes)


def _first_extreme(ctx: LoweringContext, x: Value, axis: int) -> Value:
    """Return int64 indices without the axis; int64 data, for which there is no kernel, ranks by topk_v2."""
    largest = ctx.op_type == "ArgMax"
    wide = ctx.cast(x, compute_type(x.dtype))
    if wide.dtype is DType.INT64:
        _, place = _best(ctx, wide, axis, ctx.build.constant(1), largest)
        return reshaped(ctx.build, place, [dim(ctx.build, x, a) for a in range(x.type.rank) if a != axis])
    attributes = ArgMaxAttributes() if largest else ArgMinAttributes()
    return ctx.build.op("arg_max" if largest else "arg_min", [wide, ctx.build.constant(axis)], attributes)


@lowers("CumSum", dynamic=True)
def cumsum(ctx: LoweringContext) -> Value:
    """The kernel of the same name."""
    x = ctx.input(0)
    axis = scalar(ctx.build, ctx.input(1))
    if axis.data is not None:
        axis = ctx.build.constant(checked_axis(int(axis.data), x.type.rank))
    attributes = CumsumAttributes(bool(ctx.int("exclusive")), bool(ctx.int("reverse")))
    wide = ctx.cast(x, compute_type(x.dtype))
    return ctx.cast(ctx.build.op("cumsum", [wide, axis], attributes), x.dtype)


@lowers("TopK", dynamic=True)
def top_k(ctx: LoweringContext) -> list[Value | None]:
    """topk_v2 along the last axis, which the axis is moved to; the smallest are the largest of -x."""
    x = ctx.input(0)
    axis = checked_axis(ctx.int("axis", -1), x.type.rank)
    k = ctx.build.constant(ctx.int("k")) if ctx.has("k") else scalar(ctx.build, ctx.input(1))
    wide = ctx.cast(x, compute_type(x.dtype))
    values, indices = _best(ctx, wide, axis, k, bool(ctx.int("largest", 1)))
    return [ctx.cast(values, x.dtype), indices if ctx.wants_output(1) else None]


def _best(ctx: LoweringContext, x: Value, axis: int, k: Value, largest: bool) -> tuple[Value, Value]:
    """Return the k best along an axis in order, and their int64 indices."""
    build, rank = ctx.build, x.type.rank
    to_last = [a for a in range(rank) if a != axis] + [axis]
    back = np.argsort(to_last).tolist()
    ranked = build.transpose(x if largest else _reversed_order(ctx, x), to_last)
    values, indices = build.node("topk_v2", [ranked, k]).results
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
