"""A histogram of fixed size whose result does not depend on the order of its samples.

    width of a bin    w = 2^e,   e = the smallest with max |x| < HALF * w, from E_MIN up
    bin of x          k = trunc(x / w),   |k| < HALF

`e` depends on the largest magnitude alone, and truncation nests: trunc(trunc(x/w) / 2) = trunc(x / 2w). So
widening the bins of a half-full histogram gives exactly the counts that the final width would have given:
permutations and merges are exact, with integer counts. Bin 0 covers (-w, w), others are w wide. Zero is
always inside because a quantized range must contain it.
Scaling by 2^-e is exact in floating point but for underflow, which truncates to bin 0 as it should.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from edgec.calibrate.samples import Array

HALF_BITS = 11
HALF = 1 << HALF_BITS  # bins on each side of zero, zero included
E_MIN = -126  # the smallest width, 2^E_MIN, and its inverse are both normal float32 numbers
_BLOCK = 1 << 16  # elements worked on at once: temporaries stay in the cache and memory is constant


@dataclass(slots=True)
class Histogram:
    """Counts of values in bins of width `2**exponent`; index 0 is bin `1 - HALF`."""

    exponent: int = E_MIN
    counts: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(2 * HALF - 1, np.int64))

    @property
    def width(self) -> float:
        """Width of a bin."""
        return math.ldexp(1.0, self.exponent)

    @property
    def total(self) -> int:
        """How many values were counted."""
        return int(self.counts.sum())

    def add(self, values: Array, largest: float) -> None:
        """Count finite values; `largest` is their greatest magnitude."""
        self._widen(exponent_for(largest))
        flat = values.reshape(-1)
        dtype = flat.dtype if flat.dtype in (np.float32, np.float64) else np.dtype(np.float64)
        scale = dtype.type(math.ldexp(1.0, -self.exponent))
        for start in range(0, flat.size, _BLOCK):
            scaled = flat[start : start + _BLOCK].astype(dtype, copy=False) * scale
            bins = scaled.astype(np.int32)  # truncates
            bins += HALF - 1
            self.counts += np.bincount(bins, minlength=self.counts.size)

    def merge(self, other: Histogram) -> None:
        """Add the counts of another histogram, which stays as it is."""
        self._widen(other.exponent)
        self.counts += _coarsen(other.counts, self.exponent - other.exponent)

    def _widen(self, exponent: int) -> None:
        if exponent > self.exponent:
            self.counts = _coarsen(self.counts, exponent - self.exponent)
            self.exponent = exponent


def exponent_for(largest: float) -> int:
    """Return the smallest exponent whose bins hold values up to this magnitude."""
    _, power = math.frexp(largest)  # largest < 2**power
    return max(power - HALF_BITS, E_MIN) if largest else E_MIN


def _coarsen(counts: npt.NDArray[np.int64], doublings: int) -> npt.NDArray[np.int64]:
    if doublings == 0:
        return counts
    bins = np.arange(1 - HALF, HALF)
    target = np.sign(bins) * (np.abs(bins) >> min(doublings, HALF_BITS)) + HALF - 1
    coarse = np.zeros_like(counts)
    np.add.at(coarse, target, counts)
    return coarse
