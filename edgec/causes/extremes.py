"""Which sample reaches how far in which tensor: one pass, one row of numbers for each sample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgec.ir import Array, Model
from edgec.recipes.evaluate import Samples
from edgec.repair.watch import Watch

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Extremes:
    """`low` and `high` are [samples, tensors]; `names` are the tensors, in order of execution."""

    names: tuple[str, ...]
    low: Floats
    high: Floats

    @staticmethod
    def collect(model: Model, names: Sequence[str], samples: Samples) -> Extremes:
        """Run all samples through the float model; tensors that the graph has not are left out."""
        wanted = set(names)
        graph = model.graph
        values = [*graph.inputs, *(result for node in graph for result in node.results)]
        watched = [value for value in values if value.name in wanted]
        watch = Watch(model, watched)
        rows: list[dict[str, tuple[float, float]]] = []
        for sample in samples:
            seen: dict[str, tuple[float, float]] = {}
            watch.show(sample, lambda value, array, seen=seen: seen.update({value.name: _span(array)}))
            rows.append(seen)
        spans = [[row[value.name] for value in watched] for row in rows]
        table = np.asarray(spans, np.float64).reshape(len(rows), len(watched), 2)
        return Extremes(tuple(value.name for value in watched), table[..., 0], table[..., 1])

    def ranges(self, keep: npt.NDArray[np.bool_]) -> dict[str, tuple[float, float]]:
        """Return the range of every tensor over some samples only."""
        low, high = self.low[keep].min(axis=0), self.high[keep].max(axis=0)
        return {name: (float(a), float(b)) for name, a, b in zip(self.names, low, high, strict=True)}

    def widths(self) -> Floats:
        """Return [samples, tensors]: how wide each sample's range is once zero is in it."""
        return np.maximum(self.high, 0) - np.minimum(self.low, 0)


def _span(array: Array) -> tuple[float, float]:
    return float(array.min()), float(array.max())
