"""BinCounts of fixed size, one per tensor, whose counts do not depend on the order of the samples.

    width of a bin    w = 2^e,   e = the smallest with max |x| < HALF * w, from E_MIN up
    bin of x          k = trunc(x / w),   |k| < HALF

`e` depends on the largest magnitude alone, and truncation nests: trunc(trunc(x/w) / 2) = trunc(x / 2w). So
widening the bins of a half-full histogram gives exactly the counts that the final width would have given:
permutations and merges are exact, with integer counts. Bin 0 covers (-w, w), others are w wide. Zero is
always inside because a quantized range must contain it.
Scaling by 2^-e is exact in floating point but for underflow, which truncates to bin 0 as it should.

Several tensors are counted at once: bin k of the t-th has index t * BINS + k + HALF - 1 in one long array.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]

HALF_BITS = 11
HALF = 1 << HALF_BITS  # bins on each side of zero, zero included
BINS = 2 * HALF - 1
E_MIN = -126  # the smallest width, 2^E_MIN, and its inverse are both normal float32 numbers
_GROUP, _BLOCK = 8, 1 << 16  # tensors and values counted at once: bins and temporaries stay in the cache


@dataclass(slots=True)
class BinCounts:
    """Counts `[tensors, BINS]` of values in bins of width `2**exponents`; column 0 is bin `1 - HALF`."""

    exponents: npt.NDArray[np.int64]
    counts: Counts

    @staticmethod
    def empty(tensors: int) -> BinCounts:
        """Return histograms of so many tensors that have counted nothing."""
        return BinCounts(np.full(tensors, E_MIN, np.int64), np.zeros((tensors, BINS), np.int64))

    def add(self, rows: npt.NDArray[np.float32], sizes: npt.NDArray[np.int64], largest: Floats) -> None:
        """Count finite values.

        Args:
            rows: `[n, sum(sizes)]`; in each row the values of the tensors one after the other.
            sizes: how many values of a row belong to each tensor.
            largest: the greatest magnitude of each tensor, in these rows or beyond.
        """
        self.widen(exponents_for(largest))
        scale = np.repeat(np.ldexp(np.float32(1), -self.exponents).astype(np.float32), sizes)
        offset = np.repeat(np.arange(len(sizes), dtype=np.int32) % _GROUP * BINS + (HALF - 1), sizes)
        ends = np.cumsum(sizes)
        for first in range(0, len(sizes), _GROUP):
            last = min(first + _GROUP, len(sizes))
            columns = slice(int(ends[first] - sizes[first]), int(ends[last - 1]))
            self._count(slice(first, last), rows[:, columns], scale[columns], offset[columns])

    def _count(
        self,
        tensors: slice,
        rows: npt.NDArray[np.float32],
        scale: npt.NDArray[np.float32],
        offset: npt.NDArray[np.int32],
    ) -> None:
        """Count the values of a few tensors, in blocks that stay in the cache."""
        counts = self.counts[tensors].reshape(-1)  # a view: the tensors of a group lie behind each other
        step = max(1, _BLOCK // max(rows.shape[1], 1))
        for start in range(0, len(rows), step):
            bins = (rows[start : start + step] * scale).astype(np.int32)  # truncates
            bins += offset
            np.add.at(
                counts, bins.reshape(-1).astype(np.intp), 1
            )  # faster than bincount, which adds all bins

    def widen(self, exponents: npt.NDArray[np.int64]) -> None:
        """Coarsen the histograms whose bins are narrower than these."""
        for tensor in np.flatnonzero(exponents > self.exponents):
            doublings = int(exponents[tensor] - self.exponents[tensor])
            self.counts[tensor] = _coarsen(self.counts[tensor], doublings)
            self.exponents[tensor] = exponents[tensor]

    def merge(self, other: BinCounts) -> None:
        """Add the counts of other histograms of the same tensors, which stay as they are."""
        added = BinCounts(other.exponents.copy(), other.counts.copy())
        self.widen(other.exponents)
        added.widen(self.exponents)
        self.counts += added.counts


def exponents_for(largest: Floats) -> npt.NDArray[np.int64]:
    """Return the smallest exponents whose bins hold values up to these magnitudes."""
    _, powers = np.frexp(largest)  # largest < 2**powers
    return np.where(largest > 0, np.maximum(powers.astype(np.int64) - HALF_BITS, E_MIN), E_MIN)


def bin_edges(width: float) -> tuple[Floats, Floats]:
    """Return the lower and upper edge of every bin; bin 0 reaches both ways."""
    bins = np.arange(1 - HALF, HALF, dtype=np.float64)
    return np.where(bins > 0, bins, bins - 1) * width, np.where(bins < 0, bins, bins + 1) * width


def _coarsen(counts: Counts, doublings: int) -> Counts:
    bins = np.arange(1 - HALF, HALF)
    target = np.sign(bins) * (np.abs(bins) >> min(doublings, HALF_BITS)) + HALF - 1
    return np.bincount(target, counts, BINS).astype(np.int64)  # exact: counts are far below 2^53
