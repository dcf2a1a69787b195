"""The quantized model beside the float model, tensor by tensor: where accuracy is lost along the way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from edgec.ir import Array, Model, Node, Value
from edgec.ops import spec_of
from edgec.quantize.names import node_name
from edgec.quantize.parameters import represented
from edgec.recipes.evaluate import Sample, Samples
from edgec.repair.watch import Watch
from edgec.reports.explanation import LayerCheck, TensorHistogram
from edgec.verify.measures import OutputStatistics

MAX_SAMPLES = 8
BINS = 64
SHOWN = 12
"""Histograms of so many tensors: the layers with the lowest SQNR."""
MOST_BEYOND = 1.0
"""Widths of the range by which a histogram goes beyond it on each side; its ends hold the rest."""


_Windows = dict[Value, tuple[float, float]]


@dataclass(frozen=True, slots=True)
class _Pair:
    """A tensor of the float model and the same tensor in the quantized one."""

    node: Node
    floats: Value
    integers: Value


def layer_checks(model: Model, quantized: Model, samples: Samples) -> tuple[LayerCheck, ...]:
    """Return one check for each node whose result both models have, in order of execution.

    Both models run on up to eight samples. A result of whole numbers is left out, and so is one that only
    moves data: it says what its operand says.
    """
    pairs = _pairs(model, quantized)
    statistics = {pair.floats.name: OutputStatistics(pair.floats.name) for pair in pairs}
    ours, theirs = Watch(quantized, [p.integers for p in pairs]), Watch(model, [p.floats for p in pairs])
    by_integers = {pair.integers: pair.floats.name for pair in pairs}
    for sample in _first(samples):
        seen: dict[str, Array] = {}
        ours.show(sample, lambda value, array, seen=seen: seen.update({by_integers[value]: array.copy()}))
        theirs.show(
            sample, lambda value, array, seen=seen: statistics[value.name].update(array, seen[value.name])
        )
    return tuple(
        LayerCheck(node_name(pair.node), pair.node.kind, statistics[pair.floats.name].sqnr_db)
        for pair in pairs
    )


def histograms(
    model: Model, quantized: Model, samples: Samples, checks: Iterable[LayerCheck]
) -> tuple[TensorHistogram, ...]:
    """Return the histograms of the worst layers: their activations and, where they have some, weights."""
    worst = {check.node for check in sorted(checks, key=lambda check: check.sqnr_db)[:SHOWN]}
    pairs = [pair for pair in _pairs(model, quantized) if node_name(pair.node) in worst]
    limits = {pair.floats: _limits(pair.integers) for pair in pairs}
    windows = _windows(model, limits, samples)
    counts = {value: np.zeros(BINS, np.int64) for value in limits}

    def observe(value: Value, array: Array) -> None:
        low, high = windows[value]
        inside = np.clip(array.astype(np.float64), low, high)
        counts[value] += np.histogram(inside, BINS, (low, high))[0]

    watch = Watch(model, list(limits))
    for sample in _first(samples):
        watch.show(sample, observe)
    found: list[TensorHistogram] = []
    for pair in pairs:
        value = pair.floats
        bins = tuple(map(int, counts[value]))
        found.append(TensorHistogram(value.name, "activations", *windows[value], *limits[value], bins))
        found += _weights(pair.node)
    return tuple(found)


def _windows(model: Model, limits: Mapping[Value, tuple[float, float]], samples: Samples) -> _Windows:
    """Return what each histogram shows: the range, and what values do beyond it."""
    windows = dict(limits)

    def widen(value: Value, array: Array) -> None:
        (low, high), (first, last) = limits[value], windows[value]
        most = MOST_BEYOND * (high - low)
        least, greatest = float(array.min(initial=first)), float(array.max(initial=last))
        windows[value] = max(min(first, least), low - most), min(max(last, greatest), high + most)

    watch = Watch(model, list(limits))
    for sample in _first(samples):
        watch.show(sample, widen)
    return windows


def _pairs(model: Model, quantized: Model) -> list[_Pair]:
    """Pair tensors by name; where kernels made another form of a node, its last tensor stands for it.

    That is known only of a node that is alone with its source name and shape.
    """
    by_name: dict[str, Value] = {}
    by_source: dict[tuple[str | None, tuple[int, ...]], Value] = {}
    for node in quantized.graph:
        for result in node.results:
            if result.type.quantization is not None and node.kind not in ("quantize", "dequantize"):
                by_name[result.name] = by_source[node.source, result.shape] = result
    keys = {node: (node.source or node.results[0].name, node.results[0].shape) for node in model.graph}
    counts = Counter(keys.values())
    pairs: list[_Pair] = []
    for node, key in keys.items():
        floats = node.results[0]
        integers = by_name.get(floats.name)
        if integers is None and counts[key] == 1:
            integers = by_source.get(key)
        if floats.dtype.is_float and integers is not None and not _only_moves(node):
            pairs.append(_Pair(node, floats, integers))
    return pairs


def _only_moves(node: Node) -> bool:
    """Whether a node's result holds values of its one operand, in another order or shape."""
    return spec_of(node).fold is not None and _moved(node) == 1


def _moved(node: Node) -> int:
    return sum(value is not None and not value.is_constant for value in node.operands)


def _limits(value: Value) -> tuple[float, float]:
    quantization = value.type.quantization
    assert quantization is not None
    return represented(quantization, value.dtype)


def _weights(node: Node) -> list[TensorHistogram]:
    facts = spec_of(node).quant.weights
    weights = None if facts is None else node.optional_operand(facts.operand)
    if weights is None or weights.data is None:
        return []
    limit = float(np.abs(weights.data).max(initial=0.0)) or 1.0
    bins = np.histogram(weights.data, BINS, (-limit, limit))[0]
    return [TensorHistogram(weights.name, "weights", -limit, limit, -limit, limit, tuple(map(int, bins)))]


def _first(samples: Iterable[Sample]) -> Iterable[Mapping[str, Array]]:
    for index, sample in enumerate(samples):
        if index == MAX_SAMPLES:
            return
        yield sample
