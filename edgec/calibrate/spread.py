"""How much ranges depend on single samples, and on which half of the samples one looks at.

leave-one-out    a sample that alone makes a tensor's extreme: how much narrower is the range without it?
two halves       even against odd samples: how much of the common range does one of them lack?
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from edgec.calibrate.statistics import Histograms, TensorStatistics

OUTLIER_SHRINK = 0.2
"""Without an outlier a range is this much narrower: its resolution a quarter better."""
_FEWEST = 4  # among fewer samples each is expected to make extremes

End = tuple[float, float, int]
"""An extreme, what it is without the sample that made it, and that sample's number."""


@dataclass(frozen=True, slots=True)
class Outlier:
    """A sample that alone stretches ranges: `tensors` of them, `worst` most, by the share `shrink`."""

    sample: str
    tensors: int
    worst: str
    shrink: float
    low: float
    high: float
    low_without: float
    high_without: float


@dataclass(frozen=True, slots=True)
class Stability:
    """How far the halves' ranges disagree, as a share of the common one: median and worst tensor."""

    tensors: int
    median: float
    worst: float
    worst_tensor: str


def find_outliers(
    extremes: Sequence[tuple[str, End, End]], count: int, name: Callable[[int], str]
) -> Iterator[Outlier]:
    """Yield the samples that alone make ranges wide, those with most tensors first."""
    if count < _FEWEST:
        return
    found: dict[int, list[Outlier]] = {}
    for tensor, low, high in extremes:
        for sample in dict.fromkeys((low[2], high[2])):
            kept_low = low[1] if low[2] == sample else low[0]
            kept_high = high[1] if high[2] == sample else high[0]
            width = _width(low[0], high[0])
            shrink = 1 - _width(kept_low, kept_high) / width if width else 0.0
            if shrink >= OUTLIER_SHRINK:
                row = Outlier(name(sample), 1, tensor, shrink, low[0], high[0], kept_low, kept_high)
                found.setdefault(sample, []).append(row)
    for _, rows in sorted(found.items(), key=lambda item: (-len(item[1]), item[0])):
        worst = max(rows, key=lambda row: row.shrink)
        yield Outlier(
            worst.sample,
            len(rows),
            worst.worst,
            worst.shrink,
            worst.low,
            worst.high,
            worst.low_without,
            worst.high_without,
        )


def together(halves: Sequence[Histograms]) -> list[tuple[str, End, End]]:
    """Return the extremes of all samples from those of the even and the odd ones."""
    return [
        (
            tensor,
            _end(
                [(-half[tensor].low, -half[tensor].low_without, half[tensor].low_sample) for half in halves],
                -1,
            ),
            _end(
                [(half[tensor].high, half[tensor].high_without, half[tensor].high_sample) for half in halves],
                1,
            ),
        )
        for tensor in halves[0]
    ]


def _end(ends: Sequence[End], sign: int) -> End:
    """Merge the largest values of the halves; sample k of half h is sample k * halves + h of all."""
    winner = max(range(len(ends)), key=lambda half: ends[half][0])
    first, second, sample = ends[winner]
    second = max([second, *(end[0] for half, end in enumerate(ends) if half != winner)])
    return sign * first + 0.0, sign * second + 0.0, sample * len(ends) + winner


def compare_halves(halves: Sequence[Histograms]) -> Stability:
    """Return how far two halves of the samples agree about ranges."""
    if len(halves) < 2:
        return Stability(0, 0.0, 0.0, "")
    found = sorted((_disagreement(halves[0][tensor], halves[1][tensor]), tensor) for tensor in halves[0])
    worst, tensor = found[-1]
    return Stability(len(found), found[len(found) // 2][0], worst, tensor)


def _disagreement(first: TensorStatistics, second: TensorStatistics) -> float:
    common = _width(min(first.low, second.low), max(first.high, second.high))
    shared = _width(max(first.low, second.low), min(first.high, second.high))
    return 1 - shared / common if common else 0.0


def _width(low: float, high: float) -> float:
    """Return the width of a range once zero is in it."""
    return max(high, 0.0) - min(low, 0.0)
