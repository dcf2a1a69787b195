"""Finds out what a Keras file or folder is, without TensorFlow and without running anything in it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgec.diagnostics import CompileError, Diagnostic
from edgec.frontends.detect import Format

if TYPE_CHECKING:
    from edgec.frontends.keras.program import Program

LiveModel = Any  # keras.Model, which has no usable type annotations

_CHUNK = 1 << 20


@dataclass(frozen=True)
class KerasFile:
    """A `.keras` file, an HDF5 file, a SavedModel folder, or a live `keras.Model`."""

    format: Format
    sha256: str
    size_bytes: int
    path: Path | None = None
    live: LiveModel = None
    opset: int | None = None
    programs: dict[str | None, Program] = field(default_factory=dict, compare=False, repr=False)
    """What TensorFlow has loaded of it, by signature: import and verification share it."""

    @property
    def name(self) -> str:
        """What messages call the model."""
        return self.path.name if self.path is not None else str(getattr(self.live, "name", "model"))


def load_keras(model: Path | LiveModel, format: Format = Format.KERAS) -> KerasFile:
    """Return a model's identity; `format` as `detect` finds it. CompileError (E0101) without such a file."""
    if not isinstance(model, Path):
        return _live(model)
    digest, size = hashlib.sha256(), 0
    try:
        for chunk in _chunks(model):
            digest.update(chunk)
            size += len(chunk)
    except FileNotFoundError:
        problem = Diagnostic("E0101", str(model), "there is no such file", next_step="Check the path.")
    except OSError as error:
        problem = Diagnostic("E0101", str(model), f"cannot be read: {error.strerror}")
    else:
        return KerasFile(format, digest.hexdigest(), size, model)
    raise CompileError(problem) from None


def _chunks(path: Path) -> Iterator[bytes]:
    """Yield the bytes of a file; of a folder, every file's name and bytes in order of name."""
    if not path.is_dir():
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                yield chunk
        return
    for inner in sorted(item for item in path.rglob("*") if item.is_file()):
        yield inner.relative_to(path).as_posix().encode()
        yield from _chunks(inner)


def _live(model: LiveModel) -> KerasFile:
    """Identify a model in memory by its configuration and weights."""
    digest, size = hashlib.sha256(), 0
    texts = [str(layer.get_config()) for layer in getattr(model, "layers", [])]
    for chunk in (*(text.encode() for text in texts), *(array.tobytes() for array in model.get_weights())):
        digest.update(chunk)
        size += len(chunk)
    return KerasFile(Format.KERAS, digest.hexdigest(), size, None, model)
