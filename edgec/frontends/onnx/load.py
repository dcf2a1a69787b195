"""Reads ONNX files safely: what is damaged, foreign or reaches outside its folder is named, not loaded."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgec.diagnostics import CompileError, Diagnostic

if TYPE_CHECKING:
    import onnx

MIN_OPSET = 7
_SNIFF_BYTES = 256
_BROADCASTING = ("Add", "Sub", "Mul", "Div", "Pow", "And", "Or", "Xor", "Equal", "Greater", "Less")


@dataclass(frozen=True)
class Source:
    """A loaded ONNX model with where it came from: a `path`, or `raw` bytes for models given in memory.

    `opset` is the file's own; `lowered_opset` is that of `proto`, which is higher for very old models.
    """

    proto: onnx.ModelProto
    opset: int
    lowered_opset: int
    sha256: str
    size_bytes: int
    path: Path | None = None
    raw: bytes | None = None
    format: str = "onnx"

    @property
    def name(self) -> str:
        """What messages call the model."""
        return self.path.name if self.path is not None else "model"

    def runnable(self) -> Path | bytes:
        """Return what the source's own runtime can load."""
        return self.path if self.path is not None else self.raw or b""


def load_onnx(model: Path | bytes | onnx.ModelProto) -> Source:
    """Read a model with its external data; CompileError (E01xx) where the file is no usable model."""
    import onnx

    if isinstance(model, onnx.ModelProto):
        raw = model.SerializeToString(deterministic=True)
        return _checked(onnx.ModelProto.FromString(raw), raw, None)
    path = model if isinstance(model, Path) else None
    raw = _read(path) if path is not None else bytes(model)
    where = str(path) if path is not None else "model bytes"
    proto = _parse(raw, where)
    outside = 0 if path is None else _load_external_data(proto, path.parent, where)
    return _checked(proto, raw, path, outside)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise CompileError(
            Diagnostic("E0101", str(path), "there is no such file", next_step="Check the path.")
        ) from None
    except IsADirectoryError:
        raise CompileError(
            Diagnostic(
                "E0101", str(path), "is a folder, not an ONNX file", next_step="Name the .onnx file in it."
            )
        ) from None
    except OSError as error:
        raise CompileError(Diagnostic("E0101", str(path), f"cannot be read: {error.strerror}")) from None


def _parse(raw: bytes, where: str) -> onnx.ModelProto:
    import onnx
    from google.protobuf.message import DecodeError

    try:
        proto = onnx.ModelProto.FromString(raw)
    except (DecodeError, RecursionError):
        proto = None
    if proto is not None and proto.HasField("graph") and proto.ir_version > 0:
        return proto
    raise CompileError(
        Diagnostic("E0102", where, "this is not a complete ONNX model", _looks_like(raw), "Export it again.")
    )


def _looks_like(raw: bytes) -> str:
    """Say what a file that is not ONNX seems to be."""
    head = raw[:_SNIFF_BYTES]
    if not raw:
        return "The file is empty."
    if head.startswith(b"version https://git-lfs"):
        return "It is a Git LFS pointer: run `git lfs pull` to fetch the model itself."
    if head[4:8] == b"TFL3":
        return "It is a TFLite flatbuffer."
    if head.startswith(b"PK"):
        return "It is a zip archive (a .keras or PyTorch file?)."
    if head.startswith(b"\x89HDF"):
        return "It is an HDF5 file (a Keras .h5 model?)."
    if all(byte in b"\t\r\n" or 32 <= byte < 127 for byte in head):
        return "It is a text file."
    return f"Its {len(raw)} bytes do not decode: truncated or damaged."


def _checked(proto: onnx.ModelProto, raw: bytes, path: Path | None, outside: int = 0) -> Source:
    """Return the source of a sound model; `outside` are the bytes that it keeps in other files."""
    digest = hashlib.sha256(raw).hexdigest()
    kept = raw if path is None else None  # a large file would otherwise be held twice
    _check_ir_version(proto, path)
    _check_text(proto.graph, path)
    _check_single_producers(proto.graph, path)
    declared = _opset(proto, path)
    if declared < MIN_OPSET:
        proto = _upgraded(proto, declared, path)
    source = Source(proto, declared, max(declared, MIN_OPSET), digest, len(raw) + outside, path, kept)
    if not proto.graph.node and not proto.graph.output:
        raise CompileError(
            Diagnostic(
                "E0103",
                source.name,
                "the graph is empty",
                "It has no nodes and no outputs.",
                "Export it again.",
            )
        )
    if not proto.graph.output:
        raise CompileError(
            Diagnostic(
                "E0103", source.name, "the graph has no outputs", next_step="Name outputs when exporting."
            )
        )
    return source


def _check_ir_version(proto: onnx.ModelProto, path: Path | None) -> None:
    """A newer file format may hold fields that this one drops without a word."""
    import onnx

    if proto.ir_version > onnx.IR_VERSION:
        raise CompileError(
            Diagnostic(
                "E0104",
                path.name if path is not None else "model",
                f"the file is of ONNX IR version {proto.ir_version}",
                f"The installed onnx {onnx.__version__} reads versions up to {onnx.IR_VERSION}.",
                "Upgrade the onnx package, or save the model with a lower ir_version.",
            )
        )


def _check_text(graph: onnx.GraphProto, path: Path | None) -> None:
    """Names are text: protobuf gives those of a damaged file as bytes, which no later stage expects."""
    infos = (*graph.input, *graph.output, *graph.initializer)
    names = [info.name for info in infos]
    for node in graph.node:
        names += [node.op_type, node.domain, node.name, *node.input, *node.output]
        names += [attribute.name for attribute in node.attribute]
    if all(isinstance(name, str) for name in names):
        return
    raise CompileError(
        Diagnostic(
            "E0102",
            path.name if path is not None else "model",
            "a name in the graph is not text",
            "The file is damaged.",
            "Export it again.",
        )
    )


def _check_single_producers(graph: onnx.GraphProto, path: Path | None) -> None:
    """Tensor names are the graph's edges: with two producers of one, nobody can know which is meant."""
    taken = {info.name for info in graph.input} | {tensor.name for tensor in graph.initializer}
    for node in graph.node:
        for name in node.output:
            if name in taken:
                where = f"node '{node.name or name}' ({node.op_type})"
                what = f"computes '{name}', which the graph has already"
                why = "Every tensor name of a graph has one producer." + (
                    f" File: {path.name}." if path else ""
                )
                raise CompileError(Diagnostic("E0122", where, what, why, "Export the model again."))
            if name:
                taken.add(name)


def _opset(proto: onnx.ModelProto, path: Path | None) -> int:
    import onnx

    where = path.name if path is not None else "model"
    newest = onnx.defs.onnx_opset_version()
    versions = [entry.version for entry in proto.opset_import if entry.domain in ("", "ai.onnx")]
    opset = max(versions, default=newest if not proto.opset_import else MIN_OPSET)
    if opset > newest:
        raise CompileError(
            Diagnostic(
                "E0104",
                where,
                f"the model uses opset {opset}",
                f"The installed onnx {onnx.__version__} knows opsets up to {newest}.",
                "Upgrade the onnx package, or export with a lower opset_version.",
            )
        )
    return opset


def _upgraded(proto: onnx.ModelProto, opset: int, path: Path | None) -> onnx.ModelProto:
    """Return a model of before opset 7 in opset 7: operators of that time broadcast in other words."""
    from onnx import version_converter

    try:
        _spread_operands(proto)
        return version_converter.convert_version(proto, MIN_OPSET)
    except Exception as error:  # the converter raises RuntimeError and its own, with only Exception in common
        raise CompileError(
            Diagnostic(
                "E0105",
                path.name if path is not None else "model",
                f"the model uses opset {opset}, and it cannot be brought to opset {MIN_OPSET}",
                " ".join(str(error).split())[:200],
                "Export the model again with a newer opset_version.",
            )
        ) from None


def _spread_operands(proto: onnx.ModelProto) -> None:
    """Insert the axes that operators of before opset 7 broadcast along without writing them down.

    There, `axis=1` lays a second operand [C] along the channels, and slopes [C] of PRelu are one a channel.
    In opset 7 both would broadcast along the last axis; onnx's version converter does not mend either.
    """
    import onnx
    from onnx import helper, shape_inference

    graph = shape_inference.infer_shapes(proto).graph
    ranks = {tensor.name: len(tensor.dims) for tensor in proto.graph.initializer}
    ranks |= {
        info.name: len(info.type.tensor_type.shape.dim)
        for info in (*graph.input, *graph.value_info)
        if info.type.tensor_type.HasField("shape")
    }
    nodes: list[onnx.NodeProto] = []
    for number, old in enumerate(proto.graph.node):
        node = onnx.NodeProto()
        node.CopyFrom(old)
        missing = _missing_axes(node, ranks)
        if missing:
            spread = f"{node.input[1]}/spread_{number}"
            first = ranks[node.input[1]]
            axes = list(range(first, first + missing))
            nodes.append(helper.make_node("Unsqueeze", [node.input[1]], [spread], axes=axes))
            node.input[1] = spread
        kept = [attribute for attribute in node.attribute if attribute.name not in ("axis", "broadcast")]
        if node.op_type in _BROADCASTING:
            del node.attribute[:]
            node.attribute.extend(kept)
        nodes.append(node)
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)


def _missing_axes(node: onnx.NodeProto, ranks: dict[str, int]) -> int:
    """Return how many axes of size 1 belong behind those of operand 1."""
    if node.op_type not in (*_BROADCASTING, "PRelu") or not {*node.input[:2]} <= ranks.keys():
        return 0
    first, second = ranks[node.input[0]], ranks[node.input[1]]
    if node.op_type == "PRelu":
        return first - 2 if second == 1 and first > 2 else 0
    axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), None)
    return first - axis % first - second if axis is not None and first else 0


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """Yield every tensor a graph stores, also those in node attributes and subgraphs."""
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            for subgraph in (attribute.g, *attribute.graphs):
                yield from _tensors(subgraph)


def _load_external_data(proto: onnx.ModelProto, folder: Path, where: str) -> int:
    """Fill tensors kept in other files and return their bytes.

    A path outside the model's folder is an attack or a mistake.
    """
    import onnx

    size = 0
    for tensor in _tensors(proto.graph):
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            continue
        entries = {entry.key: entry.value for entry in tensor.external_data}
        path = _external_path(entries.get("location", ""), folder, tensor.name, where)
        tensor.raw_data = _read_range(path, entries, tensor.name, where)
        size += len(tensor.raw_data)
        tensor.data_location = onnx.TensorProto.DEFAULT
        del tensor.external_data[:]
    return size


def _external_path(location: str, folder: Path, tensor: str, where: str) -> Path:
    root = folder.resolve()
    path = (root / location).resolve()
    if not location or not path.is_relative_to(root):
        raise CompileError(
            Diagnostic(
                "E0106",
                where,
                f"tensor '{tensor}' keeps its data in '{location}', outside the model's folder",
                "Reading there is refused: a model must not reach other files of yours.",
                "Move the data file beside the model and save the model again.",
            )
        )
    if not path.is_file():
        raise CompileError(
            Diagnostic(
                "E0107",
                where,
                f"tensor '{tensor}' keeps its data in '{location}', and that file is missing",
                next_step=f"Copy '{location}' beside the model: large models consist of several files.",
            )
        )
    return path


def _read_range(path: Path, entries: dict[str, str], tensor: str, where: str) -> bytes:
    size = path.stat().st_size
    try:
        offset = int(entries.get("offset", 0))
        length = int(entries.get("length", size - offset))
    except ValueError:
        offset, length = -1, -1
    if offset < 0 or length < 0 or offset + length > size:
        raise CompileError(
            Diagnostic(
                "E0108",
                where,
                f"tensor '{tensor}' names bytes that '{path.name}' ({size} bytes) does not have",
                "The data file is truncated or belongs to another model.",
                "Copy it again.",
            )
        )
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(length)
