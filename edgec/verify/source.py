"""The source model as its own runtime computes it: the oracle of verification."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import numpy as np

from edgec.diagnostics import CompileError, Diagnostic
from edgec.ir import Array

_FATAL_ONLY = 4
_DTYPES = {"tensor(float)": "float32", "tensor(double)": "float64", "tensor(float16)": "float16"}


class SourceRunner(Protocol):
    """Runs the source model on inputs by name; outputs in the source's order."""

    def run(self, inputs: Mapping[str, Array]) -> list[Array]:
        """Return every output."""
        ...


class OnnxRuntimeSource:
    """onnxruntime with graph optimizations off, so that what it computes is what the file says."""

    def __init__(
        self, model: Path | bytes, threads: int = 2, fixed_inputs: Mapping[str, Array] | None = None
    ) -> None:
        import onnxruntime

        self._fixed = fixed_inputs or {}
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.log_severity_level = _FATAL_ONLY
        options.intra_op_num_threads = threads
        try:
            self._session = onnxruntime.InferenceSession(
                str(model) if isinstance(model, Path) else model, options, ["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime's exception classes share no base but Exception
            raise _refused(error) from None
        self._dtypes = {item.name: _DTYPES.get(item.type) for item in self._session.get_inputs()}

    def run(self, inputs: Mapping[str, Array]) -> list[Array]:
        """Return every output; inputs are cast to the source's own float type, fixed ones are added."""
        inputs = {**self._fixed, **inputs}
        feeds = {
            name: array.astype(self._dtypes[name]) if self._dtypes.get(name) else array
            for name, array in inputs.items()
            if name in self._dtypes
        }
        try:
            return [np.asarray(array) for array in self._session.run(None, feeds)]
        except Exception as error:
            raise _refused(error) from None


def _refused(error: Exception) -> CompileError:
    return CompileError(
        Diagnostic(
            "E0702",
            "verification",
            "onnxruntime cannot run the source model",
            " ".join(str(error).split())[:400],
            "Compile with --no-verify if you know the model to be right.",
        )
    )
