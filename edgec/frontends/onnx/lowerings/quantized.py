"""Operators of models that are quantized already.

Q- and DequantizeLinear with constant per-tensor parameters become the bridges `quantize` and `dequantize`;
the pass `absorb_quantization` later makes int8 nodes of what stands between them. A QLinear operator with
constant symmetric weights is written in the same way, `dequantize → op → quantize`. Everything else is
arithmetic that gives onnxruntime's integers: sums of products in float32 over runs so short that every sum is
exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod

import numpy as np

from edgec.frontends.onnx.context import LoweringContext, LoweringError
from edgec.frontends.onnx.integers import number
from edgec.frontends.onnx.lowerings.convolution import conv
from edgec.frontends.onnx.lowerings.matmul import matmul, reshaped
from edgec.frontends.onnx.quantization import Parameters, quantized_type, read_parameters
from edgec.frontends.onnx.registry import Lowering, lowers
from edgec.ir import Array, DType, Value
from edgec.ops import affine
from edgec.ops.grids import on_grid
from edgec.ops.quantization import GridAttributes
from edgec.ops.reduce import ReducerAttributes

_EXACT = 1 << 24
"""Whole numbers up to here are exact in float32, in whatever order they are added."""

_LARGEST = 255
"""The largest distance of an 8-bit integer from a zero point of its type."""


@lowers("QuantizeLinear", dynamic=True)
def quantize_linear(ctx: LoweringContext) -> Value:
    """clamp(round_half_even(x / scale) + zero_point), the element type taken from the zero point."""
    x = ctx.cast(ctx.input(0), DType.FLOAT32)
    parameters = read_parameters(ctx, 1, x, quantized_type(ctx))
    return _quantized(ctx, x, parameters)


@lowers("DequantizeLinear", dynamic=True)
def dequantize_linear(ctx: LoweringContext) -> Value:
    """(x - zero_point) * scale; a constant becomes real at once and keeps its grid."""
    x = ctx.input(0)
    return _dequantized(ctx, x, read_parameters(ctx, 1, x, x.dtype))


@lowers("DynamicQuantizeLinear", dynamic=True)
def dynamic_quantize_linear(ctx: LoweringContext) -> list[Value | None]:
    """uint8 with the scale and zero point of the data's own range, which includes 0."""
    x, build = ctx.input(0), ctx.build
    zero, one = number(ctx, 0.0, x), number(ctx, 1.0, x)
    low = build.op("minimum", [_reduced(ctx, "reduce_min", x), zero])
    high = build.op("maximum", [_reduced(ctx, "reduce_max", x), zero])
    extent = build.op("sub", [high, low])
    step = build.op("div", [extent, number(ctx, 255.0, x)])
    # All zeros: any scale will do but 0, by which nothing can be divided.
    scale = build.op("select_v2", [build.op("equal", [extent, zero]), one, step])
    start = build.op("round", [build.op("div", [build.op("neg", [low]), scale])])
    zero_point = affine.saturated(build, start, DType.UINT8)
    y = affine.quantized(build, x, scale, affine.cast(build, zero_point, DType.FLOAT32), DType.UINT8)
    return [y, scale, zero_point]


def _reduced(ctx: LoweringContext, kind: str, x: Value) -> Value:
    if not x.type.rank:
        return x
    axes = ctx.build.constant(list(range(x.type.rank)))
    return ctx.build.op(kind, [x, axes], ReducerAttributes(keep_dims=False))


@lowers("QLinearConv")
def qlinear_conv(ctx: LoweringContext) -> Value:
    """Convolution of integers; the int32 bias has the scale of the products."""
    x, weights, bias = ctx.input(0), ctx.input(3), ctx.optional_input(8)
    of_x = Parameters(ctx.input(1), ctx.optional_input(2), x.dtype)
    of_w = Parameters(ctx.input(4), ctx.optional_input(5), weights.dtype)
    of_y = Parameters(ctx.input(6), ctx.optional_input(7), _result_type(ctx, 7, x.dtype))
    if _is_native(of_x, of_w, of_y, weights) and (bias is None or bias.is_constant):
        inputs = [_dequantized(ctx, x, of_x), _dequantized(ctx, weights, of_w)]
        inputs += [] if bias is None else [_real_bias(ctx, bias, of_x, of_w)]
        return _quantized(ctx, _run(conv, ctx, inputs), of_y)
    total = _conv_integer(ctx, x, of_x, weights, of_w)
    channels = [1, -1, *[1] * (x.type.rank - 2)]
    if bias is not None:
        shape = [bias.type.size if dim < 0 else dim for dim in channels]
        total = ctx.build.op("add", [total, reshaped(ctx.build, bias, shape)])
    w_scale = of_w.scale
    if w_scale.type.size > 1:
        w_scale = reshaped(ctx.build, w_scale, [w_scale.type.size if dim < 0 else dim for dim in channels])
    return _requantized(ctx, total, of_x.scale, w_scale, of_y)


@lowers("QLinearMatMul")
def qlinear_matmul(ctx: LoweringContext) -> Value:
    """Matrix product of integers, requantized."""
    a, b = ctx.input(0), ctx.input(3)
    of_a = Parameters(ctx.input(1), ctx.optional_input(2), a.dtype)
    of_b = Parameters(ctx.input(4), ctx.optional_input(5), b.dtype, axis=b.type.rank - 1)
    of_y = Parameters(ctx.input(6), ctx.optional_input(7), _result_type(ctx, 7, a.dtype))
    if _is_native(of_a, of_b, of_y, b):
        inputs = [_dequantized(ctx, a, of_a), _dequantized(ctx, b, of_b)]
        return _quantized(ctx, _run(matmul, ctx, inputs), of_y)
    total = _matmul_integer(ctx, a, of_a.zero_point, b, of_b.zero_point)
    return _requantized(ctx, total, _by_row(ctx, of_a.scale), _scalar(ctx, of_b.scale), of_y)


@lowers("ConvInteger")
def conv_integer(ctx: LoweringContext) -> Value:
    """int32 convolution of 8-bit integers."""
    x, weights = ctx.input(0), ctx.input(1)
    one = ctx.build.constant(1.0)
    of_x = Parameters(one, ctx.optional_input(2), x.dtype)
    of_w = Parameters(one, ctx.optional_input(3), weights.dtype)
    return _conv_integer(ctx, x, of_x, weights, of_w)


@lowers("MatMulInteger")
def matmul_integer(ctx: LoweringContext) -> Value:
    """int32 matrix product of 8-bit integers."""
    return _matmul_integer(ctx, ctx.input(0), ctx.optional_input(2), ctx.input(1), ctx.optional_input(3))


def _run(lowering: Lowering, ctx: LoweringContext, inputs: Sequence[Value]) -> Value:
    """Lower the node as the real operator of the same attributes, on other operands."""
    result = lowering(replace(ctx, inputs=list(inputs)))
    assert isinstance(result, Value)
    return result


def _quantized(ctx: LoweringContext, x: Value, parameters: Parameters) -> Value:
    grid = parameters.grid()
    scale, zero_point = parameters.spread(ctx.build, x)
    if x.data is not None and scale.data is not None and (zero_point is None or zero_point.data is not None):
        return ctx.build.constant(_quantized_array(x.data, scale.data, zero_point, parameters.dtype))
    if grid is not None and parameters.per_tensor:
        return ctx.build.op("quantize", [x], GridAttributes(parameters.dtype, grid))
    point = None if zero_point is None else affine.cast(ctx.build, zero_point, DType.FLOAT32)
    return affine.quantized(ctx.build, x, scale, point, parameters.dtype)


def _quantized_array(x: Array, scale: Array, zero_point: Value | None, dtype: DType) -> Array:
    limits = np.iinfo(dtype.value)
    steps = np.rint(np.divide(x, scale, dtype=np.float32)).astype(np.float64)
    if zero_point is not None and zero_point.data is not None:
        steps = steps + zero_point.data.astype(np.float64)
    return np.clip(steps, limits.min, limits.max).astype(dtype.numpy)


def _dequantized(ctx: LoweringContext, x: Value, parameters: Parameters) -> Value:
    grid = parameters.grid()
    scale, zero_point = parameters.spread(ctx.build, x)
    if x.data is not None and scale.data is not None and (zero_point is None or zero_point.data is not None):
        steps = x.data.astype(np.int64)
        if zero_point is not None and zero_point.data is not None:
            steps = steps - zero_point.data.astype(np.int64)
        data = np.multiply(steps.astype(np.float32), scale.data, dtype=np.float32)
        return on_grid(ctx.build, data, parameters.int8_grid())
    if grid is not None and parameters.per_tensor and x.data is None:
        return ctx.build.op("dequantize", [x], GridAttributes(parameters.dtype, grid))
    return affine.dequantized(ctx.build, x, scale, zero_point)


def _result_type(ctx: LoweringContext, index: int, default: DType) -> DType:
    zero_point = ctx.optional_input(index)
    return default if zero_point is None else zero_point.dtype


def _is_native(x: Parameters, weights: Parameters, y: Parameters, data: Value) -> bool:
    """Whether int8 kernels have this form: constant parameters, constant weights whose zero point is 0."""
    grid = weights.int8_grid()
    constant = data.is_constant and grid is not None and not any(grid.zero_point)
    return constant and all(p.grid() is not None and p.per_tensor for p in (x, y))


def _real_bias(ctx: LoweringContext, bias: Value, x: Parameters, weights: Parameters) -> Value:
    scale = np.multiply(
        x.scale.constant().reshape(-1), weights.scale.constant().reshape(-1), dtype=np.float32
    )
    return ctx.build.constant(np.multiply(bias.constant().astype(np.float32), scale, dtype=np.float32))


def _conv_integer(ctx: LoweringContext, x: Value, of_x: Parameters, w: Value, of_w: Parameters) -> Value:
    channels = w.shape[1]
    data = affine.shifted(ctx.build, x, of_x.spread(ctx.build, x)[1])
    weights = affine.shifted(ctx.build, w, of_w.spread(ctx.build, w)[1])
    run = _run_length(prod(w.shape[2:]), channels, weights)
    if run < channels and ctx.int("group", 1) != 1:
        raise _too_long(prod(w.shape[1:]))
    total: Value | None = None
    for begin in range(0, channels, run):
        end = min(begin + run, channels)
        parts = (
            [data, weights] if run >= channels else [_part(ctx, v, 1, begin, end) for v in (data, weights)]
        )
        total = _added(ctx, total, _run(conv, ctx, parts))
    assert total is not None
    return total


def _matmul_integer(
    ctx: LoweringContext, a: Value, a_zero: Value | None, b: Value, b_zero: Value | None
) -> Value:
    left = affine.shifted(ctx.build, a, None if a_zero is None else _by_row(ctx, a_zero))
    right = affine.shifted(ctx.build, b, None if b_zero is None else _scalar(ctx, b_zero))
    depth, axis = a.shape[-1], max(b.type.rank - 2, 0)
    run = _run_length(1, depth, right)
    total: Value | None = None
    for begin in range(0, depth, run):
        end = min(begin + run, depth)
        parts = [left, right]
        if run < depth:
            parts = [_part(ctx, left, a.type.rank - 1, begin, end), _part(ctx, right, axis, begin, end)]
        total = _added(ctx, total, _run(matmul, ctx, parts))
    assert total is not None
    return total


def _run_length(taps: int, channels: int, weights: Value) -> int:
    """Return over how many channels a float32 sum of products stays exact."""
    largest = _LARGEST
    if weights.data is not None:
        largest = max(int(np.abs(weights.data).max(initial=0)), 1)
    run = (_EXACT - 1) // (taps * largest * _LARGEST)
    if run < 1:
        raise _too_long(taps)
    return min(run, max(channels, 1))


def _too_long(count: int) -> LoweringError:
    return LoweringError(
        f"sums {count} products of 8-bit integers at once",
        "No kernel returns int32 sums, and float32 ones are exact only up to 2^24.",
        "Use QLinearConv or a float convolution.",
    )


def _part(ctx: LoweringContext, x: Value, axis: int, begin: int, end: int) -> Value:
    if x.data is not None:
        return ctx.build.constant(np.take(x.data, range(begin, end), axis), name=x.name)
    start, size = [0] * x.type.rank, list(x.shape)
    start[axis], size[axis] = begin, end - begin
    return ctx.build.op("slice", [x, ctx.build.constant(start), ctx.build.constant(size)])


def _added(ctx: LoweringContext, total: Value | None, part: Value) -> Value:
    whole = affine.cast(ctx.build, part, DType.INT32)
    return whole if total is None else ctx.build.op("add", [total, whole])


def _requantized(ctx: LoweringContext, total: Value, a: Value, b: Value, of_y: Parameters) -> Value:
    """round(total * (a * b / scale)) + zero_point: onnxruntime's float requantization."""
    build = ctx.build
    scale, zero_point = of_y.spread(build, total)
    factor = build.op("div", [build.op("mul", [_scalar(ctx, a), _scalar(ctx, b)]), scale])
    steps = build.op("round", [build.op("mul", [affine.cast(build, total, DType.FLOAT32), factor])])
    if zero_point is not None:
        steps = build.op("add", [steps, affine.cast(build, zero_point, DType.FLOAT32)])
    return affine.saturated(build, steps, of_y.dtype)


def _scalar(ctx: LoweringContext, value: Value) -> Value:
    return reshaped(ctx.build, value, []) if value.type.size == 1 else value


def _by_row(ctx: LoweringContext, value: Value) -> Value:
    """Parameters of the left operand may differ between its rows: `[M]` becomes `[M, 1]`."""
    if value.type.size == 1:
        return _scalar(ctx, value)
    return reshaped(ctx.build, value, [*value.shape, 1]) if value.type.rank == 1 else value
