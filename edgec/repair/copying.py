"""A copy of a model with some constants replaced: repairs never edit the model they are given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from edgec.ir import Array, Attributes, Graph, Model, Node, TensorType, Value

NewConstants = Mapping[tuple[Node, int], Array]
"""New data by (node of the old graph, operand index); other readers of the constant keep the old one."""


def copy_with(
    model: Model,
    constants: NewConstants = MappingProxyType({}),
    attributes: Mapping[Node, Attributes] = MappingProxyType({}),
) -> Model:
    """Return a model of the same nodes and names, with other constants and attributes where given."""
    graph, values = copy_graph(model.graph, constants, attributes)
    graph.set_outputs(values.get(value, value) for value in model.graph.outputs)
    return replace(model, graph=graph)


def copy_graph(
    graph: Graph,
    constants: NewConstants = MappingProxyType({}),
    attributes: Mapping[Node, Attributes] = MappingProxyType({}),
    wanted: Sequence[Value] = (),
) -> tuple[Graph, dict[Value, Value]]:
    """Return the copied graph, still without outputs, and the new value of each old activation.

    Where values are `wanted`, only the nodes that they depend on are copied.
    """
    needed = _ancestors(graph, wanted) if wanted else set(graph)
    copied = Graph(graph.name)
    values = {value: copied.add_input(value.name, value.type) for value in graph.inputs}
    for result in (result for node in graph if node in needed for result in node.results):
        values[result] = Value(result.name, result.type)
        copied.rename(values[result], result.name)  # before constants ask for names: ranges go by them
    for node in graph:
        if node not in needed:
            continue
        operands = [_operand(copied, node, index, constants, values) for index in range(len(node.operands))]
        results = [values[result] for result in node.results]
        settings = attributes.get(node, node.attributes)
        copied.insert(Node(node.kind, operands, results, settings, node.source))
    return copied, values


def _ancestors(graph: Graph, wanted: Sequence[Value]) -> set[Node]:
    needed = set(wanted)
    found: set[Node] = set()
    for node in reversed(graph):
        if any(result in needed for result in node.results):
            found.add(node)
            needed.update(value for value in node.operands if value is not None)
    return found


def _operand(
    copied: Graph, node: Node, index: int, constants: NewConstants, values: Mapping[Value, Value]
) -> Value | None:
    old = node.operands[index]
    if (node, index) not in constants:
        return values.get(old, old) if old is not None else None
    assert old is not None, "only a constant that exists can be replaced"
    data = constants[node, index]
    return Value(copied.unique_name(old.name), TensorType(tuple(data.shape), old.dtype, None), data)
