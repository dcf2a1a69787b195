"""The integers of one layer: candidates are solved on one half of the samples and judged on the other.

    nearest                 what the quantizer gives, bias as it is: the candidate to beat
    bias only               the same integers, the mean output error taken back by the bias
    compensating (λ)        integers for a target t by feedback and descent in the metric H + λ'I, and a bias

λ' is λ times the mean power of a column: large ones trust the samples less. Both halves judge, each what the
other gave. The winner is solved again on all samples.

    t = W                   always
    t = W - C (H + λ'I)⁻¹   where positions are many, too: takes back what the layers before got wrong

Taking back others' errors is a regression with a parameter for each weight. Halves of samples that resemble
each other (windows of one recording) do not see it overfit, so it has to have many positions for each column.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from enum import StrEnum

import numpy as np

from edgec.quantize.parameters import Floats
from edgec.repair.rounding.integers import Metric
from edgec.repair.rounding.moments import Covariance, Moments, Reals
from edgec.repair.rounding.search import Search
from edgec.repair.rounding.stored import Stored

DAMPING, LESS, MORE = 0.1, 0.01, 1.0
"""The λ that layers try: the first, and less where it helps, more where it does not.

With coarse grids more is tried, too, where less is no better. Against all three for both targets, 349 layers
of 16 networks lose 0.003 dB on average, 0.1 dB at most; with 4 bits 134 layers lose 0.003 dB.
"""

POSITIONS_FOR_UPSTREAM = 16
"""Output positions for each column from which on the errors of layers before may be taken back.

Measured on evaluation samples: with all layers allowed an embedding of speech lost 2.4 dB against biases
alone, an LSTM's classifier (100 positions, 560 columns) 4.3 dB; from 16 on the networks tried gained.
"""


class Method(StrEnum):
    """What became of a layer."""

    NEAREST = "nearest"
    BIAS = "bias only"
    COMPENSATED = "compensated"


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """Integers for a layer and what to add to its bias, [g, m]."""

    method: Method
    stored: Stored
    shift: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """The winner, and the mean squared output errors, summed over channels, that halves not seen showed."""

    candidate: Candidate
    nearest_error: float
    error: float


def choose(weights: Floats, nearest: Stored, halves: tuple[Moments, Moments]) -> Choice:
    """Return the best candidate for weights [g, m, k] that a quantizer stores as `nearest`."""
    upstream = halves[0].count + halves[1].count >= POSITIONS_FOR_UPSTREAM * weights.shape[2]
    solver = _Solver(weights, nearest, [half.covariance() for half in halves])
    rounded = np.tile((nearest.real - weights).astype(np.float32), (2, 1, 1))
    before, corrected = solver.errors(rounded)
    tried = _tried(solver, upstream, min(before, corrected), nearest.coarse)
    best = min(tried, key=lambda recipe: tried[recipe])
    del solver  # its moments are not needed any more
    whole = halves[0].merged(halves[1]).covariance()

    def biased(method: Method, stored: Stored) -> Candidate:
        shift = -whole.offset(stored.real - weights)
        return Candidate(method, stored, shift.astype(np.float64))

    if tried[best] < min(before, corrected):
        stored = _Solver(weights, nearest, [whole]).stored(*best)
        return Choice(biased(Method.COMPENSATED, stored), before, tried[best])
    if corrected < before:
        return Choice(biased(Method.BIAS, nearest), before, corrected)
    return Choice(Candidate(Method.NEAREST, nearest, np.zeros(nearest.scales.shape)), before, before)


_Recipe = tuple[float, bool]
"""λ, and whether the target takes back what the layers before got wrong."""


def _tried(solver: _Solver, upstream: bool, plain: float, coarse: bool) -> dict[_Recipe, float]:
    """Return the error of every recipe that was tried, on the halves that were not seen, without descent.

    Descent costs most and serves the samples it sees: on others it won 0.004 dB for 8 bits, 0.03 dB for 4.
    """
    errors = {(DAMPING, upstream): solver.error(DAMPING, upstream)}
    helps = errors[DAMPING, upstream] < plain
    if helps:
        errors[LESS, upstream] = solver.error(LESS, upstream)
    if not helps or (coarse and errors[LESS, upstream] >= errors[DAMPING, upstream]):
        errors[MORE, upstream] = solver.error(MORE, upstream)
    if upstream:  # where that overfits, the weights themselves are the target
        damping = min(errors, key=lambda recipe: errors[recipe])[0]
        errors[damping, False] = solver.error(damping, False)
    return errors


class _Solver:
    """Solves a layer on sets of samples, side by side as groups of one problem."""

    def __init__(self, weights: Floats, nearest: Stored, sets: Sequence[Covariance]) -> None:
        self._sets = len(sets)
        self._weights = np.tile(weights.astype(np.float32), (len(sets), 1, 1))
        columns = [[getattr(one, item.name) for one in sets] for item in fields(Covariance)]
        self._seen = Covariance(*(np.concatenate(column).astype(np.float32) for column in columns))
        self._search = Search(weights.astype(np.float32), nearest, len(sets))
        self._power = np.trace(self._seen.h, axis1=1, axis2=2) / weights.shape[2]
        # What float32 sums leave of equal columns: where samples differ by no more, they do not differ.
        self._least = np.finfo(np.float32).eps * (
            self._power * weights.shape[2] + (self._seen.mean_x**2).sum(1)
        )
        self._metric = Metric(self._seen.h, nearest.limit)

    def error(self, damping: float, upstream: bool) -> float:
        """Return the error of integers that feedback finds with a damping."""
        metric = self._damped(damping)
        trial = self._search.fed(metric, self._target(metric, upstream))
        return self.errors(metric.restored(trial.q * trial.scales[:, None]) - self._weights)[1]

    def stored(self, damping: float, upstream: bool) -> Stored:
        """Return what a layer stores that was solved on one set of samples, descent and all."""
        metric = self._damped(damping)
        target = self._target(metric, upstream)
        return self._search.stored(
            metric, self._search.refined(metric, target, self._search.fed(metric, target))
        )

    def errors(self, change: Reals) -> tuple[float, float]:
        """Return the errors that the other set sees, summed over channels, the mean of both sets.

        First with biases as they are; then with biases that take back the mean error of the set that the
        weights were solved on.
        """
        groups = len(change) // self._sets
        other = np.roll(change, groups, axis=0)
        variance, offset = self._seen.error(other), self._seen.offset(other)
        left = offset - np.roll(self._seen.offset(change), groups, axis=0)
        sums = ((variance + mean**2).sum(dtype=np.float64) for mean in (offset, left))
        plain, shifted = (float(total) / self._sets for total in sums)
        return plain, shifted

    def _target(self, metric: Metric, upstream: bool) -> Reals:
        if not upstream:
            return self._weights
        back = metric.restored(metric.solved(metric.ordered(self._seen.c)))
        return np.where(np.any(self._weights, axis=2, keepdims=True), self._weights - back, 0)

    def _damped(self, damping: float) -> Metric:
        """Return the metric plus a part of its mean power; the identity where there is none."""
        ridge = np.maximum(damping * self._power, self._least)
        return self._metric.with_ridge(np.where(ridge > 0, ridge, 1))
