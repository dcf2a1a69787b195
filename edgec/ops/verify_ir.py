"""Checks that a model is sound IR: order, uses, known kinds, types equal to what inference says.

Run after every pass in tests and with `--verify-each`; a failure is a bug of ours, so it raises at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from edgec.ir import DType, Graph, Model, Node, TensorType, Value
from edgec.ops.control import called_graphs
from edgec.ops.infer import fits
from edgec.ops.registry import all_ops
from edgec.ops.spec import InferenceError


class BrokenInvariantError(AssertionError):
    """A pass left unsound IR behind."""


def verify_ir(model: Model) -> None:
    """Raise BrokenInvariantError at the first unsound node of any graph."""
    for graph in model.graphs:
        _verify_graph(graph)
        for node in graph:
            _verify_calls(node, model.graphs)
    if len(model.inputs) != len(model.graph.inputs) or len(model.outputs) != len(model.graph.outputs):
        raise BrokenInvariantError("ports and graph inputs or outputs differ in number")


def _verify_graph(graph: Graph) -> None:
    available: set[Value] = set(graph.inputs)
    names: set[str] = set()
    for node in graph:
        for index, value in enumerate(node.operands):
            if value is None:
                continue
            if not value.is_constant and value not in available:
                raise BrokenInvariantError(f"{node} reads {value} before it is computed")
            if (node, index) not in value.uses:
                raise BrokenInvariantError(f"{value} does not know its use by {node}")
        _verify_types(node)
        available.update(node.results)
    for value in graph.outputs:
        if not value.is_constant and value not in available:
            raise BrokenInvariantError(f"output {value} is never computed")
    for value in [*graph.inputs, *(result for node in graph for result in node.results)]:
        if value.name in names:
            raise BrokenInvariantError(f"two tensors are named '{value.name}'")
        names.add(value.name)


def _verify_calls(node: Node, graphs: Sequence[Graph]) -> None:
    """A graph that a node runs takes the node's operands and returns what fits the node's results."""
    for role, index in called_graphs(node).items():
        if not 0 < index < len(graphs):
            raise BrokenInvariantError(f"{node}: there is no subgraph {index}")
        wanted = [TensorType((), DType.BOOL)] if role == "cond" else [v.type for v in node.results]
        _verify_fit(node, graphs[index].outputs, wanted)
        given = node.operands[1:] if node.kind == "if" else node.operands
        _verify_fit(node, [v for v in given if v is not None], [v.type for v in graphs[index].inputs])


def _verify_fit(node: Node, values: Sequence[Value], wanted: Sequence[TensorType]) -> None:
    if len(values) != len(wanted) or not all(map(fits, (v.type for v in values), wanted)):
        raise BrokenInvariantError(f"{node}: {[str(v.type) for v in values]} for {list(map(str, wanted))}")


def _verify_types(node: Node) -> None:
    spec = all_ops().get(node.kind)
    if spec is None:
        raise BrokenInvariantError(f"{node}: unknown kind")
    if not isinstance(node.attributes, spec.attributes):
        raise BrokenInvariantError(f"{node}: attributes are {type(node.attributes).__name__}")
    try:
        types = spec.infer(node.operands, node.attributes)
    except InferenceError as error:
        raise BrokenInvariantError(f"{node}: {error}") from error
    for inferred, result in zip(types, node.results, strict=True):
        bridges = node.kind in ("quantize", "dequantize")  # their element type is the result's own
        known = inferred if not bridges else replace(inferred, dtype=result.dtype)
        if not fits(known, result.type):
            raise BrokenInvariantError(f"{node}: {result.name} is {result.type}, inference says {inferred}")
