"""Observers of one tensor: show them values sample by sample, ask for the range in the end.

All are streaming (constant memory), mergeable, and give the same range for any order of samples. Their rules
are those of `edgec.calibrate.clipping`; calibration of whole models uses these rules on many tensors at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Protocol

import numpy as np

from edgec.calibrate import problems
from edgec.calibrate.clipping import PERCENTILE, RULES, Rule, percentile
from edgec.calibrate.samples import Array
from edgec.calibrate.statistics import StatisticsCollector, not_finite


class Observer:
    """Watches one tensor with one rule; `kind` says what must agree before two observers are merged."""

    def __init__(self, tensor: str, rule: Rule, kind: str) -> None:
        self.tensor, self.kind = tensor, kind
        self._rule = rule
        self._collector = StatisticsCollector([tensor], [1])

    def update(self, values: Array) -> None:
        """Take in the values of one sample, of any shape and real dtype; E0316 for NaN or infinity."""
        flat = np.asarray(values).reshape(-1)
        if flat.size == 0:
            return
        row = flat.astype(np.float32, copy=False)
        if not np.isfinite([row.min(), row.max()]).all():
            raise not_finite(self.tensor, "a calibration sample")
        extremes = np.array([[row.min()]], np.float32), np.array([[row.max()]], np.float32)
        self._collector.add(*extremes, row[:, None])

    def merge(self, other: Observer) -> None:
        """Take in all that another observer of the same kind and settings has seen."""
        if self.kind != other.kind:
            raise ValueError(f"observers differ: {self.kind} and {other.kind}")
        self._collector.merge(other._collector)

    def range(self) -> tuple[float, float]:
        """Return (min, max) of the range to quantize; E0316 when nothing was seen."""
        if not self._collector.samples:
            raise problems.fail(
                problems.OBSERVED,
                self.tensor,
                "has no values in any sample",
                next_step="Check the calibration data.",
            )
        (found,) = self._collector.tables()
        return self._rule(found)


class ObserverKind(Protocol):
    """Makes an observer; `tensor` names what it watches in messages."""

    def __call__(self, tensor: str = "tensor") -> Observer:
        """Return an observer that has seen nothing."""
        ...


def percentile_observer(tensor: str = "tensor", percent: float = PERCENTILE) -> Observer:
    """Return an observer that leaves out at most `100 - percent` percent of the values on each side."""
    if not 50 < percent <= 100:
        raise problems.fail(
            problems.OPTION,
            "percentile observer",
            f"percentile {percent}",
            "It lies above 50 and up to 100.",
        )
    return Observer(tensor, lambda found: percentile(found, percent), f"percentile {percent:g}")


def _kind(name: str, rule: Rule) -> ObserverKind:
    return lambda tensor="tensor": Observer(tensor, rule, name)


OBSERVERS: Mapping[str, ObserverKind] = MappingProxyType(
    {name: _kind(name, rule) for name, rule in RULES.items()} | {"percentile": percentile_observer}
)
"""By name; `auto` is no observer of one tensor: it asks the outputs (`edgec.recipes.alone`)."""
