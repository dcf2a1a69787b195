"""The outline of a source of any format; where a file has no graph of its own to read, that of its IR."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import fields

from edgec.diagnostics import CompileError, Diagnostics
from edgec.frontends.outline import Outline, SourceOperator, SourceTensor, shortened
from edgec.frontends.source import SourceModel
from edgec.ir import DYNAMIC, Model, Node, Port, TensorType, Value
from edgec.ops import spec_of


def outline_of(
    source: SourceModel, ir: Model | None, diagnostics: Diagnostics, signature: str | None
) -> Outline:
    """Return what the source says of itself. Keras has no operators before TensorFlow has traced it."""
    from edgec.frontends.keras import KerasFile
    from edgec.frontends.onnx import Source
    from edgec.frontends.tflite import TfliteFile

    match source:
        case Source():
            from edgec.frontends.onnx.outline import outline_onnx

            return outline_onnx(source)
        case TfliteFile():
            from edgec.frontends.tflite.outline import outline_tflite

            return outline_tflite(source, signature)
        case KerasFile():
            return _outline_keras(source, ir, diagnostics, signature)
        case _:
            raise TypeError(f"{type(source).__name__} is no loaded model")


def _outline_keras(
    source: SourceModel, ir: Model | None, diagnostics: Diagnostics, signature: str | None
) -> Outline:
    from edgec.frontends.keras import KerasFile, open_program

    assert isinstance(source, KerasFile)
    try:
        program = open_program(source, signature)
    except CompileError as error:
        diagnostics.extend(error.diagnostics)
        return Outline()
    inputs = tuple(
        SourceTensor(item.name, tuple("?" if dim is None else int(dim) for dim in item.dims), item.dtype)
        for item in program.inputs
    )
    if ir is None:
        outputs = tuple(SourceTensor(name, None, "unknown") for name in program.outputs)
        return Outline(inputs, outputs)
    return outline_ir(ir, inputs)


def outline_ir(ir: Model, inputs: tuple[SourceTensor, ...] | None = None) -> Outline:
    """Return an outline of IR; `inputs` are what the source declares, where that says more."""
    graph = ir.graph
    constants = graph.constants()
    values = [*graph.inputs, *constants, *(value for node in graph for value in node.results)]
    distinct = {id(value.data): value for each in ir.graphs for value in each.constants()}
    return Outline(
        inputs=inputs if inputs is not None else _ports(ir.inputs, graph.inputs),
        outputs=_ports(ir.outputs, graph.outputs),
        operators=tuple(_operator(node) for node in graph),
        tensors={value.name: _tensor(value.name, value.type) for value in values},
        constants=frozenset(value.name for value in constants),
        histogram=dict(Counter(spec_of(node).emit.builtin for each in ir.graphs for node in each)),
        parameters=sum(v.type.size for v in distinct.values() if v.dtype.is_float or v.type.quantization),
        input_tensors=tuple(value.name for value in graph.inputs),
        output_tensors=tuple(value.name for value in graph.outputs),
    )


def _ports(ports: Sequence[Port], values: Sequence[Value]) -> tuple[SourceTensor, ...]:
    return tuple(_tensor(port.name, value.type) for port, value in zip(ports, values, strict=True))


def _tensor(name: str, type: TensorType) -> SourceTensor:
    dims = tuple("?" if dim == DYNAMIC else dim for dim in type.shape)
    q = type.quantization
    if q is None:
        return SourceTensor(name, dims, str(type.dtype))
    if q.per_axis:
        return SourceTensor(name, dims, str(type.dtype), per_axis=len(q.scale))
    return SourceTensor(name, dims, str(type.dtype), q.scale[0], q.zero_point[0])


def _operator(node: Node) -> SourceOperator:
    attributes = tuple(
        (item.name, shortened(str(getattr(node.attributes, item.name)))) for item in fields(node.attributes)
    )
    inputs = tuple(value.name if value is not None else "" for value in node.operands)
    outputs = tuple(value.name for value in node.results)
    return SourceOperator(spec_of(node).emit.builtin, node.source or outputs[0], inputs, outputs, attributes)
