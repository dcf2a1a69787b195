"""The integers and scales of all output channels in one metric: clippings are tried, then both refined.

Problems may lie side by side: `parts` of the groups are the halves of the samples, each with its own metric.
A kernel with one scale for all has one for each part; all else is done for both in the same steps, as each
step costs a call however little it computes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from edgec.ir import DType
from edgec.repair.rounding.integers import Metric
from edgec.repair.rounding.moments import Reals
from edgec.repair.rounding.stored import Stored

CLIPPINGS = {DType.INT8: (1.0,), DType.INT4: (1.0, 0.92, 0.84, 0.76, 0.68, 0.6)}
"""Tried scales as parts of max |t| / limit. With 127 levels each way clipping gains nothing."""

REFITS = {DType.INT8: 0, DType.INT4: 2}
SWEEPS = {DType.INT8: 1, DType.INT4: 2}


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """Integers [g, k, m] in the metric's order, scales [g, m], and the objective [g, m] where it matters."""

    q: Reals
    scales: Reals
    objective: Reals = field(default_factory=lambda: np.zeros(0))


@dataclass(frozen=True, slots=True, eq=False)
class Search:
    """Integers for weights [g, m, k] that a quantizer stores as `nearest`; see the module for `parts`."""

    weights: Reals
    nearest: Stored
    parts: int = 1

    def fed(self, metric: Metric, target: Reals) -> Trial:
        """Return integers by feedback for a target [parts · g, m, k], each channel by its best clipping."""
        ordered, clippings = metric.ordered(target), CLIPPINGS[self.nearest.dtype]
        natural = self._pooled(np.abs(ordered).max(axis=1), np.max) / self.nearest.limit
        natural = np.where(natural > 0, natural, 1)
        best: Trial | None = None
        for clipping in clippings:
            scales = np.maximum(natural * clipping, self._floor).astype(ordered.dtype)
            q = metric.feedback(ordered, scales)
            best = self._better(metric, best, q, ordered, scales) if len(clippings) > 1 else Trial(q, scales)
        assert best is not None
        return best

    def refined(self, metric: Metric, target: Reals, fed: Trial) -> Trial:
        """Let scales and integers improve each other."""
        ordered, best = metric.ordered(target), fed
        sweeps, refits = SWEEPS[self.nearest.dtype], REFITS[self.nearest.dtype]
        for refit in range(refits + 1):
            scales = self._refitted(metric, best, ordered) if refit else best.scales
            q = metric.descend(best.q, ordered, scales, sweeps)
            best = self._better(metric, best, q, ordered, scales) if refits else Trial(q, scales)
        return best

    def stored(self, metric: Metric, trial: Trial) -> Stored:
        """Return a trial as the layer stores it; a channel of zeros as the quantizer marks it."""
        used = np.where(np.any(trial.q, axis=1), trial.scales, 0).astype(np.float64)
        return replace(self.nearest, q=metric.restored(trial.q), scales=self._pooled(used, np.max))

    @property
    def _floor(self) -> Reals:
        """The scales [parts · g, m] that a kernel's limits prescribed, 0 where the weights alone did."""
        largest = np.abs(np.tile(self.weights, (self.parts, 1, 1))).max(axis=2)
        given = np.tile(self.nearest.scales, (self.parts, 1))
        return np.where(given > 1.0001 * self._pooled(largest, np.max) / self.nearest.limit, given, 0.0)

    def _pooled(self, values: Reals, pool: Callable[..., Reals]) -> Reals:
        """Return one number for each part in the place of all its values, where one scale holds for all."""
        if not self.nearest.one_scale:
            return values
        split = values.reshape(self.parts, -1)
        return np.broadcast_to(pool(split, axis=1, keepdims=True), split.shape).reshape(values.shape)

    def _refitted(self, metric: Metric, best: Trial, target: Reals) -> Reals:
        power, product = (self._pooled(values, np.sum) for values in metric.scale_fit(best.q, target))
        usable = (power > 0) & (product > 0)
        scales = np.where(usable, product / np.where(usable, power, 1), best.scales)
        return np.maximum(scales, self._floor).astype(target.dtype)

    def _better(self, metric: Metric, old: Trial | None, q: Reals, target: Reals, scales: Reals) -> Trial:
        """Return the better of two trials, channel by channel where each has its own scale."""
        objective = self._pooled(metric.objective(q, target, scales), np.sum)
        if old is None:
            return Trial(q, scales, objective)
        wins = objective < old.objective
        return Trial(
            np.where(wins[:, None], q, old.q),
            np.where(wins, scales, old.scales),
            np.where(wins, objective, old.objective),
        )
