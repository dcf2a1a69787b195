"""A copy of an IR model, so that each board's passes can edit one of their own. Weights are shared."""

from __future__ import annotations

from dataclasses import replace

from edgec.ir import Graph, Model, Node, Value


def copied(model: Model) -> Model:
    """Return a model whose graphs, nodes and values are new; constants keep the same arrays."""
    graphs = [_graph(graph) for graph in model.graphs]
    return replace(
        model,
        graph=graphs[0],
        subgraphs=graphs[1:],
        inputs=list(model.inputs),
        outputs=list(model.outputs),
    )


def _graph(graph: Graph) -> Graph:
    new = Graph(graph.name)
    values: dict[Value, Value] = {}

    def value_of(old: Value | None) -> Value | None:
        if old is None:
            return None
        if old not in values:
            values[old] = Value(old.name, old.type, old.data)
            new.rename(values[old], old.name)
        return values[old]

    new.inputs.extend(found for value in graph.inputs if (found := value_of(value)) is not None)
    for node in graph:
        operands = [value_of(value) for value in node.operands]
        results = [found for value in node.results if (found := value_of(value)) is not None]
        new.insert(Node(node.kind, operands, results, node.attributes, node.source))
    new.set_outputs(found for value in graph.outputs if (found := value_of(value)) is not None)
    return new
