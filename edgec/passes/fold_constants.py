"""Computes what depends on constants alone, with the kernels the device would use.

y = f(constant, constant)  →  y = constant
"""

from __future__ import annotations

from dataclasses import dataclass

from edgec.ir import Graph, Model, Node
from edgec.kernels import fold_nodes
from edgec.ops import spec_of
from edgec.ops.control import called_graphs
from edgec.passes.contract import PassResult

MAX_GROWTH_BYTES = 1 << 20
"""A fold may add this much to the file before it has to shrink it: a broadcast is cheaper to compute."""


@dataclass(frozen=True)
class FoldConstants:
    """Folds every node whose operands are constants, in one run of the kernels a graph."""

    name: str = "fold_constants"

    def run(self, model: Model) -> PassResult:
        """Fold in all graphs."""
        modified = False
        for graph in model.graphs:
            nodes = _foldable(graph)
            if nodes:
                fold_nodes(graph, nodes)
                modified = True
        return PassResult(model, modified)


def _foldable(graph: Graph) -> list[Node]:
    found: dict[Node, None] = {}
    for node in graph:
        operands = [value for value in node.operands if value is not None]
        known = all(value.is_constant or value.producer in found for value in operands)
        kept = called_graphs(node) or spec_of(node).emit.states or _is_storage(node) or _explodes(node)
        if known and operands and not kept:  # a node with a state gives other results in the next run
            found[node] = None
    return list(found)


def _is_storage(node: Node) -> bool:
    """A dequantized constant is a choice: weights stay compact in the file, kernels expand them once."""
    return node.kind == "dequantize"


def _explodes(node: Node) -> bool:
    if any(not result.type.is_static for result in node.results):
        return True
    grown = sum(result.type.size * result.dtype.numpy.itemsize for result in node.results)
    return grown > MAX_GROWTH_BYTES + sum(
        v.data.nbytes for v in node.operands if v is not None and v.data is not None
    )
