"""Equalization: channel factors that leave the float function alone and make int8 rounding smaller.

    conv(x; w, b) → relu → conv(y; v)     =     conv(x; w s, b s) → relu → conv(y s; v / s)

Activations have one scale a tensor; so a channel that is narrow next to its neighbours wastes most of the
256 levels. Scaled up it uses them, and the weights that make it lose nothing where each output channel has a
scale of its own. What reads it pays: its weights spread more over input channels. Where weights have one
scale (older kernels), the same factors also level the weights' ranges. Both are noise in one sum (`noise`),
and the factors that make this sum least are found by gradient descent on log s.

Sources: Nagel et al. 2019, "Data-free quantization through weight equalization and bias correction"
(factors between pairs of layers, relu's homogeneity); Xiao et al. 2022, "SmoothQuant" (moving the difficulty
from activations to weights by degrees).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from edgec.ir import Array, Model, Node
from edgec.ops import spec_of
from edgec.ops.spec import Homogeneity
from edgec.quantize.roles import assign_roles
from edgec.repair.axes import has_axes, rescaled
from edgec.repair.channels import Floats, Statistics
from edgec.repair.copying import copy_with
from edgec.repair.freedom import FIXED, Freedom, find_freedom
from edgec.repair.noise import Term, total_noise
from edgec.repair.outcome import Gain, RepairOutcome
from edgec.repair.sensitivity import find_sensitivities
from edgec.repair.terms import activation_terms, weight_terms

CLAMP = 6.0
PER_TENSOR_CLAMP_MARGIN = 4.0
LEAST_ACTIVE = 0.02
"""The share of nonzero elements from which the largest value seen says something about a channel."""

MAX_LOG_FACTOR = 12.0
_ROUNDS = 100
_FIRST_STEP, _LAST_STEP = 0.6, 0.005
"""They add up to 12, so any factor is in reach; with smaller ones, descent ends in worse minima."""


def equalize(
    model: Model,
    statistics: Statistics,
    *,
    per_tensor_kinds: Collection[str] = (),
    clamp_margin: float | None = None,
) -> RepairOutcome:
    """Return the model with its channels scaled for the least expected noise in int8.

    Args:
        model: float32, in the state that will be quantized; it stays as it is.
        statistics: of all its activations, from `collect_channel_statistics`.
        per_tensor_kinds: op kinds whose weights get one scale, as for `quantize_int8`.
        clamp_margin: scale a channel behind a relu6 so far that this many times its largest value stays
            below the clamp: exact for inputs that reach no further. Infinity leaves such channels alone,
            which is always exact; None means that, but 4 where weights with one scale would collapse.

    Biases count as corrected later (`bias` or rounding): the mean of what rounded weights add is left out.

    The gains are expected ones: the power of the model's outputs over the noise in them that rounding a
    node's result and its weights makes.
    """
    graph, roles = model.graph, assign_roles(model.graph)
    freedom = find_freedom(graph, roles)
    facts = (graph, roles, statistics, freedom, find_sensitivities(graph, roles, statistics))
    terms: list[Term] = [
        *activation_terms(*facts),
        *weight_terms(*facts, frozenset(per_tensor_kinds)),
    ]
    margin = clamp_margin or (PER_TENSOR_CLAMP_MARGIN if per_tensor_kinds else np.inf)
    z = _least(terms, *_bounds(freedom, statistics, margin))
    factors = np.exp(z)
    scaled = scale_channels(model, freedom, factors)
    return RepairOutcome(scaled, _gains(terms, z), _scaled_statistics(statistics, freedom, factors))


def _scaled_statistics(statistics: Statistics, freedom: Freedom, factors: Floats) -> Statistics | None:
    """Return the statistics of the scaled model; None where a channel of some tensor has several factors."""
    labels = {value.name: found for value, found in freedom.labels.items()}
    if any(found.size != found.shape[-1] and len(np.unique(factors[found])) > 1 for found in labels.values()):
        return None
    scaled = dict(statistics)
    for name, found in labels.items():
        if name in statistics:
            channels = statistics[name].mean.shape
            by_channel = found.reshape(-1) if found.size == found.shape[-1] else found.reshape(-1)[:1]
            scaled[name] = statistics[name].scaled(np.broadcast_to(factors[by_channel], channels))
    return scaled


def _bounds(freedom: Freedom, statistics: Statistics, clamp_margin: float) -> tuple[Floats, Floats]:
    """Return the least and the greatest log factor of each label."""
    low = np.full(freedom.count, -MAX_LOG_FACTOR)
    high = np.full(freedom.count, MAX_LOG_FACTOR)
    for value in freedom.clamped:
        labels, seen = freedom.channels(value), statistics[value.name]
        reach = np.maximum(seen.high, 1e-30) * clamp_margin / CLAMP
        free = (reach < 1) & (seen.nonzero > LEAST_ACTIVE)
        np.minimum.at(high, labels, np.where(free, -np.log(reach), 0.0))
        np.maximum.at(low, labels, np.where(free, -MAX_LOG_FACTOR, 0.0))
    low[FIXED] = high[FIXED] = 0.0
    return low, np.maximum(low, high)


def _least(terms: Sequence[Term], low: Floats, high: Floats) -> Floats:
    """Return the log factors with the least noise: Adam (Kingma and Ba 2015) with a falling step."""
    z = np.zeros_like(low)
    best, least = z, total_noise(terms, z)
    mean, square = np.zeros_like(z), np.zeros_like(z)
    for count in range(1, _ROUNDS + 1):
        gradient = np.zeros_like(z)
        noise = sum(term.evaluate(z, gradient) for term in terms)
        if not noise:
            break  # nothing that rounds reaches an output
        gradient /= noise  # of the logarithm: no scale of its own
        mean = 0.9 * mean + 0.1 * gradient
        square = 0.9 * square + 0.1 * gradient**2
        step = _FIRST_STEP * (_LAST_STEP / _FIRST_STEP) ** (count / _ROUNDS)
        direction = (mean / (1 - 0.9**count)) / (np.sqrt(square / (1 - 0.9**count)) + 1e-30)
        z = np.clip(z - step * direction, low, high)
        if count % 20 == 0 and (found := total_noise(terms, z)) < least:
            best, least = z, found
    return best


def scale_channels(model: Model, freedom: Freedom, factors: Floats) -> Model:
    """Return the model with each activation element multiplied by the factor of its label, which cancels."""
    roles = assign_roles(model.graph)
    constants: dict[tuple[Node, int], Array] = {}
    for node in model.graph:
        role = roles[node]
        if role.weights is not None and has_axes(node) and node.results[0] in freedom.labels:
            into = factors[freedom.channels(node.operand(role.data[0]))]
            out = factors[freedom.channels(node.result)]
            constants[node, role.weights] = rescaled(node, into, out).astype(np.float32)
            if role.bias is not None:
                bias = node.operand(role.bias).constant().astype(np.float64) * out
                constants[node, role.bias] = bias.astype(np.float32)
        elif spec_of(node).homogeneous is Homogeneity.TOGETHER:
            for index in (0, 1):
                if node.operand(index).is_constant and node.result in freedom.labels:
                    constants[node, index] = _addend(node, index, factors, freedom)
    changed = {key: data for key, data in constants.items() if not _same(data, key)}
    return copy_with(model, changed)


def _same(data: Array, key: tuple[Node, int]) -> bool:
    return np.array_equal(data, key[0].operand(key[1]).constant())


def _addend(node: Node, index: int, factors: Floats, freedom: Freedom) -> Array:
    data = node.operand(index).constant().astype(np.float64)
    scales = factors[freedom.channels(node.result)]
    if np.all(scales == scales[0]):
        return (data * scales[0]).astype(np.float32)
    return (data * scales).astype(np.float32)


def _gains(terms: Sequence[Term], z: Floats) -> tuple[Gain, ...]:
    """Return one gain for each node that rounds: its activations and its weights together."""
    added: dict[str, tuple[float, float]] = {}
    for term in terms:
        if term.node is not None:
            name = term.node.results[0].name
            before, after = added.get(name, (0.0, 0.0))
            added[name] = before + term.evaluate(np.zeros_like(z)), after + term.evaluate(z)
    return tuple(Gain(name, _decibels(before), _decibels(after)) for name, (before, after) in added.items())


def _decibels(noise: float) -> float:
    return float(-10 * np.log10(max(noise, 1e-30)))
