"""Looks at calibration data before ranges are taken from it: is there enough, and does it suit the model?

    one pass: values per channel · equal and similar samples · constant samples
              with a model: ranges of every tensor, for the two halves of the samples apart

A tensor's range that one sample alone defines, or that differs between the halves, is a matter of luck: the
next set of samples would give another model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

from edgec.calibrate.data import LiveSource, open_samples
from edgec.calibrate.likeness import Likeness
from edgec.calibrate.other_scale import suspicions_that_matter
from edgec.calibrate.preprocess import Preprocess
from edgec.calibrate.samples import Array, InputSpec, SampleSet, channel_axis
from edgec.calibrate.spread import Outlier, Stability, compare_halves, find_outliers, together
from edgec.calibrate.verdict import Verdict, judge
from edgec.calibrate.watch import Watch
from edgec.diagnostics import Diagnostic
from edgec.ir import Model

VALUES_PER_SAMPLE = 256
CONSTANT_SHARE = 0.01
"""Of what samples span: one that spans less shows nothing (a black frame, a cap on the lens)."""


@dataclass(frozen=True, slots=True)
class ChannelFacts:
    """Values of one channel over all samples."""

    low: float
    high: float
    mean: float
    std: float


@dataclass(frozen=True, slots=True)
class InputFacts:
    """One input's values over all samples; one entry of `channels` where there are no (or many) channels."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    channels: tuple[ChannelFacts, ...]

    @property
    def low(self) -> float:
        """The smallest value."""
        return min(channel.low for channel in self.channels)

    @property
    def high(self) -> float:
        """The largest value."""
        return max(channel.high for channel in self.channels)


@dataclass(frozen=True, slots=True)
class Audit:
    """What the data is, what is wrong with it, and what to do; samples have their source's names."""

    source: str
    how: str
    count: int
    inputs: tuple[InputFacts, ...]
    equal: tuple[tuple[str, ...], ...]
    similar: tuple[tuple[str, ...], ...]
    constant: tuple[str, ...]
    outliers: tuple[Outlier, ...]
    stability: Stability
    notes: tuple[Diagnostic, ...]
    verdict: Verdict

    def to_dict(self) -> dict[str, object]:
        """Return JSON-ready fields."""
        return asdict(self)


def audit(
    source: LiveSource | SampleSet,
    inputs: Sequence[InputSpec],
    *,
    model: Model | None = None,
    preprocess: Preprocess | None = None,
    limit: int | None = None,
    threads: int = 1,
    progress: Callable[[int], None] | None = None,
) -> Audit:
    """Look at calibration data.

    Args:
        source: whatever `open_samples` takes, or samples that are open already.
        inputs: what the samples feed: the model's inputs, or `specs_of(source)` without a model.
        model: the float model, in the state that will be quantized; without one only inputs are judged.
        preprocess: as for `open_samples`.
        limit: as for `open_samples`.
        threads: threads of the kernels.
        progress: called with the number of samples done.

    Raises:
        CompileError: E03xx for data that cannot be read or does not fit.
    """
    samples = source if isinstance(source, SampleSet) else _opened(source, inputs, preprocess, limit)
    values = [_InputValues(spec) for spec in samples.inputs]
    likeness = Likeness(samples.inputs)
    halves = None if model is None else [Watch(model, VALUES_PER_SAMPLE, threads) for _ in range(2)]
    for index, sample in enumerate(samples):
        for seen in values:
            seen.add(sample[seen.spec.name])
        likeness.add(sample)
        if halves is not None:
            halves[index % 2].see(sample)
        if progress is not None:
            progress(index + 1)
    return _conclude(samples, values, likeness, model, halves)


def _opened(
    source: LiveSource, inputs: Sequence[InputSpec], preprocess: Preprocess | None, limit: int | None
) -> SampleSet:
    return open_samples(source, inputs, preprocess=preprocess, limit=limit)


def _conclude(
    samples: SampleSet,
    values: list[_InputValues],
    likeness: Likeness,
    model: Model | None,
    halves: list[Watch] | None,
) -> Audit:
    name = samples.name
    notes = list(samples.notes)
    extremes = [(seen.spec.name, *seen.extremes()) for seen in values]
    if model is not None and halves is not None:
        found = [half.finish() for half in halves[: len(samples)]]
        extremes = together(found)
        stability = compare_halves(found)
        notes += [item.diagnostic() for item in suspicions_that_matter(model, found[0], samples)]
    else:
        stability = Stability(0, 0.0, 0.0, "")
    outliers = tuple(find_outliers(extremes, len(samples), name))
    equal = tuple(tuple(map(name, group)) for group in likeness.equal())
    similar = tuple(tuple(map(name, group)) for group in likeness.similar())
    constant = tuple(name(index) for index in _constant(values, len(samples)))
    described = samples.describe()
    verdict = judge(len(samples), equal, similar, constant, outliers, stability, notes)
    return Audit(
        described.source,
        described.how,
        len(samples),
        tuple(seen.facts() for seen in values),
        equal,
        similar,
        constant,
        outliers,
        stability,
        tuple(notes),
        verdict,
    )


def _constant(values: Sequence[_InputValues], count: int) -> list[int]:
    """Return the samples of which no input shows anything.

    What a sample usually spans is the measure; a single outlier must not make all others look empty.
    """
    limits = [CONSTANT_SHARE * _usual_span(seen) for seen in values]
    return [
        index
        for index in range(count)
        if all(
            seen.highs[index] - seen.lows[index] <= limit for seen, limit in zip(values, limits, strict=True)
        )
        and all(seen.spec_size > 1 for seen in values)
    ]


def _usual_span(seen: _InputValues) -> float:
    """Return how far nine of ten samples reach at most."""
    spans = np.subtract(seen.highs, seen.lows)
    return float(np.quantile(spans, 0.9, method="lower"))


class _InputValues:
    """Sums over one input's channels, and each sample's extremes (16 bytes a sample)."""

    def __init__(self, spec: InputSpec) -> None:
        self.spec = spec
        self.lows: list[float] = []
        self.highs: list[float] = []
        axis = channel_axis(spec)
        self._axes = None if axis is None else tuple(a for a in range(len(spec.shape)) if a != axis)
        self._sums: list[npt.NDArray[np.float64]] = []

    @property
    def spec_size(self) -> int:
        """Values of one sample."""
        return int(np.prod(self.spec.shape))

    def add(self, values: Array) -> None:
        """Take in one sample."""
        exact = values.astype(np.float64)
        means, squares = exact.mean(axis=self._axes), (exact**2).mean(axis=self._axes)
        found = np.stack([np.atleast_1d(part) for part in (means, squares)])
        lows, highs = (np.atleast_1d(f(exact, axis=self._axes)) for f in (np.min, np.max))
        if not self._sums:
            self._sums = [found, lows, highs]
        else:
            sums, low, high = self._sums
            self._sums = [sums + found, np.minimum(low, lows), np.maximum(high, highs)]
        self.lows.append(float(lows.min()))
        self.highs.append(float(highs.max()))

    def extremes(self) -> tuple[tuple[float, float, int], tuple[float, float, int]]:
        """Return (smallest, next sample's smallest, which sample) and the same for the largest."""
        low_order, high_order = np.argsort(self.lows), np.argsort(self.highs)[::-1]
        second = 1 if len(self.lows) > 1 else 0
        low = self.lows[low_order[0]], self.lows[low_order[second]], int(low_order[0])
        high = self.highs[high_order[0]], self.highs[high_order[second]], int(high_order[0])
        return low, high

    def facts(self) -> InputFacts:
        """Return what was seen."""
        (means, squares), lows, highs = self._sums
        means, squares = means / len(self.lows), squares / len(self.lows)
        stds = np.sqrt(np.maximum(squares - means**2, 0.0))
        rows = zip(lows, highs, means, stds, strict=True)
        channels = tuple(ChannelFacts(*map(float, row)) for row in rows)
        return InputFacts(self.spec.name, self.spec.shape, str(self.spec.dtype), channels)
