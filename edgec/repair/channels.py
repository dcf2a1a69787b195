"""Statistics of each channel (last axis) of activations, streamed over calibration samples.

Sums are kept in pairs of float64 (value and rounding error, Knuth 1969, TwoSum) and rounded to float32 at the
end, so the order of samples does not show in the result.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgec.calibrate import problems
from edgec.ir import Array, Model, Value
from edgec.quantize.roles import is_real
from edgec.repair.watch import Sample, Watch

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ChannelStatistics:
    """What one tensor's channels held over all samples; arrays have one entry for each channel.

    `second_moment` is the mean of x², `coherent` the mean over samples of (mean of x in the sample)²: what is
    left of x² after averaging over a picture. `nonzero` is the share of elements other than zero, `active`
    counts the samples that held one, and `usual_low` and `usual_high` are the means of these samples' own
    extremes. `count` is the number of elements of one channel over all `samples`.
    """

    low: Floats
    high: Floats
    mean: Floats
    second_moment: Floats
    nonzero: Floats
    active: Floats
    usual_low: Floats
    usual_high: Floats
    coherent: Floats
    count: int
    samples: int

    @property
    def variance(self) -> Floats:
        """Mean squared distance from the mean."""
        return np.maximum(self.second_moment - self.mean**2, 0.0)

    def scaled(self, factors: Floats) -> ChannelStatistics:
        """Return the statistics of the same tensor with its channels multiplied by positive factors."""
        return ChannelStatistics(
            self.low * factors,
            self.high * factors,
            self.mean * factors,
            self.second_moment * factors**2,
            self.nonzero,
            self.active,
            self.usual_low * factors,
            self.usual_high * factors,
            self.coherent * factors**2,
            self.count,
            self.samples,
        )


Statistics = Mapping[str, ChannelStatistics]


def collect_channel_statistics(
    model: Model, samples: Iterable[Sample], threads: int = 1, values: Iterable[Value] | None = None
) -> dict[str, ChannelStatistics]:
    """Run every sample through a float model; return statistics by value name.

    Args:
        model: float32, in the state that will be quantized; int8 models work, too.
        samples: arrays by input name, each in the source model's layout; at least one.
        threads: threads of the kernels.
        values: what to watch; default: every float value of rank 1 and more.

    Raises:
        CompileError: E0308 where there is no sample.
    """
    watched = list(values) if values is not None else _float_values(model)
    sums = {value: _Sums(value) for value in watched}
    watch = Watch(model, watched, threads)
    seen = False
    for sample in samples:
        seen = True
        watch.show(sample, lambda value, array: sums[value].update(array))
    if not seen:
        raise problems.fail(
            problems.EMPTY, "calibration", "gave no samples", next_step="At least one is needed."
        )
    return {value.name: found.result() for value, found in sums.items()}


def _float_values(model: Model) -> list[Value]:
    results = [result for node in model.graph for result in node.results]
    return [v for v in (*model.graph.inputs, *results) if is_real(v) and v.shape and v.type.is_static]


class _Sums:
    """Running extremes and sums of one tensor's channels; the sums carry their rounding errors (TwoSum)."""

    def __init__(self, value: Value) -> None:
        channels = value.shape[-1]
        self._low = np.full(channels, np.inf)
        self._high = np.full(channels, -np.inf)
        self._total, self._error = np.zeros((6, channels)), np.zeros((6, channels))
        self._active = np.zeros(channels)
        self._rows = value.type.size // max(channels, 1)
        self._samples = 0

    def update(self, array: Array) -> None:
        rows = array.reshape(self._rows, -1).astype(np.float32, copy=False)
        low, high = rows.min(axis=0), rows.max(axis=0)
        self._low, self._high = np.minimum(self._low, low), np.maximum(self._high, high)
        sums = rows.sum(axis=0, dtype=np.float64)
        squares = np.einsum("nc,nc->c", rows, rows, dtype=np.float64)
        nonzero = np.count_nonzero(rows, axis=0)
        self._active += nonzero > 0
        self._add(np.stack([sums, squares, nonzero, sums**2 / self._rows, low, high]))
        self._samples += 1

    def _add(self, terms: Floats) -> None:
        total = self._total + terms
        kept = total - self._total
        self._error += (self._total - (total - kept)) + (terms - kept)
        self._total = total

    def result(self) -> ChannelStatistics:
        count = self._rows * self._samples
        sums = self._total + self._error
        means = _rounded(sums[:4] / count)
        extremes = _rounded(sums[4:] / np.maximum(self._active, 1))  # other samples added zeros
        return ChannelStatistics(
            self._low,
            self._high,
            means[0],
            means[1],
            means[2],
            self._active,
            extremes[0],
            extremes[1],
            means[3],
            count,
            self._samples,
        )


def _rounded(sums: Floats) -> Floats:
    return sums.astype(np.float32).astype(np.float64)
