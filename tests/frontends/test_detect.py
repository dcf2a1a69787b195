"""Formats are told by content; suffixes may be missing or lie."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import onnx
import pytest

from edgec.diagnostics import CompileError
from edgec.emit import emit
from edgec.frontends.detect import Format, detect
from tests.support.ir_graphs import conv, make_model


def archive(*names: str) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as file:
        for name in names:
            file.writestr(name, "x")
    return sink.getvalue()


TFLITE = emit(make_model(lambda b, x: conv(b, x), (1, 5, 5, 3))).to_bytes()
HDF5 = b"\x89HDF\r\n\x1a\n"
CONTENT = {
    "tflite": (TFLITE, Format.TFLITE),
    "hdf5": (HDF5 + bytes(64), Format.HDF5),
    "hdf5_behind_a_user_block": (bytes(512) + HDF5, Format.HDF5),
    "keras": (archive("metadata.json", "config.json", "model.weights.h5"), Format.KERAS),
    "torchscript": (archive("m/data.pkl", "m/code/x.py", "m/constants.pkl"), Format.TORCH),
    "state_dict": (archive("archive/data.pkl", "archive/version"), Format.TORCH),
    "exported_program": (archive("m/archive_format", "m/models/model.json"), Format.TORCH),
    "old_pickle": (b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.", Format.TORCH),
    "onnx": (b"\x08\x07\x12\x04test", Format.ONNX),
    "empty": (b"", Format.ONNX),
    "text": (b"hello", Format.ONNX),
}


@pytest.mark.parametrize("name", CONTENT)
def test_content_decides(name: str, tmp_path: Path) -> None:
    """As bytes, and as a file whose suffix says something else."""
    raw, expected = CONTENT[name]
    path = tmp_path / "model.onnx"
    path.write_bytes(raw)
    assert detect(raw) is expected
    assert detect(path) is expected
    assert detect(str(path)) is expected


def test_a_savedmodel_is_a_folder_with_its_graph(tmp_path: Path) -> None:
    """Any other folder is refused with what is missing."""
    with pytest.raises(CompileError, match=r"E0101 .*: is a folder, and no SavedModel.*no saved_model\.pb"):
        detect(tmp_path)
    (tmp_path / "saved_model.pb").write_bytes(b"x")
    assert detect(tmp_path) is Format.SAVEDMODEL


def test_archives_of_other_kinds_are_refused() -> None:
    """What is inside is shown; a truncated archive is called damaged."""
    with pytest.raises(CompileError, match=r"neither a \.keras file nor a PyTorch one.*It holds a\.txt"):
        detect(archive("a.txt"))
    with pytest.raises(CompileError, match="E0102 model bytes: this is a damaged zip archive"):
        detect(archive("config.json", "metadata.json")[:60])


def test_live_objects_are_told_by_their_class() -> None:
    """An onnx model is one; a dict of weights is no model."""
    assert detect(onnx.ModelProto()) is Format.ONNX
    with pytest.raises(CompileError, match=r"E0101 a builtins\.dict object: is no model"):
        detect({"weight": 1})


def test_a_missing_file_is_left_to_the_reader(tmp_path: Path) -> None:
    """ONNX's reader names it."""
    assert detect(tmp_path / "no.onnx") is Format.ONNX
