"""What calibration remembers of the tensors it watched: constant memory, whatever the number of samples.

samples ──▶ extremes of every sample (exact)   ──┐
        ──▶ values, all or an even selection   ──┴──▶ Histograms ──observer──▶ (min, max) per tensor
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from edgec.calibrate import problems
from edgec.calibrate.extremes import Extremes
from edgec.calibrate.histogram import BinCounts
from edgec.diagnostics import CompileError

Floats32 = npt.NDArray[np.float32]
Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class TensorStatistics:
    """One tensor over all samples.

    `low` and `high` are the extremes, `mean_low` and `mean_high` the means of each sample's own;
    `low_without` and `high_without` are the extremes without the sample that made them, whose number is
    `low_sample` or `high_sample`. `counts` is a histogram with bins of `width` (`edgec.calibrate.histogram`).
    """

    tensor: str
    samples: int
    low: float
    high: float
    mean_low: float
    mean_high: float
    low_without: float
    high_without: float
    low_sample: int
    high_sample: int
    width: float
    counts: Counts

    def renamed(self, tensor: str) -> TensorStatistics:
        """Return the statistics under the name of another tensor with the same values."""
        return replace(self, tensor=tensor)

    def with_zero(self, tensor: str) -> TensorStatistics:
        """Return the statistics of the same values and zeros beside them in every sample."""
        return replace(
            self,
            tensor=tensor,
            low=min(self.low, 0.0),
            high=max(self.high, 0.0),
            mean_low=min(self.mean_low, 0.0),
            mean_high=max(self.mean_high, 0.0),
            low_without=min(self.low_without, 0.0),
            high_without=max(self.high_without, 0.0),
        )


class StatisticsCollector:
    """Takes in rows of samples for several tensors at once, in one flat layout.

    `sizes` are the numbers of values that each sample gives of each tensor; 0 leaves its histogram empty.
    """

    def __init__(self, tensors: Sequence[str], sizes: Sequence[int] | Counts) -> None:
        self.tensors = tuple(tensors)
        self._sizes = np.asarray(sizes, np.int64)
        self._extremes = Extremes(len(self.tensors))
        self._histograms = BinCounts.empty(len(self.tensors) if self._sizes.any() else 0)

    @property
    def samples(self) -> int:
        """How many samples were taken in."""
        return self._extremes.samples

    def add(self, lows: Floats32, highs: Floats32, values: Floats32) -> None:
        """Take in `[n, tensors]` extremes and `[n, sum(sizes)]` values; E0316 where they are not finite."""
        finite = np.isfinite(lows) & np.isfinite(highs)
        if not finite.all():
            sample, tensor = np.argwhere(~finite)[0]
            raise not_finite(self.tensors[tensor], f"calibration sample {self.samples + sample}")
        self._extremes.add(lows, highs)
        if len(self._histograms.exponents):
            largest = np.maximum(-self._extremes.low, self._extremes.high)
            self._histograms.add(values, self._sizes, largest)

    def merge(self, other: StatisticsCollector) -> None:
        """Take in what another has seen of the same tensors."""
        if self.tensors != other.tensors:
            raise ValueError("collectors watch different tensors")
        self._extremes.merge(other._extremes)
        self._histograms.merge(other._histograms)

    def tables(self) -> Iterator[TensorStatistics]:
        """Yield the statistics of each tensor; E0316 for a tensor that no sample had values of."""
        extremes, histograms = self._extremes, self._histograms
        (mean_low, mean_high), (low_without, high_without) = extremes.means(), extremes.others
        low_sample, high_sample = extremes.culprits
        counted = len(histograms.exponents) > 0
        for index, tensor in enumerate(self.tensors):
            yield TensorStatistics(
                tensor=tensor,
                samples=extremes.samples,
                low=float(extremes.low[index]),
                high=float(extremes.high[index]),
                mean_low=float(mean_low[index]),
                mean_high=float(mean_high[index]),
                low_without=float(low_without[index]),
                high_without=float(high_without[index]),
                low_sample=int(low_sample[index]),
                high_sample=int(high_sample[index]),
                width=float(np.ldexp(1.0, int(histograms.exponents[index]))) if counted else 0.0,
                counts=histograms.counts[index] if counted else np.zeros(0, np.int64),
            )


@dataclass(frozen=True, slots=True, eq=False)
class Histograms(Mapping[str, TensorStatistics]):
    """What a calibration run saw, by value name.

    `useful` is what the values' readers can tell apart, by the bits of activations, and `answers` names the
    values that no rule may clip: the model's answers (`saturation`), and those inside a layer (`inner`).
    """

    by_name: Mapping[str, TensorStatistics]
    samples: int
    useful: Mapping[int, Mapping[str, tuple[float, float]]] = field(
        default_factory=dict[int, Mapping[str, tuple[float, float]]]
    )
    answers: frozenset[str] = frozenset()

    def useful_range(self, name: str, bits: int) -> tuple[float, float]:
        """Return what readers of a value can tell apart; infinite where nobody said."""
        return self.useful.get(bits, {}).get(name, (-math.inf, math.inf))

    def __getitem__(self, name: str) -> TensorStatistics:
        return self.by_name[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.by_name)

    def __len__(self) -> int:
        return len(self.by_name)


def not_finite(tensor: str, sample: str) -> CompileError:
    """Return the error for NaN or infinity in a tensor."""
    return problems.fail(
        problems.OBSERVED,
        tensor,
        f"holds NaN or infinity for {sample}",
        "No range can be taken from it.",
        "Check the sample's preprocessing, or the model's float output for it.",
    )
