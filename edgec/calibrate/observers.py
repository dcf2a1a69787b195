"""Observers: what watches an activation tensor over all samples and says its range in the end.

    minmax       everything seen
    percentile   all but the outermost share of values on each side
    mse          the clipping range with the least expected squared error in int8

All are streaming (constant memory per tensor), mergeable, and give the same range for any order of samples,
unlike a moving average.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Protocol, Self

import numpy as np
import numpy.typing as npt

from edgec.calibrate import problems
from edgec.calibrate.histogram import HALF, Histogram
from edgec.calibrate.samples import Array

Floats = npt.NDArray[np.float64]


class Observer(Protocol):
    """Watches one tensor. `update` raises `CompileError` (E0316) for NaN or infinity, naming the tensor."""

    def update(self, values: Array) -> None:
        """Take in the tensor's values for one sample or batch; any shape, real dtype."""
        ...

    def merge(self, other: Self) -> None:
        """Take in all that another observer of the same kind and settings has seen."""
        ...

    def range(self) -> tuple[float, float]:
        """Return (min, max) of the range to quantize; raises `CompileError` when nothing was seen."""
        ...


class MinMaxObserver:
    """The range of everything seen."""

    def __init__(self, tensor: str = "tensor") -> None:
        self.tensor = tensor
        self._low, self._high = math.inf, -math.inf

    def update(self, values: Array) -> None:
        """Widen the range to these values."""
        extremes = _extremes(values, self.tensor)
        if extremes is not None:
            self._low, self._high = min(self._low, extremes[0]), max(self._high, extremes[1])

    def merge(self, other: Self) -> None:
        """Widen the range to the other's."""
        self._low, self._high = min(self._low, other._low), max(self._high, other._high)

    def range(self) -> tuple[float, float]:
        """Return the smallest and the largest value."""
        if self._low > self._high:
            raise problems.fail(
                problems.OBSERVED,
                self.tensor,
                "has no values in any sample",
                next_step="Check the calibration data.",
            )
        return self._low, self._high


class _HistogramObserver:
    """Exact extremes and a histogram between them."""

    def __init__(self, tensor: str = "tensor") -> None:
        self.tensor = tensor
        self._extremes = MinMaxObserver(tensor)
        self._histogram = Histogram()

    @property
    def settings(self) -> tuple[str, float]:
        """What must agree before two observers are merged."""
        return type(self).__name__, 0.0

    def update(self, values: Array) -> None:
        """Count these values."""
        found = _extremes(values, self.tensor)
        if found is None:
            return
        self._extremes.update(np.asarray(found))
        self._histogram.add(values, max(abs(found[0]), abs(found[1])))

    def merge(self, other: Self) -> None:
        """Add the other's counts; its settings must be the same."""
        if self.settings != other.settings:
            raise ValueError(f"observers differ: {self.settings} and {other.settings}")
        self._extremes.merge(other._extremes)
        self._histogram.merge(other._histogram)


class PercentileObserver(_HistogramObserver):
    """The range without the outermost values: at most `100 - percentile` percent are left out on each side.

    The cut falls on a bin's outer edge, so the range is up to 1/1024 of the largest magnitude wider than the
    exact percentile and never wider than what was seen.
    """

    def __init__(self, tensor: str = "tensor", percentile: float = 99.99) -> None:
        super().__init__(tensor)
        if not 50 < percentile <= 100:
            raise problems.fail(
                problems.OPTION,
                "percentile observer",
                f"percentile {percentile}",
                "It lies above 50 and up to 100.",
            )
        self.percentile = percentile

    @property
    def settings(self) -> tuple[str, float]:
        """What must agree before two observers are merged."""
        return type(self).__name__, self.percentile

    def range(self) -> tuple[float, float]:
        """Return the range after leaving out the tails."""
        low, high = self._extremes.range()
        counts = self._histogram.counts
        droppable = math.floor(self._histogram.total * (100 - self.percentile) / 100)
        lower, upper = _bin_edges(self._histogram.width)
        first = int(np.searchsorted(np.cumsum(counts), droppable, side="right"))
        last = len(counts) - 1 - int(np.searchsorted(np.cumsum(counts[::-1]), droppable, side="right"))
        return max(low, float(lower[first])), min(high, float(upper[last]))


class MseObserver(_HistogramObserver):
    """The clipping range with the least expected squared error in int8 (formula in `_best_pair`)."""

    def range(self) -> tuple[float, float]:
        """Return the best range; it never leaves what was seen."""
        width = self._histogram.width  # bins are the unit: squares of large floats would overflow
        low, high = (extreme / width for extreme in self._extremes.range())
        negative, positive = _sides(self._histogram.counts, low, high)
        lows, highs = np.linspace(0, max(-low, 0.0), _GRID), np.linspace(0, max(high, 0.0), _GRID)
        best_low, best_high = _best_pair(negative, positive, lows, highs)
        for _ in range(_REFINEMENTS):
            lows, highs = _around(best_low, lows), _around(best_high, highs)
            best_low, best_high = _best_pair(negative, positive, lows, highs)
        # Where all values have one sign, the inner end stays at the value next to zero.
        clipped_low = -best_low if low < 0 else low
        clipped_high = best_high if high > 0 else high
        return min(clipped_low, high) * width, max(clipped_high, low) * width


_LEVELS = 255  # steps between the 256 values of int8
_GRID = 129
_REFINEMENTS = 2  # each narrows the grid 64 times, far below a step


class _Side:
    """Values on one side of zero, as magnitudes; suffix sums make a clipping point O(log bins)."""

    def __init__(self, magnitudes: Floats, counts: npt.NDArray[np.int64]) -> None:
        used = counts > 0
        self._magnitudes, weights = magnitudes[used], counts[used].astype(np.float64)
        self.total = float(weights.sum())
        self._moments = [_suffix_sums(weights * self._magnitudes**power) for power in (0, 1, 2)]

    def clipped(self, points: Floats) -> tuple[Floats, Floats]:
        """Return per clipping point how many values lie beyond and their summed squared distances."""
        beyond = np.searchsorted(self._magnitudes, points, side="right")
        zeroth, first, second = (moment[beyond] for moment in self._moments)
        return zeroth, second - 2 * points * first + points**2 * zeroth


def _sides(counts: npt.NDArray[np.int64], low: float, high: float) -> tuple[_Side, _Side]:
    """Split the counts at zero; magnitudes are in bins. The outer bins reach beyond what was seen."""
    lower, upper = _bin_edges(1.0)
    centres = np.clip((lower + upper) / 2, low, high)
    return (
        _Side(-centres[: HALF - 1][::-1], counts[: HALF - 1][::-1]),
        _Side(centres[HALF:], counts[HALF:]),
    )


def _suffix_sums(values: Floats) -> Floats:
    return np.append(np.cumsum(values[::-1])[::-1], 0.0)


def _best_pair(negative: _Side, positive: _Side, lows: Floats, highs: Floats) -> tuple[float, float]:
    """Return the magnitudes (l, h) out of `lows` x `highs` whose range [-l, h] costs least.

        cost = sum over clipped x of distance^2  +  (values inside) * step^2 / 12,     step = (l + h) / 255

    A rounding error is uniform over one step, hence its variance step^2 / 12. Zero is exact in int8, so the
    bin around it, narrower than any step, counts as neither.
    """
    below, low_cost = negative.clipped(lows)
    above, high_cost = positive.clipped(highs)
    inside = (negative.total - below)[:, None] + (positive.total - above)[None, :]
    step = (lows[:, None] + highs[None, :]) / _LEVELS
    cost = low_cost[:, None] + high_cost[None, :] + inside * step**2 / 12
    row, column = divmod(int(np.argmin(cost)), len(highs))
    return float(lows[row]), float(highs[column])


def _around(best: float, grid: Floats) -> Floats:
    """Return a finer grid from the left to the right neighbour of the best point."""
    spacing = float(grid[1] - grid[0])
    return np.linspace(max(best - spacing, float(grid[0])), min(best + spacing, float(grid[-1])), _GRID)


def _bin_edges(width: float) -> tuple[Floats, Floats]:
    """Return the lower and upper edge of every bin; bin 0 reaches both ways."""
    bins = np.arange(1 - HALF, HALF, dtype=np.float64)
    return np.where(bins > 0, bins, bins - 1) * width, np.where(bins < 0, bins, bins + 1) * width


def _extremes(values: Array, tensor: str) -> tuple[float, float] | None:
    """Return (min, max), None without values; refuse NaN and infinity, which min and max let through."""
    if values.size == 0:
        return None
    low, high = float(values.min()) + 0.0, float(values.max()) + 0.0  # + 0.0 turns -0.0 into 0.0
    if math.isfinite(low) and math.isfinite(high):
        return low, high
    raise problems.fail(
        problems.OBSERVED,
        tensor,
        "holds NaN or infinity for a calibration sample",
        "No range can be taken from it.",
        "Check the sample's preprocessing, or the model's float output for it.",
    )


class ObserverKind(Protocol):
    """Makes an observer; `tensor` names what it watches in messages."""

    def __call__(self, tensor: str = "tensor") -> Observer:
        """Return an observer that has seen nothing."""
        ...


OBSERVERS: Mapping[str, ObserverKind] = MappingProxyType(
    {"minmax": MinMaxObserver, "percentile": PercentileObserver, "mse": MseObserver}
)
