"""PyTorch, where it is installed, silence while it works, and its errors in one line."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from edgec.frontends.foreign import import_extra

Module = Any  # torch has type annotations, but it is an extra: they are not there for everybody

_FORCE = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
_FORCE_NOT = "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"
_LONGEST = 300


def torch(where: str) -> Module:
    """Return the module; CompileError (E0115) naming the extra where it is not installed."""
    return _imported("torch", where)


def onnx_exporter(where: str) -> Module:
    """Return `torch.onnx`; CompileError (E0115) where it or the onnxscript that it needs is missing."""
    torch(where)
    _imported("onnxscript", where)
    return _imported("torch.onnx", where)


def _imported(name: str, where: str) -> Module:
    return import_extra(name, where, "reading PyTorch models needs torch and onnxscript", "torch")


@contextmanager
def weights_only() -> Iterator[None]:
    """Make every `torch.load` inside the block one that cannot run code.

    `torch.export.load` falls back to a full unpickling where the safe one refuses a file; this switch, which
    torch reads at each load, is stronger than the argument it then passes.
    """
    kept = {name: os.environ.pop(name, None) for name in (_FORCE, _FORCE_NOT)}
    os.environ[_FORCE] = "1"
    try:
        yield
    finally:
        del os.environ[_FORCE]
        os.environ.update({name: value for name, value in kept.items() if value is not None})


def in_one_line(error: BaseException) -> str:
    """Return what the deepest cause of an exception says: exporters wrap it several times.

    TorchScript tells its own call stack first and the error last.
    """
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if lines and lines[0].startswith("The following operation failed in the TorchScript"):
        lines = lines[-1:]
    return " ".join(lines)[:_LONGEST] or type(error).__name__
