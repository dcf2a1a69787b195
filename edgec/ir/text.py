"""IR as text, for people (`--dump-ir`) and for golden tests.

graph main(%x: float32[1,8,8,3]) {
  %y: float32[1,8,8,4] = conv_2d(%x, const float32[4,3,3,3], const float32[4]) {padding=SAME, ...}
  return %y
}
"""

from __future__ import annotations

from dataclasses import fields

from edgec.ir.graph import Graph, Model, Node, Value

_MAX_INLINE = 8


def format_model(model: Model) -> str:
    """Return every graph of a model as text."""
    return "\n\n".join(format_graph(graph) for graph in model.graphs) + "\n"


def format_graph(graph: Graph) -> str:
    """Return one graph as text; attributes at their default are left out."""
    inputs = ", ".join(f"%{value.name}: {value.type}" for value in graph.inputs)
    lines = [f"graph {graph.name}({inputs}) {{"]
    lines += [f"  {_format_node(node)}" for node in graph]
    lines.append(f"  return {', '.join(_format_operand(value) for value in graph.outputs)}")
    return "\n".join([*lines, "}"])


def _format_node(node: Node) -> str:
    results = ", ".join(f"%{result.name}: {result.type}" for result in node.results)
    operands = ", ".join(_format_operand(operand) for operand in node.operands)
    return f"{results} = {node.kind}({operands}){_format_attributes(node)}"


def _format_operand(value: Value | None) -> str:
    if value is None:
        return "none"
    if value.data is None:
        return f"%{value.name}"
    if value.data.size <= _MAX_INLINE:
        return f"{value.type} {value.data.tolist()}"
    return f"const {value.type}"


def _format_attributes(node: Node) -> str:
    shown = [
        f"{item.name}={getattr(node.attributes, item.name)}"
        for item in fields(node.attributes)
        if getattr(node.attributes, item.name) != item.default
    ]
    return f" {{{', '.join(shown)}}}" if shown else ""
