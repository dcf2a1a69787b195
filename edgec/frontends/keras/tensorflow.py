"""TensorFlow, where it is installed, and silence while it works."""

from __future__ import annotations

import os
from typing import Any

from edgec.diagnostics import CompileError, Diagnostic
from edgec.frontends.foreign import import_extra

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
    return import_extra(name, where, "reading this format needs TensorFlow", "keras")
