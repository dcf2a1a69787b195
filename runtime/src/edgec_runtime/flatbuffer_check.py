"""Walk a TFLite file, prove that its structure lies inside the file, and return what is in it.

    bytes 0..4  u32 offset of the root table        bytes 4..8  "TFL3"

`read_model` is called before any interpreter sees the file, and by `info` without one. Field numbers are
those of schema.fbs (LiteRT 2.3). What it cannot promise: that the numbers inside make sense to a kernel.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from mmap import ACCESS_READ, mmap
from os import PathLike, fstat
from pathlib import Path

from edgec_runtime.errors import ModelFileError
from edgec_runtime.flatbuffer import Flatbuffer, Table
from edgec_runtime.op_names import op_kind, type_bits, type_name

_IDENTIFIER = b"TFL3"

# Vectors inside operator options, (field, bytes per element), by union value. Kernels read them, so they are
# checked; options that are not listed hold numbers only, which lie inside the table itself.
_OPTION_VECTORS: dict[int, tuple[tuple[int, int], ...]] = {
    3: ((1, 4), (2, 4)),  # ConcatEmbeddings
    17: ((0, 4),),  # Reshape
    30: ((0, 4),),  # Squeeze
    111: ((0, 1), (1, 1)),  # VarHandle
    115: ((0, 4),),  # Bucketize
}
_OPTION2_VECTORS: dict[int, tuple[tuple[int, int], ...]] = {
    2: ((0, 8),),  # StablehloBroadcastInDim
    3: ((0, 8), (1, 8), (2, 8)),  # StablehloSlice
    4: ((0, 8), (1, 8), (2, 8), (3, 8), (4, 1), (7, 8), (10, 8), (13, 8), (16, 4)),  # StablehloConvolution
    5: ((0, 1), (2, 1), (4, 4), (5, 1)),  # StablehloCustomCall
    6: ((0, 8),),  # StablehloReduce
    7: ((1, 8), (2, 8), (3, 8)),  # StablehloScatter
    9: ((0, 8),),  # StablehloDynamicSlice
    10: ((0, 8), (1, 8), (2, 8)),  # StablehloPad
    12: ((0, 8), (1, 8), (2, 8), (3, 8), (4, 4)),  # StablehloDotGeneral
    13: ((0, 8), (1, 8), (2, 8), (3, 8), (4, 8)),  # StablehloReduceWindow
    16: ((0, 8), (1, 8), (2, 8), (4, 8)),  # StablehloGather
    17: ((0, 8),),  # StablehloTranspose
    21: ((0, 1), (2, 1)),  # StableHLOComposite
    23: ((0, 4),),  # StablehloCase
}


@dataclass(frozen=True)
class TensorFacts:
    """One tensor; `shape_signature` has -1 for dimensions that may change, `buffer` 0 means no data."""

    name: str
    shape: tuple[int, ...]
    shape_signature: tuple[int, ...]
    dtype: str
    bits: int
    buffer: int
    scale: tuple[float, ...]
    zero_point: tuple[int, ...]
    is_variable: bool

    @property
    def size_bytes(self) -> int:
        """Bytes of the data as it is stored in memory."""
        elements = 1
        for dimension in self.shape:
            elements *= dimension
        return (elements * self.bits + 7) // 8


@dataclass(frozen=True)
class OperatorFacts:
    """One operator: its kind and version, and tensor numbers (-1 for an absent operand)."""

    kind: str
    version: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True)
class SubgraphFacts:
    """One subgraph; the first is the one that runs."""

    name: str
    tensors: tuple[TensorFacts, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    operators: tuple[OperatorFacts, ...]


@dataclass(frozen=True)
class SignatureFacts:
    """Names that the model's author gave to inputs and outputs: (name, tensor number) in the file's order."""

    key: str
    subgraph: int
    inputs: tuple[tuple[str, int], ...]
    outputs: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class ModelFacts:
    """What a file holds; `buffer_sizes[i]` is the data of buffer i in bytes."""

    size_bytes: int
    version: int
    description: str
    subgraphs: tuple[SubgraphFacts, ...]
    buffer_sizes: tuple[int, ...]
    metadata: tuple[str, ...]
    signatures: tuple[SignatureFacts, ...]

    def is_constant(self, tensor: TensorFacts) -> bool:
        """Tell whether the file holds the tensor's data."""
        return self.buffer_sizes[tensor.buffer] > 0


def read_model(data: bytes | bytearray | memoryview) -> ModelFacts:
    """Check the structure of a TFLite file and return its facts.

    Raises:
        ModelFileError: the bytes are not a TFLite file, or an offset, length or index in it leads outside.
    """
    # no second view: a map cannot be closed while one is alive, as in the traceback of an error
    view = data if isinstance(data, memoryview) else memoryview(data)
    _check_header(view)
    return _model(Flatbuffer(view).root())


def read_model_file(path: str | PathLike[str]) -> ModelFacts:
    """As `read_model`, without reading the file into memory (weights stay on disk).

    Raises:
        ModelFileError: also when the file cannot be opened.
    """
    with mapped(path) as view:
        try:
            return read_model(view)
        except ModelFileError as error:
            raise ModelFileError(f"{path}: {error}") from None


@contextmanager
def mapped(path: str | PathLike[str]) -> Iterator[memoryview]:
    """Map a file for reading; an empty one is an empty view."""
    pages = _map(Path(path))
    if pages is None:
        yield memoryview(b"")
        return
    with pages, memoryview(pages) as view:
        yield view


def _map(path: Path) -> mmap | None:
    try:
        with path.open("rb") as file:
            return mmap(file.fileno(), 0, access=ACCESS_READ) if fstat(file.fileno()).st_size else None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name, or a pipe
        why = getattr(error, "strerror", None) or str(error)
        raise ModelFileError(f"{path}: cannot be read: {why}") from None


def _check_header(view: memoryview) -> None:
    head = bytes(view[:64])
    if not head:
        raise ModelFileError("the file is empty; copy or compile the model again")
    if head[4:8] != _IDENTIFIER:
        raise ModelFileError(
            f"not a TFLite model: {_looks_like(head)}. A TFLite file has 'TFL3' at bytes 4 to 8"
        )


def _looks_like(head: bytes) -> str:
    if head.startswith(b"version https://git-lfs"):
        return "it is a Git LFS pointer; run `git lfs pull` to get the model itself"
    if head.lstrip().lower().startswith((b"<!doctype", b"<html")):
        return "it is a web page, probably an error page of a download"
    if head.startswith(b"PK\x03\x04"):
        return "it is a ZIP archive (a .keras file or a bundle?)"
    if head.startswith(b"\x89HDF"):
        return "it is an HDF5 file (a .h5 Keras model?)"
    if all(byte in b"\t\n\r" or 32 <= byte < 127 for byte in head):
        return "it is a text file"
    return f"it starts with bytes {head[:8].hex(' ')}"


def _model(root: Table) -> ModelFacts:
    buffers = tuple(_buffer_size(table) for table in root.tables(4, "buffers"))
    codes = tuple(_operator_code(table) for table in root.tables(1, "operator_codes"))
    subgraphs = tuple(_subgraph(table, codes, len(buffers)) for table in root.tables(2, "subgraphs"))
    if not subgraphs:
        raise ModelFileError("the file holds no subgraph: there is nothing to run")
    for table in root.tables(8, "external_buffer_groups"):
        table.vector(0, 1, "name")
    for table in root.tables(9, "external_buffers"):
        table.vector(4, 1, "packing")
    root.vector(5, 4, "metadata_buffer")
    return ModelFacts(
        size_bytes=root.buffer.size,
        version=root.number(0, "I"),
        description=root.text(3, "description"),
        subgraphs=subgraphs,
        buffer_sizes=buffers,
        metadata=tuple(_metadata(table, len(buffers)) for table in root.tables(6, "metadata")),
        signatures=tuple(_signature(table, subgraphs) for table in root.tables(7, "signature_defs")),
    )


def _buffer_size(table: Table) -> int:
    """Return the size of a buffer's data, which models over 2 GB keep behind the flatbuffer."""
    _, inline = table.vector(0, 1, "data")
    offset, size = table.number(1, "Q"), table.number(2, "Q")
    if offset <= 1:  # the schema's own rule: 0 and 1 mean "inline"
        return inline
    table.buffer.require(offset, size, f"the data of {table.what}")
    return size


def _operator_code(table: Table) -> tuple[str, int]:
    # Files older than schema v3a have only the one-byte code; newer ones write both, capped at 127.
    code = max(table.number(0, "b"), table.number(3, "i"))
    return op_kind(code, table.text(1, "custom_code")), table.number(2, "i", default=1)


def _subgraph(table: Table, codes: tuple[tuple[str, int], ...], buffers: int) -> SubgraphFacts:
    tensors = tuple(_tensor(one, buffers) for one in table.tables(0, "tensors"))
    count = len(tensors)
    return SubgraphFacts(
        name=table.text(4, "name"),
        tensors=tensors,
        inputs=_tensor_numbers(table, 1, "inputs", count),
        outputs=_tensor_numbers(table, 2, "outputs", count),
        operators=tuple(_operator(one, codes, count) for one in table.tables(3, "operators")),
    )


def _tensor(table: Table, buffers: int) -> TensorFacts:
    shape = table.numbers(0, "i", "shape")
    if any(dimension < 0 for dimension in shape):
        raise ModelFileError(f"{table.what} has the negative shape {list(shape)}: the file is damaged")
    buffer, dtype = table.number(2, "I"), table.number(1, "b")
    _require_index(buffer, buffers, f"{table.what} uses buffer")
    quantization = table.table(4, "quantization")
    _check_sparsity(table.table(6, "sparsity"))
    for variant in table.tables(9, "variant_tensors"):
        variant.vector(0, 4, "shape")
    return TensorFacts(
        name=table.text(3, "name"),
        shape=shape,
        shape_signature=table.numbers(7, "i", "shape_signature") or shape,
        dtype=type_name(dtype),
        bits=type_bits(dtype),
        buffer=buffer,
        scale=quantization.reals(2, "scale") if quantization else (),
        zero_point=_zero_points(quantization) if quantization else (),
        is_variable=bool(table.number(5, "B")),
    )


def _zero_points(table: Table) -> tuple[int, ...]:
    table.vector(0, 4, "min")
    table.vector(1, 4, "max")
    details = table.table(5, "details")
    if details and table.number(4, "B") == 1:  # CustomQuantization
        details.vector(0, 1, "custom")
    return table.numbers(3, "q", "zero_point")


def _check_sparsity(table: Table | None) -> None:
    if table is None:
        return
    table.vector(0, 4, "traversal_order")
    table.vector(1, 4, "block_map")
    widths = {1: 4, 2: 2, 3: 1}  # Int32Vector, Uint16Vector, Uint8Vector
    for dimension in table.tables(2, "dim_metadata"):
        for kind, field, name in ((2, 3, "array_segments"), (4, 5, "array_indices")):
            values = dimension.table(field, name)
            if values:
                values.vector(0, widths.get(dimension.number(kind, "B"), 4), "values")


def _operator(table: Table, codes: tuple[tuple[str, int], ...], tensors: int) -> OperatorFacts:
    code = table.number(0, "I")
    _require_index(code, len(codes), f"{table.what} uses operator code")
    _check_options(table, 3, _OPTION_VECTORS)
    _check_options(table, 11, _OPTION2_VECTORS)
    table.vector(5, 1, "custom_options")
    offset, size = table.number(9, "Q"), table.number(10, "Q")
    if offset > 1:
        table.buffer.require(offset, size, f"the custom options of {table.what}")
    table.vector(7, 1, "mutating_variable_inputs")
    _tensor_numbers(table, 8, "intermediates", tensors)
    kind, version = codes[code]
    return OperatorFacts(
        kind=kind,
        version=version,
        inputs=_tensor_numbers(table, 1, "inputs", tensors),
        outputs=_tensor_numbers(table, 2, "outputs", tensors),
    )


def _check_options(table: Table, type_field: int, known: dict[int, tuple[tuple[int, int], ...]]) -> None:
    options = table.table(type_field + 1, "builtin_options")
    if options is None:
        return
    for field, width in known.get(table.number(type_field, "B"), ()):
        options.vector(field, width, f"vector {field}")


def _tensor_numbers(table: Table, field: int, name: str, tensors: int) -> tuple[int, ...]:
    numbers = table.numbers(field, "i", name)
    for number in numbers:
        if number != -1:  # an absent optional operand
            _require_index(number, tensors, f"{name} of {table.what} names tensor")
    return numbers


def _metadata(table: Table, buffers: int) -> str:
    _require_index(table.number(1, "I"), buffers, f"{table.what} uses buffer")
    return table.text(0, "name")


def _signature(table: Table, subgraphs: tuple[SubgraphFacts, ...]) -> SignatureFacts:
    subgraph = table.number(4, "I")
    _require_index(subgraph, len(subgraphs), f"{table.what} uses subgraph")
    tensors = len(subgraphs[subgraph].tensors)
    return SignatureFacts(
        key=table.text(2, "signature_key"),
        subgraph=subgraph,
        inputs=tuple(_named(one, tensors) for one in table.tables(0, "inputs")),
        outputs=tuple(_named(one, tensors) for one in table.tables(1, "outputs")),
    )


def _named(table: Table, tensors: int) -> tuple[str, int]:
    number = table.number(1, "I")
    _require_index(number, tensors, f"{table.what} names tensor")
    return table.text(0, "name"), number


def _require_index(index: int, count: int, what: str) -> None:
    if not 0 <= index < count:
        raise ModelFileError(f"{what} {index}, but there are {count}: the file is damaged")
