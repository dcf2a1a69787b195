"""Which channels of a graph may be multiplied by a factor without changing what the graph computes.

A positively homogeneous node passes a factor on: relu(s x) = s relu(x), max, padding with zeros, movement. A
node with constant weights takes its input's factors back and may give its output new ones:

    conv(x; w, b)        →    conv(x * s_in;  w * s_out / s_in,  b * s_out)  =  conv(x; w, b) * s_out

So every activation element has a *label*; elements with one label share a factor. Labels are unified where a
node asks for it (the operands of an add), and label 0 is the factor 1: inputs and outputs of the model, and
everything around nodes that are not homogeneous.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgec.ir import Graph, Node, Value
from edgec.ops import ActivationFunctionType, spec_of
from edgec.ops.layout import REDUCE
from edgec.ops.spec import Constraint, Homogeneity
from edgec.quantize.roles import Role, Roles, Treatment, is_real

Labels = npt.NDArray[np.int64]
FIXED = 0
ANY = -1
"""What padding is: zero times any factor is zero."""

_FREE_ACTIVATIONS = (ActivationFunctionType.NONE, ActivationFunctionType.RELU)


@dataclass(frozen=True, slots=True)
class Freedom:
    """Labels of each activation: an array of its rank, size 1 along axes on which labels do not depend.

    `clamped` are labels behind a fused relu6: their factors must keep every value below the clamp.
    """

    labels: dict[Value, Labels]
    count: int
    clamped: dict[Value, Labels]

    def channels(self, value: Value) -> Labels:
        """Return one label for each channel (last axis); ValueError where they depend on other axes."""
        found = self.labels[value]
        if found.size != found.shape[-1]:
            raise ValueError(f"labels of '{value.name}' depend on more than its last axis")
        return np.broadcast_to(found.reshape(-1), value.shape[-1:])


def find_freedom(graph: Graph, roles: Roles) -> Freedom:
    """Return the labels of all real activations of a graph."""
    return _Finder(graph, roles).find()


class _Finder:
    def __init__(self, graph: Graph, roles: Roles) -> None:
        self._graph, self._roles = graph, roles
        self._labels: dict[Value, Labels] = {}
        self._equal: list[tuple[Labels, Labels]] = []
        self._next = FIXED + 1

    def find(self) -> Freedom:
        for value in self._graph.inputs:
            self._labels[value] = _fixed(value)
        for node in self._graph:
            if any(is_real(result) for result in node.results):
                self._visit(node)
            else:
                self._fix_operands(node)
        for value in self._graph.outputs:
            self._fix(value)
        self._fix_what_is_not_by_channel()
        roots = _roots(self._next, self._equal)
        labels = {value: _narrow(roots[np.maximum(found, FIXED)]) for value, found in self._labels.items()}
        clamped = {v: labels[v] for v in labels if v.producer is not None and _is_relu6(v.producer)}
        return Freedom(labels, self._next, clamped)

    def _visit(self, node: Node) -> None:
        role = self._roles[node]
        rule = self._rule(node, role)
        made = rule(node, role)
        if made is None:
            self._fix_operands(node)
            made = [_fixed(result) for result in node.results]
        for result, found in zip(node.results, made, strict=True):
            self._labels[result] = np.atleast_1d(found)  # of a scalar, too

    def _rule(self, node: Node, role: Role) -> Callable[[Node, Role], list[Labels] | None]:
        fused = getattr(node.attributes, "fused_activation_function", ActivationFunctionType.NONE)
        spec = spec_of(node)
        if role.weights is not None and spec.quant.weights is not None:
            return self._weighted
        if fused not in _FREE_ACTIVATIONS:
            return self._none
        if spec.homogeneous is Homogeneity.TOGETHER:
            return self._sum
        if spec.homogeneous is not Homogeneity.NONE:
            return self._passed_on(node)
        if spec.quant.constraint is Constraint.SAME_SCALE and spec.fold is not None:
            return self._moved
        return self._none

    def _passed_on(self, node: Node) -> Callable[[Node, Role], list[Labels] | None]:
        """Return the rule for a node that passes factors of one operand on."""
        if spec_of(node).layout is REDUCE:
            return self._reduced
        return self._scaled if sum(map(is_real, node.operands)) > 1 else self._kept

    def _none(self, node: Node, role: Role) -> list[Labels] | None:
        return None

    def _weighted(self, node: Node, role: Role) -> list[Labels] | None:
        fused = getattr(node.attributes, "fused_activation_function", ActivationFunctionType.NONE)
        facts = spec_of(node).quant.weights
        if facts is None or not facts.axes:
            return None
        if fused not in (*_FREE_ACTIVATIONS, ActivationFunctionType.RELU6) or not node.result.type.is_static:
            return None
        result = node.result
        made = np.arange(self._next, self._next + result.shape[-1])
        self._next += result.shape[-1]
        return [made.reshape((1,) * (result.type.rank - 1) + (-1,))]

    def _kept(self, node: Node, role: Role) -> list[Labels] | None:
        x = self._labels[node.operand(0)]
        return [x] if x.size == x.shape[-1] else None

    def _sum(self, node: Node, role: Role) -> list[Labels] | None:
        activations = [v for v in (node.operand(0), node.operand(1)) if not v.is_constant]
        constants = [v for v in (node.operand(0), node.operand(1)) if v.is_constant]
        if constants and spec_of(node).quant.constraint is Constraint.SAME_SCALE:
            return None  # a constant that shares the activation's scale is no addend to be scaled along
        spread = np.broadcast_arrays(*(self._labels[v] for v in activations)) if activations else []
        for other in spread[1:]:
            self._equal.append((spread[0].ravel(), other.ravel()))
        if not spread or any(c.type.size not in (1, c.shape[-1]) for c in constants if c.shape):
            return None
        made = np.maximum.reduce(spread)  # beside ANY the other operand's label counts
        return [made.reshape((1,) * (node.result.type.rank - made.ndim) + made.shape)]

    def _reduced(self, node: Node, role: Role) -> list[Labels] | None:
        x = node.operand(0)
        found = self._labels[x]
        axes = node.operand(1)
        if axes.data is None:
            return None
        reduced = {int(axis) % x.type.rank for axis in np.atleast_1d(axes.data)}
        if any(found.shape[axis] != 1 for axis in reduced):
            return None
        kept = [size for axis, size in enumerate(found.shape) if axis not in reduced]
        keeps_rank = node.result.type.rank == x.type.rank
        return [found.reshape(found.shape if keeps_rank else kept)]

    def _scaled(self, node: Node, role: Role) -> list[Labels] | None:
        """A factor that does not change: a constant, or an activation that keeps its own."""
        operands = [node.operand(0), node.operand(1)]
        free = operands if spec_of(node).homogeneous is Homogeneity.EACH else operands[:1]
        wide = [v for v in free if not v.is_constant and v.shape == node.result.shape]
        if not wide:
            return None
        for other in operands:
            if other is not wide[0] and not other.is_constant:
                self._fix(other)
        if operands[0] is operands[1]:
            return None
        return [self._labels[wide[0]]]

    def _moved(self, node: Node, role: Role) -> list[Labels] | None:
        if not all(v is None or v.type.is_static for v in (*node.operands, *node.results)):
            return None
        operands = [v and self._as_constant(node, index) for index, v in enumerate(node.operands)]
        if any(v is not None and v.data is None for v in operands):
            return None
        fold = spec_of(node).fold
        assert fold is not None
        results = [Value(r.name, r.type) for r in node.results]
        folded = fold(Node(node.kind, operands, results, node.attributes, node.source))
        return None if folded is None else [_compressed(array.astype(np.int64)) for array in folded]

    def _as_constant(self, node: Node, index: int) -> Value:
        """Return the operand with labels in place of numbers."""
        value = node.operand(index)
        if not is_real(value):
            return value
        if value.is_constant:
            data = np.where(value.constant() == 0, ANY, FIXED)
        else:
            data = np.broadcast_to(
                self._labels[value] if value.shape else self._labels[value][0], value.shape
            )
        # Shifted by one, so that the zeros a kernel pads with mean ANY.
        return Value(value.name, value.type, np.asarray(data - ANY, np.int64))

    def _fix_operands(self, node: Node) -> None:
        for value in node.operands:
            if value is not None and value in self._labels:
                self._fix(value)

    def _fix(self, value: Value) -> None:
        if value in self._labels:
            found = self._labels[value].ravel()
            self._equal.append((found, np.full_like(found, FIXED)))

    def _fix_what_is_not_by_channel(self) -> None:
        """Weights and statistics know last axes alone: other patterns may only pass through movement."""
        for value, found in self._labels.items():
            moved = value.producer is not None and self._roles[value.producer].treatment is Treatment.LINKED
            read = any(self._roles[user].weights is not None for user in value.users)
            if found.size != found.shape[-1] and (read or not moved):
                self._fix(value)


def _fixed(value: Value) -> Labels:
    return np.full((1,) * max(value.type.rank, 1), FIXED, np.int64)


def _is_relu6(node: Node) -> bool:
    fused = getattr(node.attributes, "fused_activation_function", ActivationFunctionType.NONE)
    return fused is ActivationFunctionType.RELU6


def _compressed(shifted: Labels) -> Labels:
    """Return labels without the axes along which they are constant; ANY takes its neighbours' label."""
    labels = shifted + ANY
    for axis in range(labels.ndim):
        first = labels.max(axis=axis, keepdims=True)
        if bool(np.all((labels == first) | (labels == ANY))):
            labels = first
    return labels


def _narrow(labels: Labels) -> Labels:
    """Return labels without the axes along which they are constant."""
    return _compressed(labels - ANY)


def _roots(count: int, equal: list[tuple[Labels, Labels]]) -> Labels:
    """Return the least label that each label is equal to."""
    roots = np.arange(count)
    first = np.concatenate([pair[0] for pair in equal] or [np.zeros(0, np.int64)])
    second = np.concatenate([pair[1] for pair in equal] or [np.zeros(0, np.int64)])
    real = (first >= 0) & (second >= 0)
    first, second = first[real], second[real]
    while True:
        a, b = roots[first], roots[second]
        if np.array_equal(a, b):
            return roots
        least = np.minimum(a, b)
        np.minimum.at(roots, a, least)
        np.minimum.at(roots, b, least)
        while not np.array_equal(roots, roots[roots]):
            roots = roots[roots]
