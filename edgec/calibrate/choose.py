"""The `auto` observer: which rule fits which tensor, measured on the quantized model.

    1  every rule for the whole model              kept where the output is better beyond chance
    2  every other rule for half of the tensors,   a half that is not kept is split and tried again, what
       those it promises most for first            lost least first, as long as runs are left

A tensor's own expected error only decides what is tried first. It is no measure of the output: on the models
we measured, the ranges with the least error of every tensor lost up to 2.4 dB at the output against plain
min/max, since a rare large value is often the one that decides. And every change of ranges re-rolls all
rounding errors, so that the best of many trials on a few samples is usually luck: a change has to be better
than its own spread over the samples.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from edgec.calibrate.clipping import NEEDS_HISTOGRAM, RULES, Range, expected_error
from edgec.calibrate.saturation import limited
from edgec.calibrate.statistics import Histograms

Floats = npt.NDArray[np.float64]
Score = Callable[[Mapping[str, Range]], float | Sequence[float] | Floats]
"""Output SQNR in dB of a model quantized with these ranges: best one figure per sample, or one for all."""

AUTO = "auto"
OBSERVER_NAMES = (*RULES, AUTO)

MAX_RUNS = 24
CERTAINTY = 3.0
"""A gain counts from so many standard errors of its mean on: one in 700 is chance, and 24 are tried."""
LEAST_GAIN = 0.02
LEAST_GAIN_OF_ONE_FIGURE = 0.5
"""dB that a change has to bring; a single figure says nothing of its spread, so it has to bring more."""

FEW_SAMPLES = 8
"""With so few samples, `auto` never clips below the mean of the samples' own extremes."""

_SAME = 0.01  # ranges that differ by less of their width are not worth a run


def needs_values(observer: str) -> bool:
    """Whether an observer looks at histograms."""
    return observer == AUTO or observer in NEEDS_HISTOGRAM


def pick_ranges(
    histograms: Histograms, observer: str, score: Score | None, bits: int = 8
) -> dict[str, Range]:
    """Return the range of every tensor, no wider than its readers can tell in so many bits.

    Without a score `auto` has nothing to prefer to min/max.
    """
    if observer != AUTO:
        rules = {name: "minmax" if name in histograms.answers else observer for name in histograms}
        found = {name: RULES[rules[name]](tensor) for name, tensor in histograms.items()}
        return _limited(histograms, found, bits)
    if score is None:
        return pick_ranges(histograms, "minmax", None, bits)
    candidates = {
        rule: _guarded(histograms, pick_ranges(histograms, rule, None, bits), bits) for rule in RULES
    }
    return _Search(histograms, candidates, score).run()


def _limited(histograms: Histograms, ranges: dict[str, Range], bits: int) -> dict[str, Range]:
    return {name: limited(found, histograms.useful_range(name, bits)) for name, found in ranges.items()}


def _guarded(histograms: Histograms, ranges: dict[str, Range], bits: int) -> dict[str, Range]:
    if histograms.samples > FEW_SAMPLES:
        return ranges
    widened = {
        name: (min(low, histograms[name].mean_low), max(high, histograms[name].mean_high))
        for name, (low, high) in ranges.items()
    }
    return _limited(histograms, widened, bits)


@dataclass(order=True, slots=True)
class _Part:
    """Tensors for which a rule was tried and not kept; what it lost least comes first."""

    loss: float
    order: int
    rule: str = field(compare=False)
    names: list[str] = field(compare=False)


@dataclass(slots=True)
class _Search:
    histograms: Histograms
    candidates: Mapping[str, Mapping[str, Range]]
    score: Score
    runs: int = 0
    best: dict[str, Range] = field(default_factory=dict[str, Range])
    reached: Floats = field(default_factory=lambda: np.zeros(0))
    queue: list[_Part] = field(default_factory=list[_Part])
    pushed: int = 0

    def run(self) -> dict[str, Range]:
        whole = {rule: self._measured(dict(ranges)) for rule, ranges in self.candidates.items()}
        for rule, figures in whole.items():  # min/max comes first: the others have to be better
            if not self.best or is_better(figures - self.reached):
                self.best, self.reached = dict(self.candidates[rule]), figures
        for rule, figures in whole.items():
            self._push(rule, self._different(rule), figures)
        while self.queue and self.runs < MAX_RUNS:
            part = heapq.heappop(self.queue)
            middle = (len(part.names) + 1) // 2
            for half in (part.names[:middle], part.names[middle:]):
                self._try(part.rule, half)
        return self.best

    def _try(self, rule: str, names: list[str]) -> None:
        """Take a rule for some tensors if that is better; else remember to try fewer of them."""
        if not names or self.runs >= MAX_RUNS:
            return
        ranges = {**self.best, **{name: self.candidates[rule][name] for name in names}}
        figures = self._measured(ranges)
        if is_better(figures - self.reached):
            self.best, self.reached = ranges, figures
        else:
            self._push(rule, names, figures)

    def _push(self, rule: str, names: list[str], figures: Floats) -> None:
        if len(names) > 1:
            self.pushed += 1
            loss = float((self.reached - figures).mean())
            heapq.heappush(self.queue, _Part(loss, self.pushed, rule, names))

    def _measured(self, ranges: dict[str, Range]) -> Floats:
        self.runs += 1
        return np.atleast_1d(np.asarray(self.score(ranges), np.float64))

    def _different(self, rule: str) -> list[str]:
        """Return the tensors whose range a rule changes, the greatest promise first."""
        names = [name for name in self.best if _differ(self.best[name], self.candidates[rule][name])]
        return sorted(names, key=lambda name: (-self._promise(rule, name), name))

    def _promise(self, rule: str, name: str) -> float:
        tensor = self.histograms[name]
        return expected_error(tensor, self.best[name]) - expected_error(tensor, self.candidates[rule][name])


def is_better(gains: Floats) -> bool:
    """Whether gains (dB, one per sample or one for all) are more than chance."""
    mean = float(gains.mean())
    if len(gains) == 1:
        return mean >= LEAST_GAIN_OF_ONE_FIGURE
    error_of_mean = float(gains.std(ddof=1)) / math.sqrt(len(gains))
    return mean >= max(LEAST_GAIN, CERTAINTY * error_of_mean)


def _differ(first: Range, second: Range) -> bool:
    width = max(first[1], second[1], 0.0) - min(first[0], second[0], 0.0)
    return max(abs(first[0] - second[0]), abs(first[1] - second[1])) > _SAME * width
