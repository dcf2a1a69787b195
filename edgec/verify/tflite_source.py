"""A TFLite file as LiteRT computes it: the oracle for files that others made."""

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
        experimental_op_resolver_type=OpResolverType[sys.argv[1]],
    )
    interpreter.allocate_tensors()
    for detail in interpreter.get_input_details():
        interpreter.set_tensor(detail["index"], np.zeros(detail["shape"], detail["dtype"]))
    interpreter.invoke()
except (ValueError, RuntimeError) as error:
    sys.exit(" ".join(str(error).split()))
"""


_RESOLVERS = {
    KernelSet.XNNPACK: "AUTO",
    KernelSet.BUILTIN: "BUILTIN_WITHOUT_DEFAULT_DELEGATES",
    KernelSet.REFERENCE: "BUILTIN_REF",
}


def refusal(content: bytes, kernels: KernelSet = KernelSet.BUILTIN) -> str:
    """Return why LiteRT cannot load and run a file, or nothing.

    A process of its own finds out: LiteRT trusts files, and some end it with a signal.
    """
    command = [sys.executable, "-c", _PROBE, _RESOLVERS[kernels]]
    done = subprocess.run(command, input=content, capture_output=True, check=False)
    if done.returncode < 0:
        return f"It ends LiteRT with signal {-done.returncode}."
    return done.stderr.decode(errors="replace").strip() if done.returncode else ""


class TfliteSource:
    """LiteRT with chosen kernels. Inputs and outputs are real numbers, also where the file's are integers.

    `names` are the inputs' names in the order of the file, as the importer's ports give them. Where the
    kernels do not take the file, the others are tried: XNNPACK refuses parameters that the builtins take.
    Custom operators that are builtins under another name are written as those.
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
        content = _with_builtins(model.read_bytes() if isinstance(model, Path) else model)
        kernels = _kernels_that_run(content, kernels)
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


def _with_builtins(content: bytes) -> bytes:
    """Return the file with builtins for its custom operators: few kernels have those."""
    from edgec.doctor.examine import laid_out
    from edgec.frontends.tflite.builtins import write_as_builtins
    from edgec.frontends.tflite.load import read_tflite

    file = read_tflite(content)
    return laid_out(file).to_bytes() if write_as_builtins(file.table) else content


def _kernels_that_run(content: bytes, wanted: KernelSet) -> KernelSet:
    """Return the wanted kernels, else others that take the file; E0702 with the reason where none do."""
    reasons: list[str] = []
    for kernels in dict.fromkeys((wanted, KernelSet.BUILTIN, KernelSet.XNNPACK)):
        reason = refusal(content, kernels)
        if not reason:
            return kernels
        reasons.append(reason)
    raise _refused(reasons[0])


def _interpreter(content: bytes, threads: int, kernels: KernelSet) -> Interpreter:
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    resolver = OpResolverType[_RESOLVERS[kernels]]
    return Interpreter(model_content=content, experimental_op_resolver_type=resolver, num_threads=threads)


def _to_tensor(array: Array, detail: dict[str, object]) -> Array:
    dtype = np.dtype(detail["dtype"])  # pyright: ignore[reportArgumentType, reportCallIssue]
    scale, zero_point = _parameters(detail)
    if not scale:
        return np.asarray(array.astype(dtype, copy=False), order="C")  # a scalar stays one
    limits = np.iinfo(dtype)
    steps = np.rint(array.astype(np.float32) / np.float32(scale)) + zero_point
    return np.asarray(np.clip(steps, limits.min, limits.max).astype(dtype), order="C")


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
