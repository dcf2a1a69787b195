"""TensorFlow, where it is installed, and silence while it works."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from importlib import import_module
from typing import Any

from edgec.diagnostics import CompileError, Diagnostic
from edgec.kernels.native_log import captured_stderr

Module = Any  # tensorflow and keras have no usable type annotations

_SETTINGS = {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "0", "CUDA_VISIBLE_DEVICES": "-1"}
"""Read once, when TensorFlow is imported: no chatter, no rounding that differs between CPUs, no GPU."""


def tensorflow(where: str) -> Module:
    """Return the module; CompileError (E0115) naming the extra where it is not installed."""
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    return _imported("tensorflow", where)


def hdf5(where: str) -> Module:
    """Return h5py, which TensorFlow brings."""
    return _imported("h5py", where)


def keras(where: str) -> Module:
    """Return Keras 3 on TensorFlow; CompileError where it is missing or runs on another backend."""
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    tensorflow(where)
    library = _imported("keras", where)
    backend = library.backend.backend()
    if backend == "tensorflow":
        return library
    raise CompileError(
        Diagnostic(
            "E0115",
            where,
            f"Keras runs on the {backend} backend",
            "Models are traced with TensorFlow.",
            "Set KERAS_BACKEND=tensorflow before Keras is imported.",
        )
    )


def _imported(name: str, where: str) -> Module:
    with quiet():
        try:
            return import_module(name)
        except ImportError as error:
            missing = Diagnostic(
                "E0115",
                where,
                "reading this format needs TensorFlow, which cannot be imported",
                f"{error}.",
                "Run `pip install 'edgec[keras]'`.",
            )
    raise CompileError(missing)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep what TensorFlow, absl and Keras say on standard output and error from the user's terminal."""
    sink = io.StringIO()
    with warnings.catch_warnings(), captured_stderr(), redirect_stdout(sink), redirect_stderr(sink):
        warnings.simplefilter("ignore")
        yield
