"""Values inside a form that stands for one layer (`quantize.prepare`): what is right for these is min/max.

    matrix * g ─▶ w ─ batch_matmul(x, w) ─▶ t ─ depthwise_conv_2d(t, s, b), 1x1 ─▶ y

w stands where weights would, whose extremes nobody clips. In t each channel is in units of its own, so that a
squared error over all of them says nothing of the error of y.
"""

from __future__ import annotations

from edgec.ir import Graph, Node
from edgec.ops import spec_of


def inner_values(graph: Graph) -> frozenset[str]:
    """Return the names of products with constants that stand for weights, and of what is scaled back."""
    names: set[str] = set()
    for node in graph:
        facts = spec_of(node).quant.weights
        matrix = None if facts is None else node.operand(facts.operand).producer
        if matrix is None or not _scales_constant(matrix):
            continue
        names.add(matrix.result.name)
        if all(_is_scaling(user) for user in node.result.users):
            names.add(node.result.name)
    return frozenset(names)


def _scales_constant(node: Node) -> bool:
    return node.kind == "mul" and any(value is not None and value.is_constant for value in node.operands)


def _is_scaling(node: Node) -> bool:
    return node.kind == "depthwise_conv_2d" and node.operand(1).shape[1:3] == (1, 1)
