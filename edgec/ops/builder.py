"""Builds nodes with checked operands and inferred types: the one way stages make new IR."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from edgec.ir import NO_ATTRIBUTES, Array, Attributes, DType, Graph, Node, TensorType, Value
from edgec.ops.movement import ReshapeAttributes
from edgec.ops.registry import op_spec
from edgec.ops.spec import InferenceError

MAX_ELEMENTS = 2**31 - 1
"""Kernels count the elements of a tensor in 32-bit integers."""


@dataclass
class Builder:
    """Inserts nodes into a graph before `before` (or at its end); `source` names their origin.

    `made` lists the inserted nodes, for callers that look at them again.
    """

    graph: Graph
    before: Node | None = None
    source: str = ""
    made: list[Node] = field(default_factory=list[Node])

    def node(
        self,
        kind: str,
        operands: Sequence[Value | None],
        attributes: Attributes = NO_ATTRIBUTES,
        name: str = "",
    ) -> Node:
        """Insert a node of any kind; InferenceError where its operands or attributes do not fit."""
        spec = op_spec(kind)
        if attributes is NO_ATTRIBUTES and spec.attributes is not Attributes:
            attributes = spec.attributes()
        try:
            types = spec.infer(operands, attributes)
            _check_sizes(types)
        except InferenceError as error:
            raise InferenceError(f"{kind}: {error}") from None
        stem = name or f"{self.source or kind}"
        results = [Value(self.graph.unique_name(stem), type) for type in types]
        node = self.graph.insert(Node(kind, operands, results, attributes, self.source), self.before)
        self.made.append(node)
        return node

    def op(
        self,
        kind: str,
        operands: Sequence[Value | None],
        attributes: Attributes = NO_ATTRIBUTES,
        name: str = "",
    ) -> Value:
        """Insert a node with one result and return that result."""
        return self.node(kind, operands, attributes, name).result

    def constant(
        self, data: Array | Sequence[int] | float | int, dtype: DType | None = None, name: str = ""
    ) -> Value:
        """Return a constant; Python ints and lists of ints become int32 unless `dtype` says otherwise."""
        if not isinstance(data, np.ndarray | np.generic):
            default = DType.FLOAT32 if isinstance(data, float) else DType.INT32
            data = np.asarray(data, (dtype or default).numpy)
        return self.graph.constant(np.asarray(data), name or f"{self.source or 'graph'}/constant")

    def reshape(self, x: Value, shape: Sequence[int], name: str = "") -> Value:
        """Reshape; a no-op returns `x` itself."""
        target = tuple(int(dim) for dim in shape)
        if target == x.shape:
            return x
        return self.op("reshape", [x, self.constant(list(target))], ReshapeAttributes(target), name)

    def transpose(self, x: Value, permutation: Sequence[int], name: str = "") -> Value:
        """Transpose; the identity returns `x` itself."""
        if list(permutation) == sorted(permutation):
            return x
        return self.op("transpose", [x, self.constant(list(permutation))], name=name)


def _check_sizes(types: Sequence[TensorType]) -> None:
    for type in types:
        if type.is_static and type.size > MAX_ELEMENTS:
            raise InferenceError(
                f"the result {type} has {type.size} elements, kernels count up to {MAX_ELEMENTS}"
            )
