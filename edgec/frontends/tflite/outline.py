"""The outline of a TFLite file: builtins by name, tensors with their quantization, signatures, metadata."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from math import prod
from typing import Any

from edgec.frontends.outline import Dims, Outline, SourceOperator, SourceTensor, shortened
from edgec.frontends.tflite.load import TfliteFile
from edgec.frontends.tflite.operators import builtin_name
from edgec.frontends.tflite.signature import Entry, choose_entry
from edgec.frontends.tflite.structure import numbers, text
from edgec.frontends.tflite.tensors import element_type

Table = Any  # objects of the generated schema module, which has no type annotations

_NO_PARAMETERS = ("INT32", "INT64", "BOOL", "STRING")
_RUNTIME = "min_runtime_version"


def outline_tflite(file: TfliteFile, signature: str | None = None) -> Outline:
    """Return what the file says of the graph that the signature names; CompileError where none does."""
    entry = choose_entry(file, signature)
    graph = file.table.subgraphs[entry.subgraph]
    tensors = _tensors(graph)
    constants = [index for index in range(len(tensors)) if _is_constant(file, graph.tensors[index])]
    return Outline(
        inputs=_ports(graph.inputs, tensors, entry.inputs),
        outputs=_ports(graph.outputs, tensors, entry.outputs),
        operators=tuple(_operator(file, item, tensors) for item in graph.operators or []),
        tensors={tensor.name: tensor for tensor in tensors},
        constants=frozenset(tensors[index].name for index in constants),
        histogram=dict(
            Counter(_kind(file, item) for g in file.table.subgraphs for item in g.operators or [])
        ),
        parameters=_parameters(file),
        facts=tuple(_facts(file, entry)),
        input_tensors=tuple(tensors[index].name for index in numbers(graph.inputs)),
        output_tensors=tuple(tensors[index].name for index in numbers(graph.outputs)),
    )


def _ports(
    indices: Any, tensors: Sequence[SourceTensor], names: Mapping[int, str]
) -> tuple[SourceTensor, ...]:
    return tuple(replace(tensors[i], name=names.get(i, tensors[i].name)) for i in numbers(indices))


def _kind(file: TfliteFile, operator: Table) -> str:
    code = file.table.operatorCodes[operator.opcodeIndex]
    builtin = builtin_name(code)
    return f"CUSTOM {text(code.customCode)}".strip() if builtin == "CUSTOM" else builtin


def _operator(file: TfliteFile, operator: Table, tensors: Sequence[SourceTensor]) -> SourceOperator:
    inputs = tuple(tensors[i].name if i >= 0 else "" for i in numbers(operator.inputs))
    outputs = tuple(tensors[i].name for i in numbers(operator.outputs))
    options = operator.builtinOptions if operator.builtinOptions is not None else operator.builtinOptions2
    attributes = (
        tuple((name, shortened(str(value))) for name, value in vars(options).items() if value is not None)
        if options is not None
        else ()
    )
    return SourceOperator(_kind(file, operator), outputs[0] if outputs else "", inputs, outputs, attributes)


def _tensors(graph: Table) -> list[SourceTensor]:
    """Return every tensor under a name of its own: files may repeat one, a graph of names may not."""
    seen: set[str] = set()
    found: list[SourceTensor] = []
    for index, table in enumerate(graph.tensors or []):
        name = text(table.name).split(";")[0] or f"tensor_{index}"
        name = f"{name} #{index}" if name in seen else name
        seen.add(name)
        found.append(_tensor(table, name))
    return found


def _tensor(table: Table, name: str) -> SourceTensor:
    declared = numbers(table.shapeSignature) or numbers(table.shape)
    dims: Dims = tuple("?" if dim < 0 else dim for dim in declared)
    scale, zero_point, count = _quantization(table.quantization)
    return SourceTensor(name, dims, element_type(table.type).lower(), scale, zero_point, count)


def _quantization(table: Table) -> tuple[float | None, int | None, int]:
    if table is None or table.scale is None or isinstance(table.scale, int) or not len(table.scale):
        return None, None, 0
    count = len(table.scale)
    if count > 1:
        return None, None, count
    return float(table.scale[0]), next(iter(numbers(table.zeroPoint)), 0), 0


def _is_constant(file: TfliteFile, table: Table) -> bool:
    buffers = file.table.buffers or []
    if not 0 < table.buffer < len(buffers):
        return bool(table.externalBuffer)
    buffer = buffers[table.buffer]
    return bool(_length_of(buffer.data) or buffer.offset > 1)


def _length_of(vector: Any) -> int:
    """Return the length of a byte vector; absent ones read as None or 0."""
    return 0 if vector is None or isinstance(vector, int) else len(vector)


def _parameters(file: TfliteFile) -> int:
    """Count elements of all constants but index arithmetic; a bias of an integer kernel is one."""
    total = 0
    for graph in file.table.subgraphs:
        for table in graph.tensors or []:
            quantized = table.quantization is not None and _length_of(table.quantization.scale)
            if (element_type(table.type) not in _NO_PARAMETERS or quantized) and _is_constant(file, table):
                total += prod(numbers(table.shape))
    return total


def _facts(file: TfliteFile, entry: Entry) -> Iterator[tuple[str, str]]:
    model = file.table
    if model.description:
        yield "description", shortened(text(model.description))
    signatures = [text(item.signatureKey) for item in model.signatureDefs or []]
    yield "signatures", ", ".join(signatures) or "none"
    if len(model.subgraphs) > 1:
        yield "subgraphs", f"{len(model.subgraphs)}, graph {entry.subgraph} is shown"
    for item in model.metadata or []:
        name, length = text(item.name), _length(file, item.buffer)
        shown = _runtime_version(file, item.buffer) if name == _RUNTIME else f"{length} bytes"
        yield f"metadata {name}", shown


def _length(file: TfliteFile, index: int) -> int:
    buffers = file.table.buffers or []
    if not 0 <= index < len(buffers):
        return 0
    return _length_of(buffers[index].data) or int(buffers[index].size)


def _runtime_version(file: TfliteFile, index: int) -> str:
    if not _length(file, index) or not _length_of(file.table.buffers[index].data):
        return ""
    return shortened(
        bytes(bytearray(file.table.buffers[index].data)).rstrip(b"\0").decode("utf-8", "replace")
    )
