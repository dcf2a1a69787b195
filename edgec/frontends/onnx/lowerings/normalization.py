"""Normalizations: y = (x - mean) * rsqrt(variance + epsilon) * scale + bias over some axes; and softmax.

The normalizations are spelled in mean, squared_difference, rsqrt, mul and add, which XNNPACK delegates.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

import numpy as np

from edgec.frontends.onnx.context import LoweringContext, LoweringError
from edgec.frontends.onnx.lowerings.matmul import fully_connected, reshaped
from edgec.frontends.onnx.registry import lowers
from edgec.ir import DYNAMIC, Array, DType, Value
from edgec.ops import Builder
from edgec.ops.normalization import LocalResponseNormalizationAttributes
from edgec.ops.reduce import ArgMaxAttributes, ReducerAttributes


@lowers("BatchNormalization", dynamic=True)
def batch_normalization(ctx: LoweringContext) -> Value:
    """x * a + b with a = scale / sqrt(var + epsilon), b = bias - mean * a, computed in float64."""
    _refuse_training(ctx)
    x = ctx.input(0)
    shape = [1, -1, *[1] * (x.type.rank - 2)] if x.type.rank > 1 else [-1]
    parameters = [ctx.input(index) for index in range(1, 5)]
    epsilon = ctx.float("epsilon", 1e-5)
    if any(parameter.data is None for parameter in parameters):
        return _affine_at_run_time(ctx.build, x, parameters, epsilon)
    scale, bias, mean, var = (np.asarray(p.constant(), np.float64).reshape(shape) for p in parameters)
    factor = scale / np.sqrt(var + epsilon)
    offset = bias - mean * factor
    scaled = ctx.build.op("mul", [x, _float32(ctx.build, factor, "scale")])
    return ctx.build.op("add", [scaled, _float32(ctx.build, offset, "offset")])


def _refuse_training(ctx: LoweringContext) -> None:
    if ctx.int("training_mode") or any(ctx.wants_output(index) for index in range(1, 5)):
        raise LoweringError(
            "is in training mode",
            "It would update statistics while the model runs.",
            "Export in inference mode, for instance after model.eval().",
        )
    if ctx.opset < 9 and not ctx.int("spatial", 1):
        raise LoweringError(
            "has spatial=0", "Statistics for each activation went away in opset 9.", "Export at opset 9."
        )


def _float32(build: Builder, data: Array, what: str) -> Value:
    return build.constant(np.asarray(data, np.float32), name=f"{build.source}/{what}")


def _affine_at_run_time(build: Builder, x: Value, parameters: Sequence[Value], epsilon: float) -> Value:
    shape = [1, parameters[0].shape[0], *[1] * (x.type.rank - 2)] if x.type.rank > 1 else [x.shape[0]]
    scale, bias, mean, var = (reshaped(build, parameter, shape) for parameter in parameters)
    centred = build.op("sub", [x, mean])
    factor = build.op("mul", [scale, _inverse_deviation(build, var, epsilon)])
    return build.op("add", [build.op("mul", [centred, factor]), bias])


@lowers("InstanceNormalization", dynamic=True)
def instance_normalization(ctx: LoweringContext) -> Value:
    """Normalize each channel of each sample over its spatial axes."""
    data = ctx.to_channels_last(ctx.input(0))
    axes = range(1, data.type.rank - 1)
    normal = _standardized(ctx.build, data, axes, ctx.float("epsilon", 1e-5))[0]
    return ctx.to_channels_first(_affine(ctx.build, normal, ctx.input(1), ctx.input(2)))


@lowers("LayerNormalization", since=17, dynamic=True)
def layer_normalization(ctx: LoweringContext) -> Sequence[Value]:
    """Normalize over the axes from `axis` on; also returns the mean and the inverse deviation."""
    x = ctx.input(0)
    axes = range(_axis(ctx, x, -1), x.type.rank)
    normal, mean, inverse = _standardized(ctx.build, x, axes, ctx.float("epsilon", 1e-5))
    y = _affine(ctx.build, normal, ctx.input(1), ctx.optional_input(2))
    return [y, mean, inverse][: ctx.output_count]


@lowers("GroupNormalization", since=18)
def group_normalization(ctx: LoweringContext) -> Value:
    """Normalize each group of channels over its channels and spatial axes (scale: one a group, or one a
    channel since opset 21)."""
    x, groups = ctx.input(0), ctx.int("num_groups")
    if groups < 1 or x.shape[1] % groups:
        raise LoweringError(f"{x.shape[1]} channels do not divide into {groups} groups")
    data = ctx.to_channels_last(x)
    shape, each = data.shape, x.shape[1] // groups
    data = ctx.build.reshape(data, [shape[0], prod(shape[1:-1]), groups, each])
    normal = _standardized(ctx.build, data, [1, 3], ctx.float("epsilon", 1e-5))[0]
    per_channel = ctx.input(1).shape == (x.shape[1],) and ctx.opset >= 21
    parameters = [
        reshaped(ctx.build, ctx.input(index), [groups, each if per_channel else 1]) for index in (1, 2)
    ]
    y = ctx.build.reshape(_affine(ctx.build, normal, *parameters), shape)
    return ctx.to_channels_first(y)


@lowers("MeanVarianceNormalization", dynamic=True)
def mean_variance_normalization(ctx: LoweringContext) -> Value:
    """(x - mean) / deviation over `axes`; 1e-18 keeps a variance of zero from dividing by zero."""
    x = ctx.input(0)
    axes = [axis % x.type.rank for axis in ctx.ints("axes", [0, 2, 3]) or []]
    return _standardized(ctx.build, x, axes, 1e-18)[0]


def _standardized(
    build: Builder, x: Value, axes: Sequence[int], epsilon: float
) -> tuple[Value, Value, Value]:
    """Return (x - mean) * inverse deviation, the mean and the inverse deviation."""
    mean, variance = _moments(build, x, axes)
    inverse = _inverse_deviation(build, variance, epsilon)
    return build.op("mul", [build.op("sub", [x, mean]), inverse]), mean, inverse


def _moments(build: Builder, x: Value, axes: Sequence[int]) -> tuple[Value, Value]:
    mean = _reduced(build, "mean", x, axes)
    return mean, _reduced(build, "mean", build.op("squared_difference", [x, mean]), axes)


def _reduced(build: Builder, kind: str, x: Value, axes: Sequence[int]) -> Value:
    return build.op(kind, [x, build.constant(list(axes))], ReducerAttributes(keep_dims=True))


def _inverse_deviation(build: Builder, variance: Value, epsilon: float) -> Value:
    return build.op("rsqrt", [build.op("add", [variance, build.constant(float(epsilon))])])


def _affine(build: Builder, x: Value, scale: Value, bias: Value | None) -> Value:
    y = build.op("mul", [x, scale])
    return y if bias is None else build.op("add", [y, bias])


@lowers("LRN")
def local_response_normalization(ctx: LoweringContext) -> Value:
    """x / (bias + alpha / size * sum of squares of `size` neighbouring channels) ^ beta."""
    x, size = ctx.input(0), ctx.int("size")
    alpha, beta, bias = ctx.float("alpha", 1e-4), ctx.float("beta", 0.75), ctx.float("bias", 1.0)
    data = ctx.to_channels_last(x)
    if size % 2 and data.type.rank == 4:
        attributes = LocalResponseNormalizationAttributes(size // 2, bias, alpha / size, beta)
        return ctx.to_channels_first(ctx.build.op("local_response_normalization", [data], attributes))
    squares = ctx.build.op("mul", [data, data])
    band = _channel_band(x.shape[1], size) * np.float32(alpha / size)
    offset = np.full(x.shape[1], bias, np.float32)
    summed = fully_connected(ctx.build, squares, ctx.build.constant(band), offset)
    divisor = ctx.build.op("pow", [summed, ctx.build.constant(beta)])
    return ctx.to_channels_first(ctx.build.op("div", [data, divisor]))


def _channel_band(channels: int, size: int) -> np.ndarray:
    """Return ones where input channel j lies in output channel i's window, which leans towards the end."""
    offset = np.arange(channels)[None, :] - np.arange(channels)[:, None]
    return ((offset >= -((size - 1) // 2)) & (offset <= size // 2)).astype(np.float32)


@lowers("LpNormalization", dynamic=True)
def lp_normalization(ctx: LoweringContext) -> Value:
    """x / norm along one axis; a vector of zeros stays zero."""
    x, p = ctx.input(0), ctx.int("p", 2)
    if p not in (1, 2):
        raise LoweringError(f"p is {p}", "ONNX defines the norms 1 and 2.", "Export again.")
    if p == 2:
        return _over_axis(ctx, lambda rows: ctx.build.op("l2_normalization", [rows]))
    norm = _reduced(ctx.build, "sum", ctx.build.op("abs", [x]), [_axis(ctx, x, -1)])
    smallest = ctx.build.constant(float(np.finfo(np.float32).tiny))
    return ctx.build.op("div", [x, ctx.build.op("maximum", [norm, smallest])])


@lowers("Softmax", dynamic=True)
def softmax_of_rows(ctx: LoweringContext) -> Value:
    """exp(x) / sum(exp(x)) over all axes from `axis` (default 1) on, as one row."""
    return _over_rows(ctx, lambda x: ctx.build.op("softmax", [x]))


@lowers("Softmax", since=13, dynamic=True)
def softmax(ctx: LoweringContext) -> Value:
    """exp(x) / sum(exp(x)) along one axis."""
    return _over_axis(ctx, lambda x: ctx.build.op("softmax", [x]))


@lowers("LogSoftmax", dynamic=True)
def log_softmax_of_rows(ctx: LoweringContext) -> Value:
    """x - log(sum(exp(x))) over all axes from `axis` (default 1) on, as one row."""
    return _over_rows(ctx, lambda x: ctx.build.op("log_softmax", [x]))


@lowers("LogSoftmax", since=13, dynamic=True)
def log_softmax(ctx: LoweringContext) -> Value:
    """x - log(sum(exp(x))) along one axis."""
    return _over_axis(ctx, lambda x: ctx.build.op("log_softmax", [x]))


@lowers("Hardmax")
def hardmax_of_rows(ctx: LoweringContext) -> Value:
    """1 at the first maximum and 0 elsewhere, over all axes from `axis` (default 1) on, as one row."""
    return _over_rows(ctx, lambda x: _hardmax(ctx, x))


@lowers("Hardmax", since=13)
def hardmax(ctx: LoweringContext) -> Value:
    """1 at the first maximum and 0 elsewhere, along one axis."""
    return _over_axis(ctx, lambda x: _hardmax(ctx, x))


def _over_rows(ctx: LoweringContext, apply: Callable[[Value], Value]) -> Value:
    x = ctx.input(0)
    axis = _axis(ctx, x, 1, end=1)
    if axis == x.type.rank - 1:  # rows already, whatever the other sizes are
        return apply(x)
    if x.shape.count(DYNAMIC) > 1:
        raise LoweringError(
            f"normalizes {x.type}", "Only one of its sizes may be known at run time.", "Pin the others."
        )
    rows = ctx.build.reshape(
        x, [DYNAMIC if DYNAMIC in part else prod(part) for part in (x.shape[:axis], x.shape[axis:])]
    )
    return ctx.build.reshape(apply(rows), x.shape)


def _over_axis(ctx: LoweringContext, apply: Callable[[Value], Value]) -> Value:
    x = ctx.input(0)
    rank, axis = x.type.rank, _axis(ctx, x, -1)
    order = [*(a for a in range(rank) if a != axis), axis]
    y = apply(ctx.build.transpose(x, order))
    return ctx.build.transpose(y, [order.index(a) for a in range(rank)])


def _axis(ctx: LoweringContext, x: Value, default: int, end: int = 0) -> int:
    axis, rank = ctx.int("axis", default), x.type.rank
    if not -rank <= axis < rank + end:
        raise LoweringError(f"axis {axis} is out of range for input {list(x.shape)}")
    return axis + rank if axis < 0 else axis


def _hardmax(ctx: LoweringContext, x: Value) -> Value:
    """Compare every position with the first maximum's: equal(range, arg_max(x))."""
    last = x.type.rank - 1
    axis, positions = ctx.build.constant(last), ctx.build.constant(list(range(x.shape[last])))
    best = ctx.build.op("arg_max", [x, axis], ArgMaxAttributes(DType.INT32))
    best = ctx.build.reshape(best, [*x.shape[:last], 1])
    return ctx.cast(ctx.build.op("equal", [positions, best]), x.dtype)


@lowers("Dropout")
def dropout(ctx: LoweringContext) -> Sequence[Value]:
    """x itself: inference drops nothing. The mask is all ones since opset 12; before, its meaning was open
    and onnxruntime returns zeros."""
    x, training = ctx.input(0), ctx.optional_input(2)
    if training is not None and (training.data is None or training.data.any()):
        raise LoweringError(
            "may be in training mode", "It would drop values at random.", "Export with training_mode false."
        )
    if not ctx.wants_output(1):
        return [x]
    mask = np.full(x.shape, ctx.opset >= 12, np.bool_ if ctx.opset >= 10 else x.dtype.numpy)
    return [x, ctx.build.constant(mask)]
