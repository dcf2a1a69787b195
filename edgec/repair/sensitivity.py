"""How much noise in each channel of each activation reaches the model's outputs, in closed form.

`white[v][c]` is the noise power at the outputs, relative to their signal power, for independent noise of
unit variance in every element of channel c of value v; `coherent[v][c]` the same for one error that all
elements of the channel share, as a rounded weight makes it. Both are propagated backwards like an expected
squared gradient; what reaches one element by several ways counts as independent.

                        white                              coherent
    y = conv(x; w)      W_x[c] = Σ_o W_y[o] Σ_k w[o,k,c]²      C_x[c] = Σ_o C_y[o] (Σ_k w[o,k,c])²
    y = relu(x)         W_x = p W_y                            C_x = p² C_y + p (1 - p) W_y
    y = mean(x)         W_x = W_y / n                          C_x = C_y
    y = x * g           W_x = W_y E[g²]                        C_x = C_y E[g]² + W_y Var(g)
    y = f(x)            W_x = W_y Var(y) / Var(x)              C_x = C_y Var(y) / Var(x)

p is the share of elements that pass the relu, n the number of elements in one mean. Movement takes every
element's sensitivity with it.

Independence makes noise die out over many layers, which it does not do: a trained network passes on what it
is fed. So in front of every node with weights the sensitivities are scaled until noise that is shaped like
the signal keeps its ratio to it. (Measured on single layers of three classifiers: predictions of the noise of
rounded weights at the output are within a few dB then, up to 45 dB too low without.) Rounding noise is new
where it is made, and really independent up to the next node with weights: `Hearing.fresh`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod

import numpy as np

from edgec.ir import Graph, Node, Value
from edgec.ops import ActivationFunctionType, spec_of
from edgec.ops.layout import REDUCE
from edgec.ops.spec import Constraint, Gathering
from edgec.quantize.roles import Roles, is_real
from edgec.repair.axes import has_axes, scatters, tap_sums
from edgec.repair.channels import Floats, Statistics

_TINY = 1e-30


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """Vectors over the last axis of one value, see the module's docstring."""

    white: Floats
    coherent: Floats

    def __add__(self, other: Sensitivity) -> Sensitivity:
        return Sensitivity(self.white + other.white, self.coherent + other.coherent)

    def each(self, change: Callable[[Floats], Floats]) -> Sensitivity:
        """Return both vectors changed in the same way."""
        return Sensitivity(change(self.white), change(self.coherent))


Sensitivities = Mapping[Value, Sensitivity]


@dataclass(frozen=True, slots=True)
class Hearing:
    """The sensitivities of a graph's real activations; zeros where nothing reaches an output.

    `shaped`: to noise that has come some way and took on the signal's shape. `fresh`: to noise made on the
    spot, up to the next node with weights as if independent, which it is: less of it gets through.
    """

    shaped: Sensitivities
    fresh: Sensitivities


def find_sensitivities(graph: Graph, roles: Roles, statistics: Statistics) -> Hearing:
    """Return the sensitivities of each real activation."""
    shaped = {v: Sensitivity(np.zeros(v.shape[-1]), np.zeros(v.shape[-1])) for v in _activations(graph)}
    for value in graph.outputs:
        if value in shaped:
            power = float(statistics[value.name].second_moment.sum()) * value.type.size / value.shape[-1]
            unit = np.full(value.shape[-1], value.type.size / value.shape[-1] / max(power, _TINY))
            shaped[value] = shaped[value] + Sensitivity(unit, unit)
    fresh = dict(shaped)
    for node in reversed(graph):
        weighted = roles[node].weights is not None and has_axes(node)
        for x, back in _backward(node, roles, statistics, shaped if weighted else fresh):
            fresh[x] = fresh[x] + back
        for x, back in _backward(node, roles, statistics, shaped):
            y = node.results[0]
            kept = _conserved(back, x, shaped[y], y, statistics) if weighted else back
            shaped[x] = shaped[x] + kept
    return Hearing(shaped, fresh)


def before_activation(node: Node, y: Sensitivity, statistics: Statistics) -> Sensitivity:
    """Return the sensitivity in front of a node's fused activation."""
    fused = getattr(node.attributes, "fused_activation_function", ActivationFunctionType.NONE)
    if fused is ActivationFunctionType.NONE:
        return y
    return _through_relu(y, statistics[node.results[0].name].nonzero)


def _through_relu(y: Sensitivity, passing: Floats) -> Sensitivity:
    return Sensitivity(passing * y.white, passing**2 * y.coherent + passing * (1 - passing) * y.white)


def _activations(graph: Graph) -> list[Value]:
    results = [result for node in graph for result in node.results]
    return [v for v in (*graph.inputs, *results) if is_real(v) and v.shape and v.type.is_static]


def _backward(
    node: Node, roles: Roles, statistics: Statistics, found: Sensitivities
) -> list[tuple[Value, Sensitivity]]:
    results = [result for result in node.results if result in found]
    operands = [v for v in node.operands if v is not None and v in found]
    if not results or not operands:
        return []
    y, x = results[0], operands[0]
    inner = before_activation(node, found[y], statistics)
    if roles[node].weights is not None and has_axes(node):
        return [(x, _of_weights(node, inner, x))]
    if node.kind in ("add", "sub"):
        return [(v, inner.each(lambda part, v=v: _spread(part, v))) for v in operands]
    if node.kind == "mul":
        return _of_product(node, inner, statistics, found)
    if spec_of(node).gathers is Gathering.MEAN:
        part = inner.each(lambda part: _spread(part, x))
        return [(x, Sensitivity(part.white / _averaged(node), part.coherent))]
    if spec_of(node).gathers is Gathering.ONE:
        return [(x, inner.each(lambda part: _spread(part, x)))]
    if node.kind == "relu":
        return [(x, _through_relu(inner, statistics[y.name].nonzero))]
    if spec_of(node).fold is not None and spec_of(node).quant.constraint is Constraint.SAME_SCALE:
        moved = _of_movement(node, found)
        if moved is not None:
            return moved
    return [(v, _of_function(inner, y, v, statistics)) for v in operands]


def _of_weights(node: Node, inner: Sensitivity, x: Value) -> Sensitivity:
    by_square = _back(node, x, inner.white, tap_sums(node, lambda w: w**2))
    by_sum = _back(node, x, inner.coherent, tap_sums(node, lambda w: w) ** 2)
    return Sensitivity(_folded(by_square, x), _folded(by_sum, x))


def _conserved(
    back: Sensitivity, x: Value, forth: Sensitivity, y: Value, statistics: Statistics
) -> Sensitivity:
    """Scale so that noise shaped like the signal keeps its ratio to it."""
    wanted, found = _transfer(forth, y, statistics), _transfer(back, x, statistics)
    return back.each(lambda part: part * (wanted / max(found, _TINY)))


def _transfer(of: Sensitivity, value: Value, statistics: Statistics) -> float:
    """Return the noise at the outputs for noise that has the signal's own variances."""
    seen = statistics[value.name]
    shared = np.maximum(seen.coherent - seen.mean**2, 0.0)
    return float(of.white @ np.maximum(seen.variance - shared, 0.0) + of.coherent @ shared)


def _back(node: Node, x: Value, inner: Floats, gains: Floats) -> Floats:
    """Return for each input what the outputs that read it hear, by gains [group, output, input]."""
    back = np.einsum("go,goc->gc", inner.reshape(gains.shape[:2]), gains).reshape(-1)
    if not scatters(node):
        return back
    return back * prod(x.shape[1:3]) / prod(node.result.shape[1:3])


def _folded(back: Floats, x: Value) -> Floats:
    """Return sensitivities by last axis where a matrix product reads several axes as one."""
    return back.reshape(-1, x.shape[-1]).sum(axis=0)


def _spread(part: Floats, x: Value) -> Floats:
    """Return a result's sensitivity by the channels of an operand: one each, or evenly."""
    return part if len(part) == x.shape[-1] else np.full(x.shape[-1], part.sum() / x.shape[-1])


def _averaged(node: Node) -> float:
    if spec_of(node).layout is REDUCE:
        return node.operand(0).type.size / node.result.type.size
    attributes = node.attributes
    return float(getattr(attributes, "filter_width", 1) * getattr(attributes, "filter_height", 1))


def _of_product(
    node: Node, inner: Sensitivity, statistics: Statistics, found: Sensitivities
) -> list[tuple[Value, Sensitivity]]:
    backs: list[tuple[Value, Sensitivity]] = []
    for x, factor in ((node.operand(0), node.operand(1)), (node.operand(1), node.operand(0))):
        if x in found:
            mean, moment = _factor_moments(factor, statistics)
            coherent = inner.coherent * mean**2 + inner.white * np.maximum(moment - mean**2, 0.0)
            parts = Sensitivity(inner.white * moment, coherent)
            backs.append((x, parts.each(lambda part, x=x: _spread(part, x))))
    return backs


def _factor_moments(factor: Value, statistics: Statistics) -> tuple[Floats, Floats]:
    if factor.data is None and factor.name not in statistics:
        return np.ones(1), np.ones(1)  # a scalar, or of open shape: nothing is known of it
    if factor.data is None:
        return statistics[factor.name].mean, statistics[factor.name].second_moment
    rows = factor.constant().astype(np.float64)
    rows = rows.reshape(-1, rows.shape[-1] if rows.ndim else 1)
    return rows.mean(axis=0), (rows**2).mean(axis=0)


def _of_movement(node: Node, found: Sensitivities) -> list[tuple[Value, Sensitivity]] | None:
    """Move element numbers as the node moves elements, and bring each result element's share back."""
    starts: list[tuple[int, Value]] = []
    operands: list[Value | None] = []
    total = 1  # element 0 is padding
    for value in node.operands:
        if value is None or not is_real(value):
            operands.append(value)
            continue
        numbers = np.zeros(value.shape, np.int64)
        if value in found:
            numbers = np.arange(total, total + value.type.size).reshape(value.shape)
            starts.append((total, value))
            total += value.type.size
        operands.append(Value(value.name, value.type, numbers))
    fold = spec_of(node).fold
    if fold is None or any(v is not None and v.data is None for v in operands):
        return None
    folded = fold(Node(node.kind, operands, [Value(r.name, r.type) for r in node.results], node.attributes))
    if folded is None:
        return None

    def back(part: Callable[[Sensitivity], Floats], start: int, value: Value) -> Floats:
        power = np.zeros(total)
        for result, numbers in zip(node.results, folded, strict=True):
            share = part(found[result]) * (result.shape[-1] / result.type.size)
            weights = np.broadcast_to(share, numbers.shape).ravel()
            power += np.bincount(numbers.ravel(), weights, minlength=total)
        return power[start : start + value.type.size].reshape(-1, value.shape[-1]).sum(axis=0)

    return [
        (v, Sensitivity(back(lambda s: s.white, start, v), back(lambda s: s.coherent, start, v)))
        for start, v in starts
    ]


def _of_function(inner: Sensitivity, y: Value, x: Value, statistics: Statistics) -> Sensitivity:
    out, into = statistics[y.name].variance, statistics[x.name].variance
    if y.shape[-1] == x.shape[-1]:
        return inner.each(lambda part: part * out / np.maximum(into, _TINY))
    ratio = float(out.mean()) / max(float(into.mean()), _TINY)
    return inner.each(lambda part: _spread(part, x) * ratio)
