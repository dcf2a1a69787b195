"""What recipes are compared by: a model's outputs, or what goes into a softmax or sigmoid that ends it.

    ... ─▶ logits ─▶ softmax ─▶ output

Behind a softmax nearly all of the error comes from the few samples that are ambiguous, and the others say
nothing; so a comparison on the outputs of few samples is a lottery. Logits say of every sample how well it
was computed. What differs where the function saturates does not count.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from edgec.calibrate.saturation import Range, squashing
from edgec.ir import Array, Model, Port, Value
from edgec.ops import spec_of
from edgec.recipes.evaluate import Samples, outputs_of
from edgec.repair.copying import copy_graph

_LEAST_LOG = -10.0
"""Log-probabilities are compared down to here: exp(-10) is a hundredth of the step of an int8 softmax."""


def _log_probabilities(values: Array) -> Array:
    shifted = values - values.max(axis=-1, keepdims=True)
    return np.maximum(shifted, _LEAST_LOG)


def _within(telling: Range) -> Callable[[Array], Array]:
    return lambda values: np.clip(values, *telling)


_COUNTED: dict[str, Callable[[Array], Array]] = {
    "softmax": _log_probabilities,
    **{kind: _within(telling) for kind, telling in squashing().items()},
}


class Comparison:
    """The float model's answers to some samples, for quantized forms of it to be held against."""

    def __init__(self, model: Model, samples: Samples, threads: int = 2) -> None:
        self._samples, self._threads = samples, threads
        self._logits = [_ending(value) for value in model.graph.outputs]
        self._plain = outputs_of(model, samples, threads)
        self._reference = self._read(model, self._logits) if any(self._logits) else self._plain

    def answers(self, model: Model) -> tuple[list[Array], list[Array]]:
        """Return a quantized form's answers and float's, one array for each output, samples first."""
        found = [_ending(value) for value in model.graph.outputs]
        same = [
            mine if mine and theirs and mine[1] == theirs[1] else None
            for mine, theirs in zip(found, self._logits, strict=True)
        ]
        expected = [
            logits if one else plain
            for one, logits, plain in zip(same, self._reference, self._plain, strict=True)
        ]
        return self._read(model, same), expected

    def _read(self, model: Model, logits: list[tuple[Value, str] | None]) -> list[Array]:
        wanted = [one[0] if one else value for one, value in zip(logits, model.graph.outputs, strict=True)]
        graph, values = copy_graph(model.graph, wanted=wanted)
        graph.set_outputs(values[value] for value in wanted)
        ports = [
            Port(value.name, value.shape, value.dtype) if one else port
            for one, value, port in zip(logits, wanted, model.outputs, strict=True)
        ]
        answers = outputs_of(replace(model, graph=graph, outputs=ports), self._samples, self._threads)
        return [
            _COUNTED[one[1]](answer) if one else answer for one, answer in zip(logits, answers, strict=True)
        ]


def _ending(output: Value) -> tuple[Value, str] | None:
    """Return what goes into the function that ends an output, and its kind; None where none does."""
    value = output
    while value.producer is not None and spec_of(value.producer).carries:
        value = value.producer.operand(0)
    node = value.producer
    if node is None or node.kind not in _COUNTED or node.operand(0).is_constant:
        return None
    return node.operand(0), node.kind
