"""Real values to a tensor's own type and back.

    raw  = saturate(round_half_even(real / scale) + zero_point)
    real = scale × (raw − zero_point)

Arithmetic is float32, as in the runtime's own QUANTIZE and DEQUANTIZE kernels, so that quantizing here or
inside the model gives the same bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edgec_runtime.errors import RuntimeInputError
from edgec_runtime.tensors import TensorInfo

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.generic]


def to_raw(real: Array, info: TensorInfo) -> Array:
    """Convert real values to the type of `info`.

    Quantized types round half to even and saturate. Integers without quantization (indices, tokens) must be
    whole numbers in range: rounding them would silently change their meaning.

    Raises:
        RuntimeInputError: NaN for a quantized or integer input, or a number that the type cannot hold.
    """
    if real.dtype.kind not in "fiub":
        raise RuntimeInputError(
            f"input '{info.name}': expected numbers for {info.dtype}, got values of type {real.dtype}"
        )
    if np.dtype(info.dtype).kind == "f":
        with np.errstate(over="ignore"):  # beyond float16's or float32's range is infinity, as in any cast
            return real.astype(info.dtype, copy=False)
    _refuse_nan(real, info)
    if info.quantized:
        return quantize(real, info.scale, info.zero_point, info.dtype)
    return _exact(real, info)


def to_real(raw: Array, info: TensorInfo) -> Array:
    """Convert a tensor's values to float32; types without quantization are returned as they are."""
    return dequantize(raw, info.scale, info.zero_point) if info.quantized else raw


def quantize(real: Array, scale: float, zero_point: int, dtype: str) -> Array:
    """Quantize without any check; infinities saturate."""
    limits = np.iinfo(dtype)
    with np.errstate(over="ignore"):  # a value too large for float32 becomes infinite and saturates
        steps = np.rint(real.astype(np.float32, copy=False) / np.float32(scale))
    # float64 from here on: float32 cannot hold int32's limits or the sum with a large zero point exactly
    raw = np.clip(steps.astype(np.float64) + zero_point, limits.min, limits.max)
    return np.asarray(raw, dtype=dtype)  # asarray: NumPy turns arithmetic on rank 0 into scalars


def dequantize(raw: Array, scale: float, zero_point: int) -> NDArray[np.float32]:
    """Return scale × (raw − zero_point) as float32."""
    steps = np.asarray(raw.astype(np.int64) - zero_point, dtype=np.float32)
    return np.asarray(np.float32(scale) * steps)


def _refuse_nan(real: Array, info: TensorInfo) -> None:
    if real.dtype.kind != "f":
        return
    bad = np.isnan(real)
    if bad.any():
        first = tuple(int(axis) for axis in np.argwhere(bad)[0])
        raise RuntimeInputError(
            f"input '{info.name}': expected numbers, which {info.dtype} can express, "
            f"got {int(bad.sum())} NaN among {real.size} values, the first at {list(first)}"
        )


def _exact(real: Array, info: TensorInfo) -> Array:
    low, high = (0, 1) if info.dtype == "bool" else (np.iinfo(info.dtype).min, np.iinfo(info.dtype).max)
    # compared as Python numbers: 2**63 - 1 has no exact float64 and would pass as equal to 2**63
    outside = real.size and (real.min().item() < low or real.max().item() > high)
    if outside or (real.dtype.kind == "f" and not np.array_equal(np.trunc(real), real)):
        raise RuntimeInputError(
            f"input '{info.name}': expected whole numbers from {low} to {high} "
            f"({info.dtype}, not quantized), got values from {real.min()} to {real.max()}"
        )
    return real.astype(info.dtype)
