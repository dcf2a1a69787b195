"""Smallest and largest values of many tensors over all samples: exact, mergeable, the same for any order.

Beside the extremes themselves: which sample made them, what they would be without that sample (the second
most extreme sample), and the mean over the samples of each sample's own extremes.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

_LEAST_EXPONENT = -149  # of the smallest float32
_EXPONENTS = 128 - _LEAST_EXPONENT
_MANTISSA_BITS = 24


class ExactSums:
    """Sums of float32 numbers without rounding, so that their order cannot matter.

    x = m * 2^e with a whole number m below 2^24: mantissas of equal exponent are added as integers, and the
    sums meet only in the end.
    """

    def __init__(self, count: int) -> None:
        self.mantissas = np.zeros((count, _EXPONENTS), np.int64)

    def add(self, rows: npt.NDArray[np.float32]) -> None:
        """Add finite numbers `[n, count]`, each to its column's sum."""
        fractions, powers = np.frexp(rows.astype(np.float64))
        exponents = np.maximum(powers - _MANTISSA_BITS, _LEAST_EXPONENT)
        mantissas = np.ldexp(fractions, powers - exponents).astype(np.int64)
        columns = np.broadcast_to(np.arange(rows.shape[1]), rows.shape)
        np.add.at(self.mantissas, (columns, exponents - _LEAST_EXPONENT), mantissas)

    def merge(self, other: ExactSums) -> None:
        """Add the sums of another."""
        self.mantissas += other.mantissas

    def means(self, samples: int) -> Floats:
        """Return the sums divided by the number of samples, each rounded once."""
        return np.array([_value(row) / samples for row in self.mantissas], np.float64)


def _value(mantissas: Indices) -> float:
    total = sum(int(mantissas[index]) << int(index) for index in np.flatnonzero(mantissas))
    return total / (1 << -_LEAST_EXPONENT)  # of Python integers: rounded once


@dataclass(slots=True)
class Side:
    """The largest values of every tensor (of negated values for the smallest)."""

    first: Floats
    second: Floats
    sample: Indices
    sums: ExactSums

    @staticmethod
    def empty(tensors: int) -> Side:
        """Return the state before any sample."""
        nothing = np.full(tensors, -np.inf)
        return Side(nothing, nothing.copy(), np.zeros(tensors, np.int64), ExactSums(tensors))

    def add(self, rows: npt.NDArray[np.float32], start: int) -> None:
        """Take in the largest values `[n, tensors]` of the samples from number `start` on."""
        self.sums.add(rows)
        order = np.argmax(rows, axis=0)
        first = np.take_along_axis(rows, order[None], axis=0)[0].astype(np.float64)
        second = np.full(len(first), -np.inf)
        if len(rows) > 1:
            second = np.partition(rows, -2, axis=0)[-2].astype(np.float64)
        self._take(first, second, order + start)

    def merge(self, other: Side, offset: int) -> None:
        """Take in what another has seen, whose samples are counted from `offset` on."""
        self.sums.merge(other.sums)
        self._take(other.first, other.second, other.sample + offset)

    def _take(self, first: Floats, second: Floats, sample: Indices) -> None:
        wins = first > self.first
        self.second = np.maximum(np.maximum(self.second, second), np.minimum(self.first, first))
        self.sample = np.where(wins, sample, self.sample)
        self.first = np.maximum(self.first, first)


@dataclass(slots=True)
class Extremes:
    """Extremes of `tensors` tensors."""

    tensors: int
    samples: int = 0
    _low: Side = field(init=False)
    _high: Side = field(init=False)

    def __post_init__(self) -> None:
        self._low, self._high = Side.empty(self.tensors), Side.empty(self.tensors)

    def add(self, lows: npt.NDArray[np.float32], highs: npt.NDArray[np.float32]) -> None:
        """Take in the finite extremes `[n, tensors]` of n samples."""
        self._low.add(-lows, self.samples)
        self._high.add(highs, self.samples)
        self.samples += len(lows)

    def merge(self, other: Extremes) -> None:
        """Take in what another has seen of the same tensors; its samples count as later ones."""
        self._low.merge(other._low, self.samples)
        self._high.merge(other._high, self.samples)
        self.samples += other.samples

    @property
    def low(self) -> Floats:
        """The smallest value of each tensor."""
        return 0.0 - self._low.first  # not a negative zero

    @property
    def high(self) -> Floats:
        """The largest value of each tensor."""
        return self._high.first + 0.0

    @property
    def others(self) -> tuple[Floats, Floats]:
        """(smallest, largest) of each tensor without the sample that made the extreme."""
        return 0.0 - self._low.second, self._high.second + 0.0

    @property
    def culprits(self) -> tuple[Indices, Indices]:
        """Numbers of the samples that made the smallest and the largest value of each tensor."""
        return self._low.sample, self._high.sample

    def means(self) -> tuple[Floats, Floats]:
        """Return the mean over the samples of each sample's (smallest, largest) value."""
        return 0.0 - self._low.sums.means(self.samples), self._high.sums.means(self.samples) + 0.0
