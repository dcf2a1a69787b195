"""IR → TFLite flatbuffer, without copying the weights.

The tables are packed first, with an empty vector where each buffer's data belongs. The data is then placed
behind them, 16-byte aligned, and every buffer's offset is pointed at it:

    [tables .......................][pad][length][data, 16-aligned][pad][length][data] ...
        Buffer.data ──uoffset──────────────▲

A flatbuffer offset is an unsigned distance forward, so the file is as valid as one packed in one go, and
a 100 MB model costs no copy of its weights. Beyond 2 GB, where 32-bit offsets end, the same data is named by
`Buffer.offset`/`Buffer.size` instead. Smaller files keep inline data, because TFLite Micro does not see
external buffers (it takes such weights for activations, without an error).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgec.emit.options import option_table, schema, tensor_type
from edgec.ir import DYNAMIC, Array, DType, Graph, Model, Node, Quantization, TensorType, Value
from edgec.ir.packing import pack_int4
from edgec.ops import spec_of
from edgec.ops.infer import expect
from edgec.ops.recurrent import StatefulAttributes

ALIGNMENT = 16
INLINE_LIMIT = 2_000_000_000
"""Above this many bytes of constants, data is external to the flatbuffer, whose limit is 2^31 bytes."""

SIGNATURE_KEY = "serving_default"
_MAX_DEPRECATED_CODE = 127
_Table = Any  # objects of the generated schema module, which has no type annotations


@dataclass(frozen=True)
class Flatbuffer:
    """A TFLite file as the pieces to write in order; the pieces of data are the constants themselves."""

    tables: bytes
    data: list[tuple[bytes, Array]] = field(default_factory=list[tuple[bytes, Array]])

    def chunks(self) -> Iterator[bytes | memoryview]:
        """Yield the file's bytes piece by piece."""
        yield self.tables
        for prefix, array in self.data:
            yield prefix
            yield _raw(array)

    @property
    def size(self) -> int:
        """File size in bytes."""
        return len(self.tables) + sum(len(prefix) + array.nbytes for prefix, array in self.data)

    def to_bytes(self) -> bytes:
        """Return the whole file in memory."""
        return b"".join(self.chunks())


def emit(model: Model, *, external: bool | None = None) -> Flatbuffer:
    """Serialize a model. `external=True` forces offset buffers (the form of files over 2 GB)."""
    writer = _Writer(model)
    total = sum(array.nbytes for array in writer.data)
    if external if external is not None else total > INLINE_LIMIT:
        return _with_external_data(writer)
    return _with_inline_data(writer)


class _Writer:
    """Turns IR into schema objects; `data[i]` belongs to `buffers[i + 1]` (buffer 0 is the empty one)."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.data: list[Array] = []
        self._buffer_of: dict[tuple[int, bool], int] = {}
        self._made: list[Array] = []  # alive as long as their ids are keys
        self._codes: dict[tuple[str, int], int] = {}
        self.table: _Table = schema().ModelT()
        self.table.version = 3
        self.table.description = "edgec"
        self.table.operatorCodes = []
        self.table.subgraphs = []
        self.table.signatureDefs = []
        for index, graph in enumerate(model.graphs):
            indices = self._add_graph(graph)
            if index == 0:
                self.table.signatureDefs.append(self._signature(indices))
        self.table.buffers = [schema().BufferT() for _ in range(len(self.data) + 1)]

    def _add_graph(self, graph: Graph) -> dict[Value, int]:
        indices: dict[Value, int] = {}
        table: _Table = schema().SubGraphT()
        table.name = graph.name
        table.tensors = []
        for value in _values_in_order(graph):
            indices[value] = len(table.tensors)
            table.tensors.append(self._tensor(value))
        for value, index in indices.items():
            self._add_block_scales(value, table.tensors[index], table.tensors)
        table.inputs = np.array([indices[value] for value in graph.inputs], np.int32)
        table.outputs = np.array([indices[value] for value in graph.outputs], np.int32)
        table.operators = [self._operator(node, indices, table.tensors) for node in graph]
        self.table.subgraphs.append(table)
        return indices

    def _state(self, node: Node, number: int, type: TensorType, tensors: list[_Table]) -> int:
        """Add a variable tensor to the graph and return its index."""
        tensor = self._tensor(Value(f"{node.results[0].name}/state_{number}", type))
        tensor.isVariable = True
        tensors.append(tensor)
        return len(tensors) - 1

    def _tensor(self, value: Value) -> _Table:
        tensor: _Table = schema().TensorT()
        tensor.name = value.name
        tensor.type = tensor_type(value.dtype)
        tensor.shape = np.array([1 if dim == DYNAMIC else dim for dim in value.shape], np.int32)
        if not value.type.is_static:
            tensor.shapeSignature = np.array(value.shape, np.int32)
        tensor.hasRank = True
        tensor.buffer = 0 if value.data is None else self._buffer(value.data, value.dtype)
        if value.type.quantization is not None:
            tensor.quantization = _quantization(value.type.quantization)
        return tensor

    def _add_block_scales(self, value: Value, tensor: _Table, tensors: list[_Table]) -> None:
        """Give weights that are quantized in blocks their scales, a float16 tensor `[rows, blocks]`."""
        quantization = value.type.quantization
        if quantization is None or not quantization.block_size:
            return
        rows = value.shape[0]
        scales = np.array(quantization.scale, np.float16).reshape(rows, -1)
        details: _Table = schema().BlockwiseQuantizationT()
        details.scales, details.zeroPoints = len(tensors), -1
        details.blockSize = quantization.block_size
        tensor.quantization.detailsType = schema().QuantizationDetails.BlockwiseQuantization
        tensor.quantization.details = details
        self._made.append(scales)
        tensors.append(
            self._tensor(Value(f"{value.name}/scales", TensorType(scales.shape, DType.FLOAT16), scales))
        )

    def _buffer(self, data: Array, dtype: DType) -> int:
        """Return the buffer number; one array shared by several tensors is written once."""
        key = id(data), dtype is DType.INT4
        if key not in self._buffer_of:
            self.data.append(pack_int4(data) if dtype is DType.INT4 else data)
            self._buffer_of[key] = len(self.data)
        return self._buffer_of[key]

    def _operator(self, node: Node, indices: dict[Value, int], tensors: list[_Table]) -> _Table:
        spec = spec_of(node)
        operator: _Table = schema().OperatorT()
        operator.opcodeIndex = self._operator_code(spec.emit.builtin, spec.emit.version(node))
        operands = [-1 if value is None else indices[value] for value in node.operands]
        if isinstance(node.attributes, StatefulAttributes):
            self._add_states(operator, node, operands, tensors)
        operator.inputs = np.array(operands, np.int32)
        operator.outputs = np.array([indices[value] for value in node.results], np.int32)
        options = option_table(node)
        if options is not None and spec.emit.options is not None:
            operator.builtinOptionsType = getattr(schema().BuiltinOptions, spec.emit.options)
            operator.builtinOptions = options
        return operator

    def _add_states(self, operator: _Table, node: Node, operands: list[int], tensors: list[_Table]) -> None:
        """Make the tensors that belong to one operator alone: its memory, and those inside its kernel."""
        attributes, spec = expect(node.attributes, StatefulAttributes), spec_of(node)
        operands += [-1] * (len(spec.operands) - len(operands))  # TFLite Micro counts them, absent ones too
        positions = spec.emit.states
        for number, (position, type) in enumerate(zip(positions, attributes.states, strict=True)):
            operands[position] = self._state(node, number, type, tensors)
        inner: list[int] = []
        for number, type in enumerate(attributes.intermediates):
            inner.append(len(tensors))
            tensors.append(self._tensor(Value(f"{node.results[0].name}/intermediate_{number}", type)))
        operator.intermediates = np.array(inner, np.int32) if inner else None

    def _operator_code(self, builtin: str, version: int) -> int:
        if (builtin, version) not in self._codes:
            code: _Table = schema().OperatorCodeT()
            code.builtinCode = getattr(schema().BuiltinOperator, builtin)
            code.deprecatedBuiltinCode = min(code.builtinCode, _MAX_DEPRECATED_CODE)
            code.version = version
            self._codes[builtin, version] = len(self.table.operatorCodes)
            self.table.operatorCodes.append(code)
        return self._codes[builtin, version]

    def _signature(self, indices: dict[Value, int]) -> _Table:
        signature: _Table = schema().SignatureDefT()
        signature.signatureKey = SIGNATURE_KEY
        graph, model = self.model.graph, self.model
        names = ([port.name for port in model.inputs], [port.name for port in model.outputs])
        signature.inputs = _tensor_map(names[0], graph.inputs, indices)
        signature.outputs = _tensor_map(names[1], graph.outputs, indices)
        return signature


def _values_in_order(graph: Graph) -> list[Value]:
    """Return every value the graph uses, inputs first, then in execution order: no orphans."""
    found: dict[Value, None] = dict.fromkeys(graph.inputs)
    for node in graph:
        found.update((value, None) for value in node.operands if value is not None)
        found.update((value, None) for value in node.results)
    found.update((value, None) for value in graph.outputs)
    return list(found)


def _tensor_map(
    names: list[str], values: list[Value] | tuple[Value, ...], indices: dict[Value, int]
) -> list[_Table]:
    maps: list[_Table] = []
    for position, value in enumerate(values):
        entry: _Table = schema().TensorMapT()
        entry.name = names[position] if position < len(names) else value.name
        entry.tensorIndex = indices[value]
        maps.append(entry)
    return maps


def _quantization(quantization: Quantization) -> _Table:
    table: _Table = schema().QuantizationParametersT()
    if quantization.block_size:
        return table
    table.scale = np.array(quantization.scale, np.float32)
    table.zeroPoint = np.array(quantization.zero_point, np.int64)
    table.quantizedDimension = quantization.quantized_dimension
    return table


def _pack(table: _Table) -> bytearray:
    import flatbuffers

    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(table.Pack(builder), file_identifier=b"TFL3")
    return bytearray(builder.Output())


def _with_inline_data(writer: _Writer) -> Flatbuffer:
    for buffer in writer.table.buffers[1:]:
        buffer.data = np.empty(0, np.uint8)
    tables = _pack(writer.table)
    fields = _buffer_field_positions(tables, slot=4)
    pieces: list[tuple[bytes, Array]] = []
    end = len(tables)
    for field_at, array in zip(fields[1:], writer.data, strict=True):
        start = _aligned(end + 4)  # the vector's 32-bit length stands right before its data
        length_at = start - 4
        tables[field_at : field_at + 4] = (length_at - field_at).to_bytes(4, "little")
        pieces.append((bytes(length_at - end) + array.nbytes.to_bytes(4, "little"), array))
        end = start + array.nbytes
    return Flatbuffer(bytes(tables), pieces)


def _with_external_data(writer: _Writer) -> Flatbuffer:
    buffers = writer.table.buffers[1:]
    for buffer, array in zip(buffers, writer.data, strict=True):
        buffer.offset, buffer.size = 2, array.nbytes  # not the default, so that the field is written
    end = len(_pack(writer.table))
    pieces: list[tuple[bytes, Array]] = []
    for buffer, array in zip(buffers, writer.data, strict=True):
        buffer.offset = _aligned(end)
        pieces.append((bytes(buffer.offset - end), array))
        end = buffer.offset + array.nbytes
    return Flatbuffer(bytes(_pack(writer.table)), pieces)


def _buffer_field_positions(tables: bytearray, slot: int) -> list[int]:
    """Return where in the file each buffer's field with vtable `slot` stands (0 where it is absent)."""
    model = schema().Model.GetRootAs(tables, 0)
    positions: list[int] = []
    for index in range(model.BuffersLength()):
        table = model.Buffers(index)._tab
        offset = table.Offset(slot)
        positions.append(table.Pos + offset if offset else 0)
    return positions


def _aligned(position: int) -> int:
    return -(-position // ALIGNMENT) * ALIGNMENT


def _raw(array: Array) -> memoryview:
    """Return the bytes of an array; copies only where it is not contiguous."""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
