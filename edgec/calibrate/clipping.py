"""From a tensor's statistics to the range to quantize: the rules that observers are named after.

    minmax       everything seen
    average      the mean of each sample's extremes: what a moving average aims at, without its order
    percentile   all but the outermost share of values on each side
    mse          the clipping range with the least expected squared error in int8
    entropy      the clipping range whose int8 values tell most about the float ones (least divergence)

Each is a pure function, so that one pass over the samples serves them all. No range leaves what was seen.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from edgec.calibrate.histogram import HALF, bin_edges
from edgec.calibrate.statistics import TensorStatistics

Floats = npt.NDArray[np.float64]
Range = tuple[float, float]
Rule = Callable[[TensorStatistics], Range]

PERCENTILE = 99.99
LEVELS = 255  # steps between the 256 values of int8


def minmax(tensor: TensorStatistics) -> Range:
    """Return the smallest and the largest value."""
    return tensor.low, tensor.high


def average(tensor: TensorStatistics) -> Range:
    """Return the means of the samples' smallest and largest values."""
    return tensor.mean_low, tensor.mean_high


def percentile(tensor: TensorStatistics, percent: float = PERCENTILE) -> Range:
    """Return the range that leaves out at most `100 - percent` percent of the values on each side.

    The cut falls on a bin's outer edge, so the range is up to 1/1024 of the largest magnitude wider than the
    exact percentile.
    """
    counts = tensor.counts
    droppable = math.floor(int(counts.sum()) * (100 - percent) / 100)
    lower, upper = bin_edges(tensor.width)
    first = int(np.searchsorted(np.cumsum(counts), droppable, side="right"))
    last = len(counts) - 1 - int(np.searchsorted(np.cumsum(counts[::-1]), droppable, side="right"))
    if first >= len(counts):  # nothing was counted
        return minmax(tensor)
    return _inside(tensor, float(lower[first]), float(upper[last]))


def mse(tensor: TensorStatistics) -> Range:
    """Return the range with the least expected squared error in int8 (formula in `_costs`)."""
    negative, positive = _sides(tensor)
    low, high = tensor.low / tensor.width, tensor.high / tensor.width  # squares of large floats overflow
    lows, highs = np.linspace(0, max(-low, 0.0), _GRID), np.linspace(0, max(high, 0.0), _GRID)
    best = _best_pair(negative, positive, lows, highs)
    for _ in range(_REFINEMENTS):
        lows, highs = _around(best[0], lows), _around(best[1], highs)
        best = _best_pair(negative, positive, lows, highs)
    return _inside(tensor, -best[0] * tensor.width, best[1] * tensor.width)


def entropy(tensor: TensorStatistics) -> Range:
    """Return the range with the least Kullback-Leibler divergence between float and int8 values.

    One end after the other, the farther one first: both at once would need the square of the work.
    """
    low, high = min(tensor.low, 0.0) / tensor.width, max(tensor.high, 0.0) / tensor.width
    for side in sorted((0, 1), key=lambda side: -abs((low, high)[side])):
        candidates = [
            (low * share, high) if side == 0 else (low, high * share)
            for share in _SHARES
            if high - low >= _LEAST_BINS
        ]
        if candidates and tensor.counts.any():
            low, high = min(candidates, key=lambda ends: _divergence(tensor.counts, *ends))
    return _inside(tensor, low * tensor.width, high * tensor.width)


RULES: Mapping[str, Rule] = MappingProxyType(
    {"minmax": minmax, "percentile": percentile, "mse": mse, "entropy": entropy, "average": average}
)

NEEDS_HISTOGRAM = frozenset({"percentile", "mse", "entropy"})


def _inside(tensor: TensorStatistics, low: float, high: float) -> Range:
    """Keep a range within what was seen; where all values have one sign, the inner end is the seen one."""
    low = tensor.low if tensor.low >= 0 else max(min(low, 0.0), tensor.low)
    high = tensor.high if tensor.high <= 0 else min(max(high, 0.0), tensor.high)
    return min(low, tensor.high) + 0.0, max(high, tensor.low) + 0.0


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


def _sides(tensor: TensorStatistics) -> tuple[_Side, _Side]:
    """Split the counts at zero; magnitudes are in bins. The outer bins reach beyond what was seen."""
    lower, upper = bin_edges(1.0)
    centres = np.clip((lower + upper) / 2, tensor.low / tensor.width, tensor.high / tensor.width)
    counts = tensor.counts
    return (
        _Side(-centres[: HALF - 1][::-1], counts[: HALF - 1][::-1]),
        _Side(centres[HALF:], counts[HALF:]),
    )


def _suffix_sums(values: Floats) -> Floats:
    return np.append(np.cumsum(values[::-1])[::-1], 0.0)


def _costs(negative: _Side, positive: _Side, lows: Floats, highs: Floats) -> Floats:
    """Return what the ranges [-l, h] cost, for magnitudes l in `lows` (rows) and h in `highs` (columns).

        cost = sum over clipped x of distance^2  +  (values inside) * step^2 / 12,     step = (l + h) / 255

    A rounding error is uniform over one step, hence its variance step^2 / 12. Zero is exact in int8, so the
    bin around it, narrower than any step, counts as neither.
    """
    below, low_cost = negative.clipped(lows)
    above, high_cost = positive.clipped(highs)
    inside = (negative.total - below)[:, None] + (positive.total - above)[None, :]
    step = (lows[:, None] + highs[None, :]) / LEVELS
    return low_cost[:, None] + high_cost[None, :] + inside * step**2 / 12


def _best_pair(negative: _Side, positive: _Side, lows: Floats, highs: Floats) -> tuple[float, float]:
    row, column = divmod(int(np.argmin(_costs(negative, positive, lows, highs))), len(highs))
    return float(lows[row]), float(highs[column])


def _around(best: float, grid: Floats) -> Floats:
    """Return a finer grid from the left to the right neighbour of the best point."""
    spacing = float(grid[1] - grid[0])
    return np.linspace(max(best - spacing, float(grid[0])), min(best + spacing, float(grid[-1])), _GRID)


_SHARES = np.linspace(1, 0.25, 31).tolist()
_LEAST_BINS = 512  # two for each int8 value; with fewer, nothing tells float and int8 apart


def _divergence(counts: npt.NDArray[np.int64], low: float, high: float) -> float:
    """Return sum p log(p / q): p the clipped values, q the same spread evenly over each int8 value's bins.

    `low` and `high` are in bins. The bin around zero stays out, as zero is exact.
    """
    first, last = math.floor(low) + HALF - 1, math.ceil(high) + HALF - 1
    first, last = max(first, 0), min(last, len(counts) - 1)
    inside = counts[first : last + 1].astype(np.float64)
    p = inside.copy()
    p[0] += counts[:first].sum()
    p[-1] += counts[last + 1 :].sum()
    zero = HALF - 1 - first
    p[zero] = inside[zero] = 0.0
    levels = (np.arange(len(p)) * (LEVELS + 1)) // len(p)
    used = inside > 0
    sums = np.bincount(levels, inside, LEVELS + 1)
    sizes = np.bincount(levels, used, LEVELS + 1)
    q = np.where(used, sums[levels] / np.maximum(sizes[levels], 1), 0.0)
    total_p, total_q = p.sum(), q.sum()
    if not total_q:
        return math.inf
    both = (p > 0) & (q > 0)
    # A value that int8 cannot tell at all counts as if it had one part in 10^4 of q's weight.
    lost = (p > 0) & (q == 0)
    ratio = np.concatenate([p[both] / total_p * total_q / q[both], p[lost] / total_p * 1e4])
    weights = np.concatenate([p[both], p[lost]]) / total_p
    return float(np.sum(weights * np.log(ratio)))
