"""Identifies a PyTorch file or live program; files are opened by torch only once they are needed."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgec.diagnostics import CompileError, Diagnostic
from edgec.frontends.torch.archive import Kind, inspect

if TYPE_CHECKING:
    from edgec.frontends.torch.program import Program

LiveProgram = Any  # torch.nn.Module or torch.export.ExportedProgram
ExampleInputs = Sequence[object] | Mapping[str, object]
"""Positional arguments of `forward`, or keyword arguments by name; arrays, tensors and plain values."""


@dataclass(frozen=True)
class TorchFile:
    """A `.pt2` or TorchScript file (`content`), or a live module or exported program (`live`)."""

    kind: Kind
    sha256: str
    size_bytes: int
    path: Path | None = None
    content: bytes = field(default=b"", repr=False)
    live: LiveProgram = None
    example_inputs: ExampleInputs | None = field(default=None, repr=False)
    opset: int | None = None
    format: str = "torch"
    programs: list[Program] = field(default_factory=list, compare=False, repr=False)
    """What torch has loaded of it, once it has: import and verification share it."""

    @property
    def name(self) -> str:
        """What messages call the model."""
        if self.path is not None:
            return self.path.name
        return "model" if self.live is None else type(self.live).__name__

    def stream(self) -> Path | io.BytesIO:
        """Return what torch reads a file from; TorchScript weights are mapped from the file itself."""
        return self.path if self.path is not None else io.BytesIO(self.content)


def load_torch(model: Path | bytes | LiveProgram, example_inputs: ExampleInputs | None = None) -> TorchFile:
    """Return a program's identity; CompileError (E0101, E0102, E0116, E0125) where the file holds none.

    `example_inputs` are needed for a live module; its inputs have their shapes and element types.
    """
    if isinstance(model, bytes | bytearray | memoryview):
        model = bytes(model)
        digest, kind = hashlib.sha256(model).hexdigest(), inspect(io.BytesIO(model), "model bytes")
        return TorchFile(kind, digest, len(model), content=model, example_inputs=example_inputs)
    if not isinstance(model, Path):
        return _live(model, example_inputs)
    try:
        with model.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            size = file.tell()
            kind = inspect(file, str(model))
    except OSError as error:
        what = f"cannot be read: {error.strerror}"
        raise CompileError(Diagnostic("E0101", str(model), what)) from None
    return TorchFile(kind, digest, size, model, example_inputs=example_inputs)


def _live(program: LiveProgram, example_inputs: ExampleInputs | None) -> TorchFile:
    """Identify a program in memory by its structure and tensors."""
    torch = import_module("torch")
    if isinstance(program, torch.nn.Module):
        kind = Kind.SCRIPT if isinstance(program, torch.jit.ScriptModule) else Kind.MODULE
        structure = str(program)
    else:
        kind, structure = Kind.EXPORTED, str(program.graph)
    digest, size = hashlib.sha256(structure.encode()), 0
    for name, chunk in _tensors(torch, program):
        digest.update(name.encode())
        digest.update(chunk)
        size += len(chunk)
    return TorchFile(kind, digest.hexdigest(), size, live=program, example_inputs=example_inputs)


def _tensors(torch: Any, program: LiveProgram) -> Iterator[tuple[str, bytes]]:
    is_module = isinstance(program, torch.nn.Module)
    tensors = program.state_dict() if is_module else program.state_dict
    for name, tensor in {**tensors, **getattr(program, "constants", {})}.items():
        if isinstance(tensor, torch.Tensor):
            flat = tensor.detach().cpu().contiguous().reshape(-1)
            yield f"{name} {tuple(tensor.shape)} {tensor.dtype}", flat.view(torch.uint8).numpy().tobytes()
