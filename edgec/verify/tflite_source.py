"""A TFLite file as LiteRT's builtin kernels compute it: the oracle for files that others made."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgec.diagnostics import CompileError, Diagnostic
from edgec.ir import Array
from edgec.kernels import KernelSet
from edgec.kernels.native_log import captured_stderr

if TYPE_CHECKING:
    from ai_edge_litert.interpreter import Interpreter

_PROBE = """
import sys
import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType
try:
    interpreter = Interpreter(
        model_content=sys.stdin.buffer.read(),
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    interpreter.allocate_tensors()
    for detail in interpreter.get_input_details():
        interpreter.set_tensor(detail["index"], np.zeros(detail["shape"], detail["dtype"]))
    interpreter.invoke()
except (ValueError, RuntimeError) as error:
    sys.exit(" ".join(str(error).split()))
"""


def refusal(content: bytes) -> str:
    """Return why LiteRT cannot load and run a file, or nothing.

    A process of its own finds out: LiteRT trusts files, and some end it with a signal.
    """
    done = subprocess.run([sys.executable, "-c", _PROBE], input=content, capture_output=True, check=False)
    if done.returncode < 0:
        return f"It ends LiteRT with signal {-done.returncode}."
    return done.stderr.decode(errors="replace").strip() if done.returncode else ""


class TfliteSource:
    """LiteRT without delegates. Inputs and outputs are real numbers, also where the file's are integers.

    `names` are the inputs' names in the order of the file, as the importer's ports give them.
    """

    def __init__(
        self,
        model: Path | bytes,
        names: list[str],
        *,
        shapes: Mapping[str, tuple[int, ...]] | None = None,
        threads: int = 2,
        kernels: KernelSet = KernelSet.BUILTIN,
    ) -> None:
        content = model.read_bytes() if isinstance(model, Path) else model
        reason = refusal(content)
        if reason:
            raise _refused(reason)
        with captured_stderr() as log:
            try:
                self._interpreter = _interpreter(content, threads, kernels)
                self._fit(names, shapes or {})
                self._interpreter.allocate_tensors()
            except (ValueError, RuntimeError) as error:
                raise _refused(f"{error} {log()}") from None
        self._inputs = dict(zip(names, self._interpreter.get_input_details(), strict=True))

    def _fit(self, names: list[str], shapes: Mapping[str, tuple[int, ...]]) -> None:
        for name, detail in zip(names, self._interpreter.get_input_details(), strict=True):
            if name in shapes and tuple(detail["shape"]) != tuple(shapes[name]):
                self._interpreter.resize_tensor_input(detail["index"], list(shapes[name]))

    def run(self, inputs: Mapping[str, Array]) -> list[Array]:
        """Return every output; states start from zeros, so runs do not depend on their order."""
        self._interpreter.reset_all_variables()
        for name, detail in self._inputs.items():
            self._interpreter.set_tensor(detail["index"], _to_tensor(inputs[name], detail))
        try:
            self._interpreter.invoke()
        except (ValueError, RuntimeError) as error:
            raise _refused(str(error)) from None
        return [
            _to_real(np.array(self._interpreter.get_tensor(detail["index"])), detail)
            for detail in self._interpreter.get_output_details()
        ]


def _interpreter(content: bytes, threads: int, kernels: KernelSet) -> Interpreter:
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    resolver = {
        KernelSet.XNNPACK: OpResolverType.AUTO,
        KernelSet.BUILTIN: OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        KernelSet.REFERENCE: OpResolverType.BUILTIN_REF,
    }[kernels]
    return Interpreter(model_content=content, experimental_op_resolver_type=resolver, num_threads=threads)


def _to_tensor(array: Array, detail: dict[str, object]) -> Array:
    dtype = np.dtype(detail["dtype"])  # pyright: ignore[reportArgumentType, reportCallIssue]
    scale, zero_point = _parameters(detail)
    if not scale:
        return np.ascontiguousarray(array.astype(dtype, copy=False))
    limits = np.iinfo(dtype)
    steps = np.rint(array.astype(np.float32) / np.float32(scale)) + zero_point
    return np.ascontiguousarray(np.clip(steps, limits.min, limits.max).astype(dtype))


def _to_real(array: Array, detail: dict[str, object]) -> Array:
    scale, zero_point = _parameters(detail)
    if not scale:
        return array
    return (array.astype(np.float32) - np.float32(zero_point)) * np.float32(scale)


def _parameters(detail: dict[str, object]) -> tuple[float, int]:
    scale, zero_point = detail["quantization"]  # pyright: ignore[reportGeneralTypeIssues]
    return float(scale), int(zero_point)


def _refused(why: str) -> CompileError:
    return CompileError(
        Diagnostic(
            "E0702",
            "verification",
            "LiteRT cannot run the source model",
            " ".join(why.split())[:400],
            "`edgec doctor MODEL` looks for known faults of older files; or compile with --no-verify.",
        )
    )
