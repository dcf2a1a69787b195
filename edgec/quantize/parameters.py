"""From ranges and weights to scales, zero points and integers.

    real = scale * (q - zero_point)

    activations   asymmetric int8:  scale = (high - low) / 255,  zero_point = round(-128 - low / scale)
                  with low <= 0 <= high, so that zero (padding, ReLU) is exact
    weights       symmetric narrow int8:  scale = max |w| / 127,  q in [-127, 127]

A scale is a float32 in the file, so it is rounded first and all else follows from the rounded one.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from edgec.ir import Array, DType, Quantization

Floats = npt.NDArray[np.float64]

LEVELS = 255
WEIGHT_LIMIT = 127
MIN_SCALE = 1e-9
"""The least scale of an activation: smaller ones make requantization multipliers no kernel can hold."""

MIN_WEIGHT_SCALE = 1e-30
"""The least scale of weights: far from denormal numbers even when multiplied by an activation's."""

_LIMITS = {DType.INT8: (-128, 127), DType.UINT8: (0, 255)}


def from_range(low: float, high: float, dtype: DType = DType.INT8) -> Quantization:
    """Return asymmetric parameters that cover [low, high] and zero; ValueError for NaN or infinity.

    A tensor that was zero in every sample gets [0, 1]: any other scale would be as right, and this one
    keeps the multipliers of its neighbours ordinary.
    """
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ValueError(f"range [{low}, {high}] is not finite")
    low, high = min(low, 0.0), max(high, 0.0)
    if low == high:
        high = 1.0
    least, greatest = _LIMITS[dtype]
    scale = float(np.float32(max((high - low) / LEVELS, MIN_SCALE)))
    zero_point = round(least - low / scale)
    return Quantization.per_tensor(scale, min(max(zero_point, least), greatest))


def symmetric_from_limit(limit: float) -> Quantization:
    """Return symmetric int8 parameters for [-limit, limit]; ValueError for NaN or infinity."""
    if not math.isfinite(limit):
        raise ValueError(f"limit {limit} is not finite")
    return Quantization.per_tensor(max((limit or 1.0) / WEIGHT_LIMIT, MIN_SCALE))


def represented(quantization: Quantization) -> tuple[float, float]:
    """Return the smallest and largest real value that int8 parameters express."""
    (scale,), (zero_point,) = quantization.scale, quantization.zero_point
    return scale * (-128 - zero_point), scale * (127 - zero_point)


def as_uint8(quantization: Quantization) -> Quantization:
    """Return the uint8 parameters of the same real values as int8 ones: a shift by 128."""
    return Quantization(quantization.scale, tuple(point + 128 for point in quantization.zero_point))


def symmetric_scales(weights: Array, axis: int | None) -> Floats:
    """Return max |w| / 127 per slice along `axis`, or one for all; 0 where all weights are zero."""
    if axis is None:
        largest = np.max(np.abs(weights), initial=0.0).reshape(1)
    else:
        others = tuple(index for index in range(weights.ndim) if index != axis)
        largest = np.maximum(weights.max(axis=others), -weights.min(axis=others))
    return largest.astype(np.float64) / WEIGHT_LIMIT


def quantize_array(data: Array, quantization: Quantization, low: int = -128, high: int = 127) -> Array:
    """Return int8 (rounded half to even, saturated to [low, high]); infinity saturates too."""
    scale = np.asarray(quantization.scale, np.float32)
    zero_point = np.asarray(quantization.zero_point, np.float32)
    if quantization.per_axis:
        shape = [1] * data.ndim
        shape[quantization.quantized_dimension] = len(scale)
        scale, zero_point = scale.reshape(shape), zero_point.reshape(shape)
    with np.errstate(over="ignore"):
        q = np.divide(data, scale, dtype=np.float32)
    np.rint(q, out=q)
    if any(quantization.zero_point):
        q += zero_point
    np.clip(q, low, high, out=q)
    return q.astype(np.int8)


def weight_quantization(scales: Floats, axis: int | None) -> Quantization:
    """Return symmetric parameters with these scales, rounded to float32."""
    rounded = tuple(float(scale) for scale in scales.astype(np.float32))
    return Quantization(rounded, (0,) * len(rounded), 0 if axis is None or len(rounded) == 1 else axis)
