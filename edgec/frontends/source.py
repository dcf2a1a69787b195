"""The one door for models: find out what a model is, load it, import it.

Every loaded source says `format`, `name`, `sha256`, `size_bytes` and `opset` (None outside ONNX); that is all
that stages and reports ask of it. Running it is `edgec.verify.runners`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from edgec.diagnostics import CompileError, Diagnostic, Diagnostics
from edgec.frontends.detect import Format, detect
from edgec.ir import Model

InputShapes = Mapping[str, Sequence[int]]
ExampleInputs = Sequence[object] | Mapping[str, object]


class SourceModel(Protocol):
    """A loaded model of any format."""

    @property
    def format(self) -> str:
        """`onnx`, `tflite`, `keras`, `hdf5`, `savedmodel` or `torch`, as the report says it."""
        ...

    @property
    def name(self) -> str:
        """What messages call the model."""
        ...

    @property
    def sha256(self) -> str:
        """Digest of the file, folder or live model."""
        ...

    @property
    def size_bytes(self) -> int:
        """Size of the file or folder."""
        ...

    @property
    def opset(self) -> int | None:
        """The ONNX opset, None for other formats."""
        ...


def load_source(model: object, example_inputs: ExampleInputs | None = None) -> SourceModel:
    """Return the loaded model in its front end's own class; CompileError (E01xx) where it is none.

    `model` is a path, bytes, an `onnx.ModelProto`, a `keras.Model`, a `torch.nn.Module` or a
    `torch.export.ExportedProgram`; `example_inputs` are for torch, which traces modules by running them.
    """
    format = detect(model)
    given = Path(model) if isinstance(model, str) else model
    if format is Format.TFLITE and isinstance(given, Path | bytes):
        from edgec.frontends.tflite import load_tflite

        return load_tflite(given)
    if format in (Format.KERAS, Format.HDF5, Format.SAVEDMODEL):
        from edgec.frontends.keras import load_keras

        if isinstance(given, bytes):
            what, step = f"is a {format} model given as bytes", "Write it to a file and give its path."
            raise CompileError(Diagnostic("E0101", "model bytes", what, next_step=step))
        return load_keras(given, format)
    if format is Format.TORCH:
        from edgec.frontends.torch import load_torch

        return load_torch(given, example_inputs)
    from edgec.frontends.onnx import load_onnx

    return load_onnx(given)  # pyright: ignore[reportArgumentType]


def import_source(
    source: SourceModel,
    input_shapes: InputShapes,
    diagnostics: Diagnostics,
    signature: str | None = None,
    input_values: Mapping[str, float] | None = None,
) -> Model:
    """Return the IR of a loaded model; CompileError where it cannot be expressed."""
    from edgec.frontends.keras import KerasFile, import_keras
    from edgec.frontends.onnx import Source, import_onnx
    from edgec.frontends.tflite import TfliteFile, import_tflite
    from edgec.frontends.torch import TorchFile, import_torch

    if input_values and source.format != "onnx":
        what, why = "is for ONNX models", f"{source.name} is of format {source.format}."
        raise CompileError(Diagnostic("E0605", "--input-value", what, why))
    match source:
        case TfliteFile():
            return import_tflite(source, input_shapes, diagnostics, signature=signature)
        case KerasFile():
            return import_keras(source, input_shapes, diagnostics, signature=signature)
        case TorchFile():
            return import_torch(source, input_shapes, diagnostics)
        case Source():
            return import_onnx(source, input_shapes, diagnostics, input_values)
        case _:
            raise TypeError(f"{type(source).__name__} is no loaded model")
