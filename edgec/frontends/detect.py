"""What a model is, by its content: a suffix may be missing or lie.

folder with saved_model.pb ─▶ savedmodel      TFL3 at byte 4 ─▶ tflite
zip with config.json ──────▶ keras            HDF5 superblock ─▶ hdf5
zip or pickle of torch ────▶ torch            all else ───────▶ onnx, whose reader says what is wrong
"""

from __future__ import annotations

import io
import sys
import zipfile
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path

from edgec.diagnostics import CompileError, Diagnostic

_HEAD = 4096
_HDF5 = b"\x89HDF\r\n\x1a\n"
_USER_BLOCKS = (0, 512, 1024, 2048)  # an HDF5 file may begin with a block of the user's own
_TORCH_PICKLE = (
    b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.",
    b"\x80\x02c",
    b"\x80\x04\x95",
    b"\x80\x05\x95",
)
"""The magic number that torch.save wrote before it used zip, and plain pickles."""
_TORCH_MEMBERS = ("data.pkl", "constants.pkl", "archive_format", "serialized_exported_program.json")


class Format(StrEnum):
    """The formats that models come in."""

    ONNX = "onnx"
    TFLITE = "tflite"
    KERAS = "keras"
    HDF5 = "hdf5"
    SAVEDMODEL = "savedmodel"
    TORCH = "torch"


def detect(model: object) -> Format:
    """Return the format of a path, bytes, or live object (onnx.ModelProto, keras.Model, torch.nn.Module).

    CompileError (E0101, E0102) for a folder or archive of no known kind, and for other objects. A path that
    does not exist is taken for ONNX, whose reader says so.
    """
    if isinstance(model, bytes | bytearray | memoryview):
        raw = bytes(model)
        return _of_content(raw[:_HEAD], io.BytesIO(raw), "model bytes")
    if isinstance(model, str | Path):
        return _of_path(Path(model))
    return _of_object(model)


def _of_path(path: Path) -> Format:
    if path.is_dir():
        if (path / "saved_model.pb").is_file() or (path / "saved_model.pbtxt").is_file():
            return Format.SAVEDMODEL
        raise CompileError(
            Diagnostic(
                "E0101",
                str(path),
                "is a folder, and no SavedModel",
                "There is no saved_model.pb in it.",
                "Name the model file in it.",
            )
        )
    try:
        with path.open("rb") as file:
            return _of_content(file.read(_HEAD), file, str(path))
    except OSError:
        return Format.ONNX


def _of_content(head: bytes, file: io.BufferedIOBase, where: str) -> Format:
    if head[4:8] == b"TFL3":
        return Format.TFLITE
    if any(head[at : at + len(_HDF5)] == _HDF5 for at in _USER_BLOCKS):
        return Format.HDF5
    if head.startswith(b"PK\x03\x04"):
        return _of_zip(file, where)
    if head.startswith(_TORCH_PICKLE):
        return Format.TORCH
    return Format.ONNX


def _of_zip(file: io.BufferedIOBase, where: str) -> Format:
    try:
        file.seek(0)
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        why = f"Its directory cannot be read ({error}): truncated?"
        raise CompileError(
            Diagnostic("E0102", where, "this is a damaged zip archive", why, "Copy the file again.")
        ) from None
    if "config.json" in names and any(name.startswith(("model.weights", "metadata")) for name in names):
        return Format.KERAS
    if any(name.rsplit("/", 1)[-1] in _TORCH_MEMBERS or "/models/" in name for name in names):
        return Format.TORCH
    inside = ", ".join(names[:5]) or "nothing"
    raise CompileError(
        Diagnostic(
            "E0102",
            where,
            "this zip archive is neither a .keras file nor a PyTorch one",
            f"It holds {inside}.",
            "If the model is inside, unpack it and name the model file.",
        )
    )


def _of_object(model: object) -> Format:
    """Go by the classes that libraries have already imported: a live object's library always has been."""
    known: Sequence[tuple[Format, str, str]] = (
        (Format.ONNX, "onnx", "ModelProto"),
        (Format.KERAS, "keras", "Model"),
        (Format.TORCH, "torch.nn", "Module"),
        (Format.TORCH, "torch.export", "ExportedProgram"),
    )
    for format, module, name in known:
        kind = getattr(sys.modules.get(module), name, None)
        if isinstance(kind, type) and isinstance(model, kind):
            return format
    raise CompileError(
        Diagnostic(
            "E0101",
            f"a {type(model).__module__}.{type(model).__qualname__} object",
            "is no model",
            "",
            "Give a path, bytes, an onnx.ModelProto, a keras.Model, a torch.nn.Module or an ExportedProgram.",
        )
    )
