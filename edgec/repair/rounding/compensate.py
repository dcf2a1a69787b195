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
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits

from edgec.ir import Array, Model, Value
from edgec.quantize import ChosenWeights
from edgec.quantize.parameters import Floats
from edgec.repair.copying import copy_with
from edgec.repair.rounding.choose import Choice, Method, choose
from edgec.repair.rounding.columns import Columns
from edgec.repair.rounding.feeds import Sample, take_feeds
from edgec.repair.rounding.layers import Layer, weighted_layers, why_not
from edgec.repair.rounding.moments import Moments
from edgec.repair.rounding.replay import Replay, as_real
from edgec.repair.rounding.stored import as_chosen, stored_weights

QuantizedPath = Callable[[Model, Mapping[Value, ChosenWeights]], Model]
"""Quantizes a float model with the weights chosen so far: `quantize_int8` or its like, ranges bound."""

Progress = Callable[[int, int], None]

MIN_POSITIONS, POSITIONS_PER_COLUMN = 8192, 16
"""A layer's moments come from this many output positions, if the samples have them, drawn per sample."""

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
    job = _Job(model, copy_with(model), path, *replays, _nearest(layers, path(model, {})), {})
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


@dataclass(frozen=True, slots=True, eq=False)
class _Job:
    """The float model, the copy whose biases change, the two paths, and weights to nearest and as chosen.

    Weights to nearest are told to the path as if chosen: searching their scales for every layer anew takes
    long for 4 bits.
    """

    model: Model
    work: Model
    path: QuantizedPath
    real: Replay
    stored: Replay
    nearest: Mapping[Value, ChosenWeights]
    chosen: dict[Value, ChosenWeights]

    def layer(self, index: int, layer: Layer, samples: int) -> LayerGain | None:
        """Choose one layer's weights and bias; None where the path leaves them float."""
        quantized = self.path(self.work, {**self.nearest, **self.chosen})
        twin = weighted_layers(quantized.graph)[index]
        nearest = stored_weights(layer, twin)
        if nearest is None:
            return None
        weights = layer.matrix(layer.weights.constant())
        moments = _moments(layer, weights, self._inputs(layer, quantized, twin), samples)
        choice = choose(weights, nearest, moments)
        self._apply(index, layer, choice)
        return LayerGain(
            layer.name, layer.node.kind, choice.candidate.method, choice.nearest_error, choice.error
        )

    def _inputs(self, layer: Layer, quantized: Model, twin: Layer) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield the layer's input of both paths, sample by sample."""
        real = self.real.inputs_of(self.model, layer.node, layer.data)
        stored = self.stored.inputs_of(quantized, twin.node, twin.data)
        for expected, seen in zip(real, stored, strict=True):
            yield expected, as_real(twin.data, seen).astype(np.float32)

    def _apply(self, index: int, layer: Layer, choice: Choice) -> None:
        candidate = choice.candidate
        if candidate.method is Method.NEAREST:
            return
        if candidate.method is Method.COMPENSATED:
            self.chosen[layer.weights] = as_chosen(layer, candidate.stored)
        node = weighted_layers(self.work.graph)[index].node
        bias = (layer.bias() + candidate.shift).reshape(-1).astype(np.float32)
        constant = self.work.graph.constant(bias, f"{layer.node.results[0].name}/bias")
        self.work.graph.set_operand(node, layer.bias_index, constant)


def _nearest(layers: Sequence[Layer], quantized: Model) -> dict[Value, ChosenWeights]:
    """Return the integers that a path gives by itself."""
    pairs = zip(layers, weighted_layers(quantized.graph), strict=True)
    found = {
        layer.weights: (layer, stored_weights(layer, twin)) for layer, twin in pairs if not why_not(layer)
    }
    return {weights: as_chosen(layer, stored) for weights, (layer, stored) in found.items() if stored}


def _moments(
    layer: Layer, weights: Floats, inputs: Iterator[tuple[np.ndarray, np.ndarray]], samples: int
) -> tuple[Moments, Moments]:
    """Return the moments of the samples with even and with odd numbers."""
    groups, outputs, columns = weights.shape
    turned = weights.transpose(0, 2, 1).astype(np.float32)
    halves = Moments(groups, outputs, columns), Moments(groups, outputs, columns)
    wanted = max(MIN_POSITIONS, POSITIONS_PER_COLUMN * columns)
    for index, (expected, seen) in enumerate(inputs):
        found, truth = Columns(layer, seen), Columns(layer, expected)
        at = _positions(found.positions, math.ceil(wanted / samples), index)
        x = found.at(at)
        halves[index % 2].add(x, (x - truth.at(at)) @ turned)
    return halves


def _positions(count: int, wanted: int, seed: int) -> Array:
    """Return positions in rising order; a seed of its own for each sample, so that all places are seen."""
    if count <= wanted:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, wanted, replace=False))
