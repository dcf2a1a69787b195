"""From ranges and weights to scales, zero points and integers.

    real = scale * (q - zero_point)

    activations   asymmetric int8:  scale = (high - low) / 255,  zero_point = round(-128 - low / scale)
                  with low <= 0 <= high, so that zero (padding, ReLU) is exact
                  symmetric int16:  scale = 2^n, the least whose 2^15 steps reach max(-low, high),
                  zero_point = 0: kernels assume it. Powers of two multiply and divide exactly, in float32
                  as in double and in the 15 bits left beside an int64 sum: every library rounds alike
    weights       symmetric narrow int8:  scale = max |w| / 127,  q in [-127, 127]
                  symmetric int4:  q in [-7, 7], scale where the squared error is least (`clipping`)

A scale is a float32 in the file, so it is rounded first and all else follows from the rounded one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgec.ir import Array, DType, Quantization

Floats = npt.NDArray[np.float64]

LEVELS = 255
WEIGHT_LIMIT = 127
SYMMETRIC_LIMITS = {DType.INT8: WEIGHT_LIMIT, DType.INT16: 32767}
MIN_SCALE = 1e-15
"""The least scale of an activation: products of two are far from denormal numbers, which kernels refuse."""

MIN_WEIGHT_SCALE = 1e-30
"""The least scale of weights: far from denormal numbers even when multiplied by an activation's."""

STORED_LIMITS = {DType.INT8: (-128, 127), DType.UINT8: (0, 255), DType.INT16: (-32768, 32767)}
WEIGHT_LIMITS = {DType.INT8: (-WEIGHT_LIMIT, WEIGHT_LIMIT), DType.INT4: (-7, 7)}
"""What weights may hold. Kernels may add two int8 products in 16 bits, where -128 * -128 twice overflows. One
-8 among int4 weights makes LiteRT's builtin FULLY_CONNECTED with float activations wrong throughout (2.3.0,
rows of 32 and more: 0 dB, against 45 dB without it), though XNNPACK and the reference kernels take it."""

MIN_INT4_ELEMENTS = 1024
"""Smaller weights stay int8 where int4 is asked for: that costs up to 512 bytes each, and first layers and
depthwise filters feel the rounding most (MobileNet of visual wake words: 24 dB instead of 4, 1 % larger)."""


@dataclass(frozen=True, slots=True)
class Form:
    """How real numbers are stored: an integer type and its parameters."""

    dtype: DType
    quantization: Quantization

    @property
    def scale(self) -> float:
        """The scale of a per-tensor form."""
        (scale,) = self.quantization.scale
        return scale

    def encode(self, data: Array) -> Array:
        """Return real numbers in this form."""
        return quantize_array(data, self.quantization, *STORED_LIMITS[self.dtype], self.dtype)


def from_range(low: float, high: float, dtype: DType = DType.INT8) -> Quantization:
    """Return parameters that cover [low, high] and zero; ValueError for NaN or infinity.

    A tensor that was zero in every sample gets [0, 1]: any other scale would be as right, and this one
    keeps the multipliers of its neighbours ordinary.
    """
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ValueError(f"range [{low}, {high}] is not finite")
    low, high = min(low, 0.0), max(high, 0.0)
    if low == high:
        high = 1.0
    if dtype is DType.INT16:
        return symmetric_from_limit(max(-low, high), dtype)
    least, greatest = STORED_LIMITS[dtype]
    scale = float(np.float32(max((high - low) / LEVELS, MIN_SCALE)))
    zero_point = round(least - low / scale)
    return Quantization.per_tensor(scale, min(max(zero_point, least), greatest))


def symmetric_from_limit(limit: float, dtype: DType = DType.INT8) -> Quantization:
    """Return symmetric parameters for [-limit, limit]; ValueError for NaN or infinity."""
    if not math.isfinite(limit):
        raise ValueError(f"limit {limit} is not finite")
    if dtype is DType.INT16:  # 1.0 itself is one step short of 32768 * 2^-15, as in kernels of fixed scale
        return Quantization.per_tensor(2.0 ** math.ceil(math.log2(max((limit or 1.0) / 32768, MIN_SCALE))))
    return Quantization.per_tensor(max((limit or 1.0) / SYMMETRIC_LIMITS[dtype], MIN_SCALE))


def represented(quantization: Quantization, dtype: DType = DType.INT8) -> tuple[float, float]:
    """Return the smallest and largest real value that parameters of an element type express."""
    (scale,), (zero_point,) = quantization.scale, quantization.zero_point
    least, greatest = STORED_LIMITS[dtype]
    return scale * (least - zero_point), scale * (greatest - zero_point)


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


def quantize_array(
    data: Array, quantization: Quantization, low: int = -128, high: int = 127, dtype: DType = DType.INT8
) -> Array:
    """Return integers (rounded half to even, saturated to [low, high]); infinity saturates too."""
    scale, zero_point = along_axis(quantization, data.shape)
    with np.errstate(over="ignore"):
        q = np.divide(data, scale, dtype=np.float32)
    np.rint(q, out=q)
    if any(quantization.zero_point):
        q += zero_point
    np.clip(q, low, high, out=q)
    return q.astype(dtype.numpy).reshape(data.shape)  # the scale's axis made a scalar a vector


def along_axis(
    quantization: Quantization, shape: tuple[int, ...]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return scale and zero point as arrays that broadcast against data of the shape."""
    scale = np.asarray(quantization.scale, np.float32)
    zero_point = np.asarray(quantization.zero_point, np.float32)
    if not quantization.per_axis:
        return scale, zero_point
    wide = [1] * len(shape)
    wide[quantization.quantized_dimension] = len(scale)
    return scale.reshape(wide), zero_point.reshape(wide)


def weight_quantization(scales: Floats, axis: int | None) -> Quantization:
    """Return symmetric parameters with these scales, rounded to float32."""
    rounded = tuple(float(scale) for scale in scales.astype(np.float32))
    return Quantization(rounded, (0,) * len(rounded), 0 if axis is None or len(rounded) == 1 else axis)
