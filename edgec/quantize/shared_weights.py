"""Weights that several nodes read stay one constant: one set of scales that all their readers can hold.

    y₁ = x₁ W, y₂ = x₂ W, …        s_W = max over readers of the least s_W that each of them asks for

Limits of multipliers and biases (`weights`) differ from reader to reader, since the scales around them do.
They only ever widen scales of channels too weak to show, so the widest does for all; otherwise an unrolled
loop would store its weights once for each step.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgec.ir import DType, Node, Value
from edgec.quantize.parameters import Floats, Form
from edgec.quantize.roles import Roles
from edgec.quantize.weights import MAX_MULTIPLIER, WeightScales

_Key = tuple[Value, int | None, DType]
"""Weights, the axis of their scales, and the type they are stored in."""


class SharedScales:
    """The weight scales of every node. `form` returns an activation's form in an element type."""

    def __init__(self, weights: WeightScales, roles: Roles, form: Callable[[Value, DType], Form]) -> None:
        self._weights, self._roles, self._form = weights, roles, form
        self._known: dict[_Key, Floats] = {}

    def of(self, node: Node) -> Floats:
        """Return the scales of a node's weights: its own where the shared ones are beyond its limits."""
        key = self._key(node)
        if key not in self._known:
            readers = [user for user, index in key[0].uses if self._reads_weights(user, index)]
            alike = [self._guarded(user) for user in readers if self._key(user) == key]
            self._known[key] = np.maximum.reduce(alike)
        shared, own, factor = self._known[key], self._guarded(node), self._factor(node)
        return shared if shared.max() * factor <= max(MAX_MULTIPLIER, own.max() * factor) else own

    def _reads_weights(self, node: Node, index: int) -> bool:
        """Whether a node of this graph reads weights there: copies of a model share its constants."""
        return node in self._roles and self._roles[node].weights == index

    def _key(self, node: Node) -> _Key:
        role = self._roles[node]
        assert role.weights is not None
        return node.operand(role.weights), self._weights.axis(node), role.weight_type

    def _guarded(self, node: Node) -> Floats:
        x, y = self._around(node)
        return self._weights.guarded(node, self._roles[node], x, y)

    def _factor(self, node: Node) -> float:
        x, y = self._around(node)
        return x / y

    def _around(self, node: Node) -> tuple[float, float]:
        """Return the scales of a node's activation and of its result."""
        role = self._roles[node]
        x = self._form(node.operand(role.data[0]), role.dtype)
        return x.scale, self._form(node.result, role.dtype).scale
