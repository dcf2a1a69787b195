"""Global magnitude pruning: the smallest |weight| of the whole model become zero.

keep w where |w| > t;   t is chosen so that exactly floor(fraction · N) of N weights go
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgec.ir import Array, Model, Node, Value
from edgec.ops import spec_of
from edgec.reports.model import PrunedLayer, Pruning
from edgec.targets import Target

_FAST_COMPRESSION = 1


@dataclass(frozen=True)
class PruneMagnitude:
    """Prunes element by element; `fraction` of all weights, not of each layer."""

    fraction: float
    name: str = "prune_magnitude"

    def run_with_report(self, model: Model, board: Target) -> tuple[Model, Pruning]:
        """Prune in place and return what was removed, layer by layer."""
        weighted = _weights(model)
        before = [value.constant() for value in weighted]
        pruned = _pruned(before, self.fraction)
        for value, data in zip(weighted, pruned, strict=True):
            value.data = data
        layers = tuple(
            _layer(node, old, new) for node, old, new in zip(weighted.values(), before, pruned, strict=True)
        )
        removed, total = sum(layer.removed for layer in layers), sum(layer.total for layer in layers)
        note = _target_note(board, before, pruned)
        achieved = removed / total if total else 0.0
        return model, Pruning("element", self.fraction, achieved, layers, note)


def _weights(model: Model) -> dict[Value, Node]:
    """Return every constant weight tensor with the node that first reads it; biases are left alone."""
    found: dict[Value, Node] = {}
    for graph in model.graphs:
        for node in graph:
            facts = spec_of(node).quant.weights
            weights = node.operand(facts.operand) if facts is not None else None
            if weights is not None and weights.data is not None and weights.dtype.is_float:
                found.setdefault(weights, node)
    return found


def _pruned(weights: Sequence[Array], fraction: float) -> list[Array]:
    """Return copies with exactly `floor(fraction · N)` smallest entries set to zero; ties go in order."""
    if not weights:
        return []
    magnitudes = np.concatenate([np.abs(array).reshape(-1) for array in weights])
    goal = int(fraction * magnitudes.size)
    drop = np.zeros(magnitudes.size, bool)
    if goal:
        threshold = np.partition(magnitudes, goal - 1)[goal - 1]
        drop = magnitudes < threshold
        ties = np.flatnonzero(magnitudes == threshold)
        drop[ties[: goal - int(drop.sum())]] = True
    result: list[Array] = []
    start = 0
    for array in weights:
        mask = drop[start : start + array.size].reshape(array.shape)
        result.append(np.where(mask, array.dtype.type(0), array))
        start += array.size
    return result


def _layer(node: Node, before: Array, after: Array) -> PrunedLayer:
    """`removed` counts weights that this pruning set to zero or that were zero and chosen again."""
    removed = int(after.size - np.count_nonzero(after))
    name = node.source or node.results[0].name
    return PrunedLayer(name, node.kind, tuple(after.shape), removed, after.size, removed / after.size)


def _target_note(board: Target, before: Sequence[Array], after: Sequence[Array]) -> str:
    old, new = _compressed(before), _compressed(after)
    saved = 1 - new / old if old else 0.0
    gain = {
        "litert_xnnpack": "The file and the latency stay as they are: zeros are stored and multiplied like "
        "any weight (XNNPACK's sparse kernels need a DENSIFY encoding, which is not emitted).",
        "tflm": "Flash, arena and latency stay as they are: TFLite Micro has no sparse kernels.",
    }[board.profile]
    return f"{gain} Compressed for transfer, the weights shrink by {saved:.0%} (zlib, measured)."


def _compressed(weights: Sequence[Array]) -> int:
    """Return the size of the weights under fast zlib, in bytes; measured, not estimated."""
    packer = zlib.compressobj(_FAST_COMPRESSION)
    size = sum(len(packer.compress(np.ascontiguousarray(w).reshape(-1).view(np.uint8).data)) for w in weights)
    return size + len(packer.flush())
