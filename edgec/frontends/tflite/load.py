"""Reads TFLite files safely: a damaged file is named, never followed into memory it does not have."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgec.diagnostics import CompileError, Diagnostic
from edgec.emit.options import schema
from edgec.frontends.tflite.structure import structure_problems

Table = Any  # objects of the generated schema module, which has no type annotations

IDENTIFIER = b"TFL3"
_SMALLEST = 16  # root offset, identifier, a table
_DAMAGE = (struct.error, IndexError, ValueError, TypeError, OverflowError, AttributeError, MemoryError)
"""What the generated accessors raise where an offset or a length leads out of the file."""


@dataclass(frozen=True)
class TfliteFile:
    """A flatbuffer whose every index is known to lead somewhere; `table` is the schema's `ModelT`.

    `table` holds views of `raw`: weights are not copied.
    """

    table: Table
    raw: bytes
    sha256: str
    path: Path | None = None
    format: str = "tflite"
    opset: int | None = None

    @property
    def name(self) -> str:
        """What messages call the model."""
        return self.path.name if self.path is not None else "model"

    @property
    def size_bytes(self) -> int:
        """File size."""
        return len(self.raw)

    @property
    def holds_int4(self) -> bool:
        """Whether a tensor is int4: of LiteRT's kernel sets some misread it (`stages.verify` chooses)."""
        int4 = schema().TensorType.INT4
        return any(tensor.type == int4 for graph in self.table.subgraphs for tensor in graph.tensors or ())

    def runnable(self) -> Path | bytes:
        """Return what the source's own runtime can load."""
        return self.path if self.path is not None else self.raw


def load_tflite(model: Path | bytes) -> TfliteFile:
    """Read and check a file; CompileError (E01xx) where it is no usable model."""
    file = read_tflite(model)
    problems = structure_problems(file.table, file.name, len(file.raw))
    if problems:
        raise CompileError(problems)
    return file


def read_tflite(model: Path | bytes) -> TfliteFile:
    """Read a file whose indices may still be wrong (the doctor's way in); CompileError where it cannot."""
    path = model if isinstance(model, Path) else None
    raw = _read(path) if path is not None else bytes(model)
    where = str(path) if path is not None else "model bytes"
    if raw[4:8] != IDENTIFIER or len(raw) < _SMALLEST:
        why = "The file is empty." if not raw else "It does not carry the mark TFL3 at byte 4."
        raise CompileError(
            Diagnostic("E0102", where, "this is not a TFLite flatbuffer", why, "Convert the model again.")
        )
    return TfliteFile(_unpacked(raw, where), raw, hashlib.sha256(raw).hexdigest(), path)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        problem = Diagnostic("E0101", str(path), "there is no such file", next_step="Check the path.")
    except IsADirectoryError:
        problem = Diagnostic("E0101", str(path), "is a folder", next_step="Name the .tflite file in it.")
    except OSError as error:
        problem = Diagnostic("E0101", str(path), f"cannot be read: {error.strerror}")
    raise CompileError(problem) from None


def _unpacked(raw: bytes, where: str) -> Table:
    try:
        _check_lengths(raw)
        return schema().ModelT.InitFromPackedBuf(raw, 0)
    except _DAMAGE as error:
        raise CompileError(
            Diagnostic(
                "E0102",
                where,
                "the flatbuffer is damaged",
                f"Its tables lead out of its {len(raw)} bytes ({error}): truncated or overwritten.",
                "Copy or convert the file again.",
            )
        ) from None


def _check_lengths(raw: bytes) -> None:
    """Refuse vectors of tables that are longer than the file could hold, before anything walks them."""
    model = schema().Model.GetRootAs(raw, 0)
    limit = len(raw) // 4  # one 32-bit offset an entry
    lengths = [model.OperatorCodesLength(), model.SubgraphsLength(), model.BuffersLength()]
    lengths += [model.SignatureDefsLength(), model.MetadataLength()]
    _within(lengths, limit)
    for index in range(model.SubgraphsLength()):
        graph = model.Subgraphs(index)
        _within([graph.TensorsLength(), graph.OperatorsLength()], limit)
    for index in range(model.SignatureDefsLength()):
        signature = model.SignatureDefs(index)
        _within([signature.InputsLength(), signature.OutputsLength()], limit)


def _within(lengths: list[int], limit: int) -> None:
    if sum(lengths) > limit:
        raise ValueError(f"{sum(lengths)} entries cannot be in it")
