"""Removes nodes that nothing reads, and inner graphs that no node runs any more."""

from __future__ import annotations

from dataclasses import dataclass

from edgec.ir import Graph, Model, Node, Value
from edgec.ops.control import called_graphs, with_called_graphs
from edgec.passes.contract import PassResult
from edgec.rewrite import eliminate_unused


@dataclass(frozen=True)
class EliminateDead:
    """`y = f(x)` with y unread → nothing."""

    name: str = "eliminate_dead"

    def run(self, model: Model) -> PassResult:
        """Walk backwards once: a node's readers are gone before the node is looked at."""
        changed = [eliminate_unused(graph, list(graph)) for graph in model.graphs]
        return PassResult(model, _drop_unused_graphs(model) or any(changed))


def _drop_unused_graphs(model: Model) -> bool:
    """Keep the graphs that the main graph reaches, and number them anew."""
    graphs = model.graphs
    reached: dict[int, None] = {0: None}
    for index in (pending := [0]):
        new = [i for node in graphs[index] for i in called_graphs(node).values() if i not in reached]
        reached.update(dict.fromkeys(new))
        pending += dict.fromkeys(new)
    if len(reached) == len(graphs):
        return False
    kept = sorted(reached)
    model.subgraphs = [graphs[index] for index in kept[1:]]
    for graph in model.graphs:
        for node in [node for node in graph if called_graphs(node)]:
            _renumber(graph, node, kept)
    return True


def _renumber(graph: Graph, node: Node, kept: list[int]) -> None:
    called = {role: kept.index(index) for role, index in called_graphs(node).items()}
    attributes = with_called_graphs(node, called)
    results = [Value(result.name, result.type) for result in node.results]
    graph.insert(Node(node.kind, node.operands, results, attributes, node.source), node)
    for old, new in zip(node.results, results, strict=True):
        name = new.name
        graph.replace_uses(old, new)
        new.name = name
    graph.remove(node)
