"""One file in LiteRT's reference kernels and in TensorFlow Lite Micro: how far integers are apart.

    file, samples ─┬─▶ LiteRT, reference kernels ─┬─▶ largest difference of each output, in steps
                   └─▶ TFLM (bench_micro_child) ──┘   and, where there is one, the operator it starts at

A step is 1 for integers; real numbers (an output kept in float) are compared by the steps of their float32
neighbours. Both sides run in processes of their own, since either may end with a signal.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scoring import in_child

from edgec.ir import Array
from edgec.kernels.native_log import captured_stderr

Sample = Sequence[Array]
CHILD = Path(__file__).with_name("bench_micro_child.py")
SECONDS = 600
_TOO_NEW = re.compile(r"Didn't find op for builtin opcode '(\w+)' version '(\d+)'")
_VERSION_FIELD = 8  # of the schema's OperatorCode: the third field's place in the table of offsets


@dataclass(frozen=True, slots=True)
class Agreement:
    """What running a file twice showed: `steps` for each output, or why it did not run, and where.

    `share` is the share of output elements that differ at all; `kernels` the LiteRT kernels compared with
    ("builtin" where the reference ones lack an operator); `first` the first operator whose results differ.
    """

    steps: tuple[int, ...] = ()
    share: float = 0.0
    kernels: str = "reference"
    first: str = ""
    micro_error: str = ""
    litert_error: str = ""

    @property
    def ran(self) -> bool:
        """Whether both sides ran."""
        return bool(self.steps)


@dataclass(frozen=True, slots=True)
class Operator:
    """One operator of a file in execution order: its kind and the tensors it writes."""

    kind: str
    outputs: tuple[int, ...]


def agreement(content: bytes, samples: Sequence[Sample]) -> Agreement:
    """Run a file on both sides and compare; samples hold one array per input, in the tensors' own types."""
    kernels = "reference"
    known, wanted = _in_reference_kernels(content, samples)
    if isinstance(wanted, str):
        kernels, wanted = "builtin", in_child(lambda: litert(content, samples, (), reference=False))
    found = micro(content, samples, len(samples[0]), _outputs(content))
    if isinstance(wanted, str) or isinstance(found, str):
        refusals = [item if isinstance(item, str) else "" for item in (found, wanted)]
        return Agreement((), 0.0, kernels, "", *refusals)
    pairs = [list(zip(one, other, strict=True)) for one, other in zip(wanted, found, strict=True)]
    steps = tuple(max(steps_apart(*run[index]) for run in pairs) for index in range(len(pairs[0])))
    differing = sum(int((one != other).sum()) for run in pairs for one, other in run)
    share = differing / max(1, sum(one.size for run in pairs for one, _ in run))
    apart = (n for n, run in enumerate(zip(wanted, found, strict=True)) if any(map(steps_apart, *run)))
    worst = next(apart, None)
    first = "" if worst is None else _first_difference(content, known, [samples[worst]], kernels)
    return Agreement(steps, share, kernels, first)


def _in_reference_kernels(content: bytes, samples: Sequence[Sample]) -> tuple[bytes, list[list[Array]] | str]:
    """Return the outputs of the reference kernels, and the file as they take it.

    They are the same code as the builtin ones' first versions and take int4, but are registered for older
    operator versions: the number is lowered until they do. What remains without a kernel is said in words.
    """
    while True:
        wanted = in_child(lambda: litert(content, samples, ()))  # noqa: B023 (called at once)
        missing = _TOO_NEW.search(wanted) if isinstance(wanted, str) else None
        if missing is None or int(missing[2]) <= 1:
            return content, wanted
        content = with_version(content, missing[1], int(missing[2]), int(missing[2]) - 1)


def with_version(content: bytes, builtin: str, old: int, new: int) -> bytes:
    """Return a file that asks for another version of an operator."""
    from edgec.emit.options import schema
    from edgec.frontends.tflite.load import read_tflite
    from edgec.frontends.tflite.operators import operator_name

    edited = bytearray(content)
    codes = read_tflite(content).table.operatorCodes
    model = schema().Model.GetRootAs(content, 0)
    for index, code in enumerate(codes):
        if operator_name(code) == builtin and code.version == old:
            table = model.OperatorCodes(index)._tab
            place = table.Pos + table.Offset(_VERSION_FIELD)
            edited[place : place + 4] = new.to_bytes(4, "little")
    return bytes(edited)


def steps_apart(one: Array, other: Array) -> int:
    """Return the largest distance of two arrays in steps of their type."""
    if one.shape != other.shape or one.dtype != other.dtype:
        raise ValueError(f"{one.dtype}{one.shape} is not {other.dtype}{other.shape}")
    if not one.size:
        return 0
    if one.dtype.kind == "f":
        largest = np.maximum(np.abs(one), np.abs(other)).astype(np.float32)
        apart = np.abs(one.astype(np.float64) - other.astype(np.float64)) / np.spacing(
            np.maximum(largest, np.float32(1e-30))
        )
        return int(np.ceil(np.nan_to_num(apart, nan=np.inf, posinf=1e9).max()))
    return int(np.abs(one.astype(np.int64) - other.astype(np.int64)).max())


def litert(
    content: bytes, samples: Sequence[Sample], kept: Sequence[int], *, reference: bool = True
) -> list[list[Array]]:
    """Return the outputs (or the tensors `kept`) of every sample in LiteRT's kernels without a delegate."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    kind = OpResolverType.BUILTIN_REF if reference else OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    with captured_stderr() as log:
        try:
            interpreter = Interpreter(
                model_content=content,
                experimental_op_resolver_type=kind,
                experimental_preserve_all_tensors=bool(kept),
            )
            interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise RuntimeError(f"{error} {log()}") from error
    inputs = interpreter.get_input_details()
    wanted = list(kept) or [detail["index"] for detail in interpreter.get_output_details()]
    results: list[list[Array]] = []
    for sample in samples:
        interpreter.reset_all_variables()
        for detail, array in zip(inputs, sample, strict=True):
            interpreter.set_tensor(detail["index"], np.ascontiguousarray(array))
        interpreter.invoke()
        results.append([np.array(interpreter.get_tensor(index)) for index in wanted])
    return results


def micro(
    content: bytes, samples: Sequence[Sample], inputs: int, outputs: int, kept: Sequence[int] = ()
) -> list[list[Array]] | str:
    """Return the same from TFLM; a text where it refuses the file or a signal ends it."""
    with tempfile.TemporaryDirectory(prefix="edgec-micro-") as name:
        folder = Path(name)
        (folder / "model.tflite").write_bytes(content)
        arrays = {f"{n}_{i}": array for n, sample in enumerate(samples) for i, array in enumerate(sample)}
        np.savez(folder / "inputs.npz", **arrays)  # pyright: ignore[reportArgumentType]
        wanted = {"samples": len(samples), "inputs": inputs, "outputs": outputs, "tensors": list(kept)}
        (folder / "wanted.json").write_text(json.dumps(wanted))
        try:
            run = subprocess.run(
                [sys.executable, str(CHILD), name],
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
                timeout=SECONDS,
            )
        except subprocess.TimeoutExpired:
            return f"not done after {SECONDS} s"
        if run.returncode or run.stdout.strip() != "ran":
            return _refusal(run)
        keys = list(kept) or range(outputs)
        with np.load(folder / "results.npz") as found:
            return [[found[f"{n}_{key}"] for key in keys] for n in range(len(samples))]


def _refusal(run: subprocess.CompletedProcess[str]) -> str:
    """Say in one line why TFLM stopped: its own last words, and the signal where one ended it."""
    signal = f"signal {-run.returncode}" if run.returncode < 0 else ""
    said = [line.strip() for line in run.stderr.splitlines() if line.strip()]
    missing = re.search(r"Didn't find op for builtin opcode '(\w+)'", run.stderr)
    words = f"no {missing[1]}" if missing else " ".join(said[-3:])
    return " ".join(part for part in (signal, words or run.stdout.strip()) if part)[:300]


def _outputs(content: bytes) -> int:
    from edgec.frontends.tflite.load import read_tflite

    return len(read_tflite(content).table.subgraphs[0].outputs)


def operators(content: bytes) -> list[Operator]:
    """Return the operators of a file's main graph in execution order."""
    from edgec.frontends.tflite.load import read_tflite
    from edgec.frontends.tflite.operators import operator_name

    table = read_tflite(content).table
    return [
        Operator(operator_name(table.operatorCodes[one.opcodeIndex]), tuple(int(i) for i in one.outputs))
        for one in table.subgraphs[0].operators
    ]


def _first_difference(content: bytes, known: bytes, samples: Sequence[Sample], kernels: str) -> str:
    """Name the first operator whose results differ; both sides keep every tensor for that.

    `known` is the file as LiteRT's reference kernels take it.
    """
    listed = operators(content)
    kept = [tensor for one in listed for tensor in one.outputs]
    reference = kernels == "reference"
    file = known if reference else content
    wanted = in_child(lambda: litert(file, samples, kept, reference=reference))
    found = micro(content, samples, len(samples[0]), _outputs(content), kept)
    if isinstance(wanted, str) or isinstance(found, str):
        return ""
    results = dict(zip(kept, zip(wanted[0], found[0], strict=True), strict=True))
    for number, one in enumerate(listed):
        apart = max(steps_apart(*results[tensor]) for tensor in one.outputs)
        if apart:
            return f"{one.kind} (operator {number} of {len(listed)}) by {apart}"
    return ""
