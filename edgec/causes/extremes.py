"""Which sample reaches how far in which tensor, and which channel: one pass over samples each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgec.ir import Array, Model, Value
from edgec.ops import spec_of
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


def channel_peaks(model: Model, names: Sequence[str], samples: Samples) -> dict[Value, Floats]:
    """Return the largest magnitude of every channel (last axis) of what nodes with weights make."""
    wanted = set(names)
    made = [node.results[0] for node in model.graph if spec_of(node).quant.weights is not None]
    values = [value for value in made if value.name in wanted and value.type.rank >= 2]
    peaks: dict[Value, Floats] = {value: np.zeros(value.shape[-1]) for value in values}

    def observe(value: Value, array: Array) -> None:
        found = np.abs(array.reshape(-1, array.shape[-1])).max(axis=0)
        np.maximum(peaks[value], found, out=peaks[value])

    if values:
        watch = Watch(model, values)
        for sample in samples:
            watch.show(sample, observe)
    return peaks


def _span(array: Array) -> tuple[float, float]:
    return float(array.min()), float(array.max())
