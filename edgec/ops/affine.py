"""Quantization as float arithmetic, exactly as ONNX defines it, where the kernels round in their own way.

    quantized     q = clamp(round_half_even(x / scale) + zero_point)
    dequantized   x = (q - zero_point) * scale

The quantize kernels multiply by 1 / scale, and some round ties away from zero. All numbers between are whole
and below 2^24, so float32 holds them.
"""

from __future__ import annotations

import numpy as np

from edgec.ir import DType, Value
from edgec.ops.builder import Builder
from edgec.ops.elementwise import CastAttributes


def quantized(build: Builder, x: Value, scale: Value, zero_point: Value | None, dtype: DType) -> Value:
    """Return the integers of real `x`; `scale` and the float `zero_point` broadcast to it."""
    steps = build.op("round", [build.op("div", [x, scale])])
    if zero_point is not None:
        steps = build.op("add", [steps, zero_point])
    return saturated(build, steps, dtype)


def saturated(build: Builder, steps: Value, dtype: DType) -> Value:
    """Return whole float numbers as integers, clamped to the element type's range."""
    limits = np.iinfo(dtype.value)
    low, high = (build.constant(float(limit)) for limit in (limits.min, limits.max))
    clamped = build.op("minimum", [build.op("maximum", [steps, low]), high])
    return cast(build, clamped, dtype)


def dequantized(build: Builder, x: Value, scale: Value, zero_point: Value | None) -> Value:
    """Return the real values of integers; `zero_point` has the element type of `x`."""
    return build.op("mul", [shifted(build, x, zero_point), scale])


def shifted(build: Builder, x: Value, zero_point: Value | None) -> Value:
    """Return `x - zero_point` as float32; int32 is subtracted before it is rounded to float32."""
    if zero_point is None:
        return cast(build, x, DType.FLOAT32)
    if x.dtype is DType.INT32:
        return cast(build, build.op("sub", [x, zero_point]), DType.FLOAT32)
    return build.op("sub", [cast(build, x, DType.FLOAT32), cast(build, zero_point, DType.FLOAT32)])


def cast(build: Builder, x: Value, dtype: DType) -> Value:
    """Return `x` in another element type; integer constants are converted at once."""
    if x.dtype is dtype:
        return x
    if x.data is not None and not x.dtype.is_float:
        return build.constant(x.data.astype(dtype.numpy), name=x.name)
    return build.op("cast", [x], CastAttributes(x.dtype, dtype))
