"""A float model and its int8 form side by side: how far apart their values are, tensor by tensor."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

import numpy as np

from edgec.ir import Array, Model, Node, Value
from edgec.repair.channels import Floats
from edgec.repair.watch import Sample, Watch

_TINY = 1e-30


@dataclass(frozen=True, slots=True)
class Difference:
    """Float less int8, over all samples: mean by channel (last axis), and powers over all elements.

    `passing` is the share of the float model's elements that are not zero, by channel.
    """

    mean: Floats
    passing: Floats
    signal: float
    noise: float

    @property
    def sqnr(self) -> float:
        """Signal to quantization noise in dB."""
        return float(10 * np.log10(max(self.signal, _TINY) / max(self.noise, _TINY)))


def compare(
    model: Model, quantized: Model, samples: Iterable[Sample], names: Collection[str], threads: int = 1
) -> dict[str, Difference]:
    """Run both models on every sample; return the differences of the values called `names`, in this order."""
    pairs = twins(model, quantized, names)
    truth = Watch(model, [pair[0] for pair in pairs], threads)
    rounded = Watch(quantized, [pair[1] for pair in pairs], threads)
    name_of = {pair[1]: name for name, pair in zip(names, pairs, strict=True)}
    sums = {name: _Sums() for name in names}
    for sample in samples:
        seen: dict[str, Array] = {}
        truth.show(sample, lambda value, array, seen=seen: seen.update({value.name: np.array(array)}))
        rounded.show(
            sample,
            lambda value, array, seen=seen: sums[name_of[value]].update(seen[name_of[value]], array),
        )
    return {name: found.result() for name, found in sums.items()}


def twins(model: Model, quantized: Model, names: Collection[str]) -> list[tuple[Value, Value]]:
    """Return the values of a float model called `names`, each with its int8 form.

    Nodes keep their order but not always their names: a bridge in front may have taken one. So the k-th node
    of a kind belongs to the k-th, and only where their numbers differ names decide.
    """
    made = _by_kind(quantized)
    found: dict[str, tuple[Value, Value]] = {}
    for kind, nodes in _by_kind(model).items():
        if len(made.get(kind, ())) == len(nodes):
            for old, new in zip(nodes, made[kind], strict=True):
                results = zip(old.results, new.results, strict=True)
                found.update({first.name: (first, second) for first, second in results})
    named, renamed = _by_name(model), _by_name(quantized)
    return [found[name] if name in found else (named[name], renamed[name]) for name in names]


def _by_kind(model: Model) -> dict[str, list[Node]]:
    found: dict[str, list[Node]] = {}
    for node in model.graph:
        found.setdefault(node.kind, []).append(node)
    return found


def _by_name(model: Model) -> dict[str, Value]:
    results = [result for node in model.graph for result in node.results]
    return {value.name: value for value in (*model.graph.inputs, *results)}


class _Sums:
    def __init__(self) -> None:
        self._difference: Floats | float = 0.0
        self._nonzero: Floats | float = 0.0
        self._signal = self._noise = 0.0
        self._rows = 0

    def update(self, expected: Array, actual: Array) -> None:
        wide = expected.reshape(-1, expected.shape[-1]).astype(np.float64)
        apart = wide - actual.reshape(wide.shape).astype(np.float64)
        self._difference = self._difference + apart.sum(axis=0)
        self._nonzero = self._nonzero + np.count_nonzero(wide, axis=0)
        self._signal += float((wide**2).sum())
        self._noise += float((apart**2).sum())
        self._rows += len(wide)

    def result(self) -> Difference:
        rows = max(self._rows, 1)
        mean, passing = np.asarray(self._difference) / rows, np.asarray(self._nonzero) / rows
        return Difference(mean, passing, self._signal, self._noise)
