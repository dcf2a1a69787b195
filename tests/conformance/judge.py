"""Compiles one case, runs the file in LiteRT and compares it with the suite's expected outputs."""

from __future__ import annotations

import re
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

import edgec
from edgec.diagnostics import CompileError
from edgec.kernels import KernelSet
from tests.conformance.cases import Array, Case

if TYPE_CHECKING:
    from ai_edge_litert.interpreter import Interpreter

Outcome = Literal["pass", "refused", "wrong", "crash"]

NARROWED = {"float16": "float32", "float64": "float32"}
"""Element types that a compiled model takes and gives as another one; the compile says so (W0101)."""

BEYOND_FLOAT32 = (
    "the data are float64 numbers beyond float32. Kernels compute in float32, as every compile says"
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one case; `reason` says why it did not pass, `seconds` the time it took."""

    name: str
    operator: str
    outcome: Outcome
    reason: str = ""
    code: str = ""
    seconds: float = 0.0
    frozen: bool = False


class _DifferenceError(Exception):
    """The compiled model does not do what the suite expects."""


def judge(case: Case) -> Verdict:
    """Return what becomes of a case; only a crash of native code gets past this."""
    if any(beyond_float32(array) for arrays in case.data_sets for side in arrays for array in side):
        return _verdict(case, "refused", BEYOND_FLOAT32, "W0101")
    try:
        for inputs, expected in case.data_sets:
            tflite = _compile(case, inputs)
            for kernels in (KernelSet.XNNPACK, KernelSet.BUILTIN):
                _check(case, tflite, kernels, inputs, expected)
    except CompileError as error:
        first = error.diagnostics[0]
        return _verdict(case, "refused", refusal_text(first.what, first.why), first.code)
    except _DifferenceError as difference:
        return _verdict(case, "wrong", str(difference))
    except Exception as error:  # whatever else comes out of the compiler is the crash we look for
        return _verdict(case, "crash", _crash_text(error))
    return _verdict(case, "pass")


def beyond_float32(array: Array) -> bool:
    """Whether a float64 array holds finite numbers that float32 does not have: nothing can feed them."""
    if array.dtype != np.float64:
        return False
    return bool(np.any(np.isfinite(array) & (np.abs(array) > np.finfo(np.float32).max)))


def refusal_text(what: str, why: str) -> str:
    """Return a refusal without the names in it, so that equal reasons group."""
    return re.sub(r"\s*\(?'[^']*'\)?", "", ". ".join(part.rstrip(".") for part in (what, why) if part))


def _verdict(case: Case, outcome: Outcome, reason: str = "", code: str = "") -> Verdict:
    return Verdict(case.name, case.operator, outcome, reason, code, frozen=case.frozen)


def _compile(case: Case, inputs: Sequence[Array]) -> bytes:
    shapes = {info.name: array.shape for info, array in zip(case.inputs, inputs, strict=True)}
    compiled = edgec.compile(
        case.model, target="generic", io_layout="source", verify=False, input_shapes=shapes
    )
    return compiled.tflite


def _check(
    case: Case, tflite: bytes, kernels: KernelSet, inputs: Sequence[Array], expected: Sequence[Array]
) -> None:
    interpreter = _interpreter(tflite, kernels)
    _check_names(case, interpreter)
    results = _run(interpreter, inputs)
    if len(results) != len(expected):
        raise _DifferenceError(f"{kernels}: {len(results)} outputs, expected {len(expected)}")
    for info, ours, wanted in zip(case.model.graph.output, results, expected, strict=True):
        problem = difference(ours, wanted, case.rtol, case.atol)
        if problem:
            raise _DifferenceError(f"{kernels}: output '{info.name}': {problem}")


def _interpreter(tflite: bytes, kernels: KernelSet) -> Interpreter:
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    resolver = {
        KernelSet.XNNPACK: OpResolverType.AUTO,
        KernelSet.BUILTIN: OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    }[kernels]
    return Interpreter(model_content=tflite, experimental_op_resolver_type=resolver, num_threads=1)


def _check_names(case: Case, interpreter: Interpreter) -> None:
    """Inputs and outputs keep their names: callers use the signature."""
    signature = next(iter(interpreter.get_signature_list().values()))
    for role, infos in (("inputs", case.inputs), ("outputs", case.model.graph.output)):
        ours, wanted = sorted(signature[role]), sorted(info.name for info in infos)
        if ours != wanted:
            raise _DifferenceError(f"the signature's {role} are {ours}, expected {wanted}")


def _run(interpreter: Interpreter, inputs: Sequence[Array]) -> list[Array]:
    details = interpreter.get_input_details()
    interpreter.allocate_tensors()
    for detail, array in zip(details, inputs, strict=True):
        fed = _fed(detail["name"], array, np.dtype(detail["dtype"]))
        if array.size:  # the binding refuses to copy nothing
            interpreter.set_tensor(detail["index"], fed)
    interpreter.invoke()
    return [_result(interpreter, detail) for detail in interpreter.get_output_details()]


def _result(interpreter: Interpreter, detail: Mapping[str, Any]) -> Array:
    """Return an output's array; the binding cannot read tensors of no elements, which are all shape."""
    shape = tuple(detail["shape"])
    return interpreter.get_tensor(detail["index"]) if 0 not in shape else np.empty(shape, detail["dtype"])


def _fed(name: str, array: Array, dtype: np.dtype) -> Array:
    if not same_type(dtype, array.dtype):
        raise _DifferenceError(f"input '{name}' is {dtype}, expected {array.dtype}")
    return np.ascontiguousarray(array, dtype).reshape(array.shape)


def same_type(ours: np.dtype, wanted: np.dtype) -> bool:
    """Say whether a tensor has the model's element type, or the one documented in its place."""
    return ours in (wanted, np.dtype(NARROWED.get(wanted.name, wanted)))


def difference(ours: Array, wanted: Array, rtol: float, atol: float) -> str:
    """Return how a result differs from the expected one, "" where it does not: integers exactly."""
    if not same_type(ours.dtype, wanted.dtype):
        return f"is {ours.dtype}, expected {wanted.dtype}"
    if ours.shape != wanted.shape:
        return f"has shape {list(ours.shape)}, expected {list(wanted.shape)}"
    with np.errstate(all="ignore"):  # a float32 result may overflow float16
        ours = ours.astype(wanted.dtype)
        if wanted.dtype.kind == "f":
            good = np.isclose(ours, wanted, rtol=rtol, atol=atol, equal_nan=True)
        else:
            good = ours == wanted
    if np.all(good):
        return ""
    first = tuple(int(i) for i in np.argwhere(~np.asarray(good))[0])
    count = int(np.size(good) - np.count_nonzero(good))
    return (
        f"{count} of {np.size(good)} values differ; at {list(first)}: {ours[first]}, expected {wanted[first]}"
    )


def _crash_text(error: Exception) -> str:
    """Say what was raised, and where in the compiler (or elsewhere, if it never got there)."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "edgec" in Path(frame.filename).parts] or frames
    place = f"{Path(ours[-1].filename).name}:{ours[-1].lineno}"
    return f"{type(error).__name__} in {place}: {' '.join(str(error).split())[:300]}"
