"""Operators that ONNX itself defines by other operators: their bodies stand in where no lowering exists.

    node without a lowering ── its schema has a function body ──▶ the body's nodes, and theirs in turn

A body may depend on the types of the node's operands, so the inliner of the `onnx` package infers them. It
works on a copy of the graph without large weights, which only cost time there (and 2 GB is its limit).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from edgec.frontends.onnx.registry import find_lowering

if TYPE_CHECKING:
    import onnx

_SMALL_TENSOR = 1024
"""Bytes up to which an initializer stays in the copy: shapes and axes, which inference reads."""

_MOST_ROUNDS = 8
"""Bodies call each other a few levels deep at most; this ends a schema that would call itself."""


def expand_functions(proto: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    """Replace nodes of `proto` that have no lowering but a function body by that body's nodes, in place.

    What has neither stays as it is, for the importer to refuse. Returns `proto`.
    """
    given_up: set[str] = set()
    for _ in range(_MOST_ROUNDS):
        nodes = [node for node in _nodes(proto.graph) if _is_expandable(node, opset)]
        wanted = {node.op_type for node in nodes} - given_up
        if not wanted:
            break
        for node in nodes:
            _spell_out_defaults(node, opset)
        given_up |= {name for name in sorted(wanted) if not _expand(proto, name)}
    return proto


def _expand(proto: onnx.ModelProto, op_type: str) -> bool:
    """Replace every node of one operator; False where its body does not fit this model."""
    import onnx
    from onnx import inliner

    try:
        expanded = inliner.inline_selected_functions(
            _light_copy(proto), [("", op_type)], inline_schema_functions=True
        )
    except (RuntimeError, onnx.checker.ValidationError, onnx.shape_inference.InferenceError):
        return False  # absent operands, or types that inference does not find
    if any(node.op_type == op_type for node in _nodes(expanded.graph)):
        return False  # its body is written for newer opsets than the model's
    del proto.graph.node[:]
    proto.graph.node.extend(expanded.graph.node)
    return True


def _spell_out_defaults(node: onnx.NodeProto, opset: int) -> None:
    """Write attributes with their default values: the inliner drops what a body refers to and nobody sets."""
    import onnx

    present = {attribute.name for attribute in node.attribute}
    schema = onnx.defs.get_schema(node.op_type, opset, "")
    for name in sorted(schema.attributes):
        default = schema.attributes[name].default_value
        if name not in present and default.name:
            node.attribute.append(default)


def _is_expandable(node: onnx.NodeProto, opset: int) -> bool:
    import onnx

    if node.domain not in ("", "ai.onnx") or find_lowering(node.op_type, opset) is not None:
        return False
    try:
        schema = onnx.defs.get_schema(node.op_type, opset, "")
    except onnx.defs.SchemaError:
        return False
    # the type stubs of onnx 1.23 leave these two out
    return schema.has_function or schema.has_context_dependent_function  # pyright: ignore[reportAttributeAccessIssue]


def _nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """Yield every node of a graph and of the graphs inside of its nodes."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from _nodes(inner)


def _light_copy(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model without large initializers; all of them are inputs, for only those have types."""
    import onnx
    from onnx import helper

    copy = onnx.ModelProto(ir_version=proto.ir_version)
    copy.opset_import.extend(proto.opset_import)
    graph = copy.graph
    graph.name = proto.graph.name or "graph"
    for field in ("node", "input", "output", "value_info"):
        getattr(graph, field).extend(getattr(proto.graph, field))
    declared = {info.name for info in graph.input}
    for tensor in proto.graph.initializer:
        if tensor.ByteSize() <= _SMALL_TENSOR:
            graph.initializer.append(tensor)
        if tensor.name not in declared:
            info = helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))
            graph.input.append(info)
    return copy
