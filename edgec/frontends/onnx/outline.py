"""The outline of an ONNX file: its operators by name, shapes as far as ONNX's own inference knows them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from math import prod
from typing import TYPE_CHECKING

from edgec.frontends.onnx.load import Source
from edgec.frontends.onnx.shapes import declared_dims
from edgec.frontends.outline import Outline, SourceOperator, SourceTensor, shortened

if TYPE_CHECKING:
    import onnx

_SMALL = 256
"""Elements of a constant that shape inference may have to read: a shape, axes, a repeat count."""

_SPELLED = {"float": "float32", "double": "float64"}
_SHOWN_METADATA = 8


def outline_onnx(source: Source) -> Outline:
    """Return what the file says; shapes of inner tensors are inferred where that works."""
    graph = source.proto.graph
    known = {tensor.name for tensor in graph.initializer}
    inputs = [info for info in graph.input if info.name not in known]
    constants = {tensor.name: _constant(tensor) for tensor in graph.initializer}
    sparse = {item.values.name for item in graph.sparse_initializer}
    made = {info.name: _tensor(info) for info in (*graph.value_info, *_inferred(source.proto))}
    given = {info.name: _tensor(info) for info in (*inputs, *graph.output)}
    tensors = made | {
        name: item for name, item in given.items() if item.shape is not None or name not in made
    }
    operators = tuple(_operator(node) for node in graph.node)
    return Outline(
        inputs=tuple(_tensor(info) for info in inputs),
        outputs=tuple(tensors[info.name] for info in graph.output),
        operators=operators,
        tensors=tensors | constants,
        constants=frozenset((*constants, *sparse)),
        histogram=dict(Counter(_kind(node) for node in _all_nodes(graph))),
        parameters=_parameters(graph),
        facts=tuple(_facts(source)),
    )


def _all_nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from _all_nodes(inner)


def _kind(node: onnx.NodeProto) -> str:
    return node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}"


def _operator(node: onnx.NodeProto) -> SourceOperator:
    name = node.name or next((output for output in node.output if output), "")
    attributes = tuple((item.name, shortened(_attribute(item))) for item in node.attribute)
    return SourceOperator(_kind(node), name, tuple(node.input), tuple(node.output), attributes)


def _attribute(item: onnx.AttributeProto) -> str:
    import onnx

    if item.HasField("t"):
        return f"{_dtype(item.t.data_type)}[{','.join(map(str, item.t.dims))}]"
    if item.HasField("g"):
        return f"graph of {len(item.g.node)} nodes"
    value = onnx.helper.get_attribute_value(item)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, int):
        return str(value)
    return ", ".join(f"{v:.6g}" if isinstance(v, float) else str(v) for v in value)


def _dtype(number: int) -> str:
    import onnx

    name = onnx.TensorProto.DataType.Name(number).lower() if number in _numbers() else f"type {number}"
    return _SPELLED.get(name, name)


def _numbers() -> set[int]:
    import onnx

    return set(onnx.TensorProto.DataType.values())


def _tensor(info: onnx.ValueInfoProto) -> SourceTensor:
    if not info.type.HasField("tensor_type"):
        return SourceTensor(
            info.name, None, (info.type.WhichOneof("value") or "unknown").removesuffix("_type")
        )
    dims = declared_dims(info, zero_is_a_size=True)
    number = info.type.tensor_type.elem_type
    return SourceTensor(
        info.name, None if dims is None else tuple(dims), _dtype(number) if number else "unknown"
    )


def _constant(tensor: onnx.TensorProto) -> SourceTensor:
    return SourceTensor(tensor.name, tuple(tensor.dims), _dtype(tensor.data_type))


def _parameters(graph: onnx.GraphProto) -> int:
    """Count elements of all constants but index arithmetic (int64, bool)."""
    stored = [*graph.initializer, *(item.values for item in graph.sparse_initializer)]
    stored += [a.t for node in _all_nodes(graph) for a in node.attribute if a.HasField("t")]
    return sum(
        prod(t.dims) for t in stored if _dtype(t.data_type) not in ("int64", "int32", "bool", "string")
    )


def _inferred(proto: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    """Infer on a copy whose large constants are but declared: weights need not be serialized for that."""
    import onnx

    light = onnx.ModelProto(ir_version=proto.ir_version, opset_import=proto.opset_import)
    light.functions.extend(proto.functions)
    light.graph.name = proto.graph.name or "main"
    light.graph.node.extend(proto.graph.node)
    light.graph.input.extend(proto.graph.input)
    listed = {info.name for info in proto.graph.input}
    for output in proto.graph.output:  # declared shapes stay out: one wrong one would end the inference
        light.graph.output.add(name=output.name)
    for tensor in proto.graph.initializer:
        if prod(tensor.dims) <= _SMALL:
            light.graph.initializer.append(tensor)
        elif tensor.name not in listed:
            info = onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))
            light.graph.input.append(info)
    try:
        found = onnx.shape_inference.infer_shapes(light, data_prop=True).graph
    except Exception:  # it raises RuntimeError, ValueError and its own; a picture without shapes is still one
        return []
    return [*found.value_info, *found.output]


def _facts(source: Source) -> Iterator[tuple[str, str]]:
    proto = source.proto
    yield "opset", str(source.opset)
    yield "IR version", str(proto.ir_version)
    producer = shortened(f"{proto.producer_name} {proto.producer_version}")
    if producer:
        yield "producer", producer
    others = [
        f"{item.domain} {item.version}" for item in proto.opset_import if item.domain not in ("", "ai.onnx")
    ]
    if others:
        yield "other domains", ", ".join(others)
    if proto.functions:
        yield "functions", str(len(proto.functions))
    if proto.doc_string:
        yield "description", shortened(proto.doc_string)
    for item in proto.metadata_props[:_SHOWN_METADATA]:
        yield f"metadata {item.key}", shortened(item.value)
