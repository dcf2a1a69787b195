"""Error-compensating rounding of all weights of a model, layer after layer, from calibration samples.

    float model ──────────────▶ x_float ─┐
                                         ├─▶ moments ─▶ choose ─▶ integers and bias ─┐
    quantized so far ─────────▶ x ───────┘                                           │
          ▲──────────────────────────────────────────────────────────────────────────┘

Both paths advance a layer at a time, so every layer sees its inputs as the finished model will compute them,
and takes back what rounding before it did to them as far as that is linear.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits

from edgec.ir import Model, Value
from edgec.quantize import ChosenWeights
from edgec.repair.copying import copy_with
from edgec.repair.rounding.choose import Choice, Method, choose
from edgec.repair.rounding.feeds import Sample, take_feeds
from edgec.repair.rounding.layers import Layer, weighted_layers, why_not
from edgec.repair.rounding.observe import observe
from edgec.repair.rounding.replay import Replay
from edgec.repair.rounding.stored import as_chosen, stored_weights
from edgec.repair.rounding.twins import put

QuantizedPath = Callable[[Model, Mapping[Value, ChosenWeights]], Model]
"""Quantizes a float model with the weights chosen so far: `quantize_int8` or its like, ranges bound."""

Progress = Callable[[int, int], None]

DEFAULT_BUDGET = 256 * 2**20
"""Bytes that each of the two paths may keep of all samples together."""


@dataclass(frozen=True, slots=True)
class LayerGain:
    """Mean squared error of a layer's output against float, summed over channels, on samples not chosen from.

    `before` is with weights rounded to nearest and the bias as it was, on the same inputs.
    """

    node: str
    kind: str
    method: Method
    before: float
    after: float

    @property
    def gain_db(self) -> float:
        """How much smaller the error became; 0 where nearest stayed."""
        if self.method is Method.NEAREST or self.after <= 0:
            return 0.0
        return 10 * math.log10(self.before / self.after)


@dataclass(frozen=True, slots=True, eq=False)
class RoundingOutcome:
    """What to quantize instead: `model` is the float model with biases that suit `weights`.

    The keys of `weights` are values of both models. `skipped` says of each node why it was left alone.
    """

    model: Model
    weights: Mapping[Value, ChosenWeights]
    gains: tuple[LayerGain, ...]
    skipped: Mapping[str, str]


def compensate_rounding(
    model: Model,
    samples: Iterable[Sample],
    path: QuantizedPath,
    *,
    budget: int = DEFAULT_BUDGET,
    threads: int = 2,
    progress: Progress | None = None,
) -> RoundingOutcome:
    """Choose the integers of every layer's weights so that outputs stay near the float model's.

    Args:
        model: float32, in the state that will be quantized; stays as it is.
        samples: arrays by input name in the source's layout, read once; their order does not matter.
        path: quantizes a model like `model`, with given weights; decides types, scales and granularity.
        budget: see `DEFAULT_BUDGET`; less means that layers are computed more than once, and fewer samples.
        threads: threads of the kernels.
        progress: called with the number of layers done and of all layers.

    Fewer than two samples leave nothing to judge a choice by: then all layers are skipped.
    """
    with threadpool_limits(limits=1, user_api="blas"):  # several, for products this small, spin on each other
        return _compensated(model, samples, path, budget, threads, progress)


def _compensated(
    model: Model,
    samples: Iterable[Sample],
    path: QuantizedPath,
    budget: int,
    threads: int,
    progress: Progress | None,
) -> RoundingOutcome:
    feeds = take_feeds(model.inputs, samples, budget)
    layers = weighted_layers(model.graph)
    replays = Replay(feeds, budget, threads), Replay(feeds, budget, threads)
    job = _Job(model, path, *replays)
    gains: list[LayerGain] = []
    skipped: dict[str, str] = {}
    for index, layer in enumerate(layers):
        reason = why_not(layer) if len(feeds) > 1 else "fewer than two samples"
        gain = None if reason else job.layer(index, layer, len(feeds))
        if gain is not None:
            gains.append(gain)
        else:
            skipped[layer.name] = reason or "its weights stay float"
        if progress is not None:
            progress(index + 1, len(layers))
    return RoundingOutcome(job.work, job.chosen, tuple(gains), skipped)


class _Job:
    """The float model, the copy whose biases change, the two paths, and weights to nearest and as chosen.

    Weights to nearest are told to the path as if chosen: searching their scales for every layer anew takes
    long for 4 bits.
    """

    def __init__(self, model: Model, path: QuantizedPath, real: Replay, stored: Replay) -> None:
        self.work = copy_with(model)
        self.chosen: dict[Value, ChosenWeights] = {}
        self._model, self._path, self._real, self._stored = model, path, real, stored
        self._works = weighted_layers(self.work.graph)
        self._quantized = path(model, {})
        self._twins = weighted_layers(self._quantized.graph)
        self._nearest = _nearest(weighted_layers(model.graph), self._twins)

    def layer(self, index: int, layer: Layer, samples: int) -> LayerGain | None:
        """Choose one layer's weights and bias; None where the path leaves them float."""
        twin = self._twins[index]
        nearest = stored_weights(layer, twin)
        if nearest is None:
            return None
        weights = layer.matrix(layer.weights.constant())
        inputs = zip(
            self._real.inputs_of(self._model, layer.node, layer.data),
            self._stored.inputs_of(self._quantized, twin.node, twin.data),
            strict=True,
        )
        choice = choose(weights, nearest, observe(layer, weights, twin.data, inputs, samples))
        self._apply(index, layer, choice)
        return LayerGain(
            layer.name, layer.node.kind, choice.candidate.method, choice.nearest_error, choice.error
        )

    def _apply(self, index: int, layer: Layer, choice: Choice) -> None:
        """Put a choice into both models."""
        candidate, work = choice.candidate, self._works[index]
        if candidate.method is Method.NEAREST:
            return
        if candidate.method is Method.COMPENSATED:
            self.chosen[layer.weights] = as_chosen(layer, candidate.stored)
        bias = (layer.bias() + candidate.shift).reshape(-1).astype(np.float32)
        constant = self.work.graph.constant(bias, f"{layer.node.results[0].name}/bias")
        self.work.graph.set_operand(work.node, layer.bias_index, constant)
        known = {**self._nearest, **self.chosen}
        if not put(work, self._twins[index], known[layer.weights]):
            self._quantized = self._path(self.work, known)
            self._twins = weighted_layers(self._quantized.graph)


def _nearest(layers: Sequence[Layer], twins: Sequence[Layer]) -> dict[Value, ChosenWeights]:
    """Return the integers that a path gives by itself."""
    pairs = zip(layers, twins, strict=True)
    found = {
        layer.weights: (layer, stored_weights(layer, twin)) for layer, twin in pairs if not why_not(layer)
    }
    return {weights: as_chosen(layer, stored) for weights, (layer, stored) in found.items() if stored}
