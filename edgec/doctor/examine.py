"""`edgec doctor`: examine a file, and write a mended one.

Mending changes tables, layout and the width of integers, never a number: weights, scales and options go
through as they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgec.atomic_write import write_bytes
from edgec.diagnostics import CompileError
from edgec.doctor import buffers, operators, states, tensors
from edgec.doctor.finding import Fault, Finding
from edgec.emit import Flatbuffer
from edgec.emit.flatbuffer import _with_inline_data  # pyright: ignore[reportPrivateUsage]
from edgec.emit.options import schema
from edgec.frontends.tflite.load import TfliteFile, read_tflite
from edgec.frontends.tflite.structure import structure_problems
from edgec.ir import Array

FAULTS: tuple[Fault, ...] = (*tensors.FAULTS, *buffers.FAULTS, *operators.FAULTS, *states.FAULTS)


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What is wrong with a file, and what LiteRT says of it (`refusal` is empty where it loads and runs)."""

    file: str
    findings: tuple[Finding, ...]
    refusal: str = ""

    @property
    def is_healthy(self) -> bool:
        """Whether nothing is wrong that is known here, and LiteRT runs the file."""
        return not self.findings and not self.refusal


def examine(path: Path) -> Diagnosis:
    """Look for every known fault; CompileError (E01xx) where the file is no whole flatbuffer."""
    from edgec.verify.tflite_source import refusal

    file = _read(path)
    findings = tuple(finding for fault in FAULTS for finding in fault.find(file))
    return Diagnosis(file.name, findings, refusal(file.raw))


def mend(path: Path, out: Path) -> Diagnosis:
    """Write a mended copy to `out` (whole or not at all) and return what is still wrong with it.

    CompileError where the file cannot be read, or `out` cannot be written.
    """
    file = _read(path)
    for fault in FAULTS:
        if fault.mend is not None:
            fault.mend(file)
    write_bytes(out, laid_out(file).chunks())
    return examine(out)


def _read(path: Path) -> TfliteFile:
    file = read_tflite(path)
    problems = structure_problems(file.table, file.name, len(file.raw))
    if problems:
        raise CompileError(problems)
    return file


@dataclass
class _Layout:
    """What the emitter needs to lay out a file: tables, and the data of every buffer but the empty first."""

    table: Any
    data: list[Array]


def laid_out(file: TfliteFile) -> Flatbuffer:
    """Return the file in the emitter's layout: buffer 0 empty, every other one inside and aligned."""
    data: list[Array] = []
    moved = {0: 0}
    for index in range(1, len(file.table.buffers or [])):
        array = buffers.buffer_data(file, index)
        moved[index] = 0
        if array is not None:
            data.append(array)
            moved[index] = len(data)
    for entry, name in _references(file):
        setattr(entry, name, moved.get(int(getattr(entry, name)), 0))
    _inline_custom_options(file)
    file.table.metadataBuffer = None  # unused since metadata has names
    file.table.buffers = [schema().BufferT() for _ in range(len(data) + 1)]
    return _with_inline_data(_Layout(file.table, data))  # pyright: ignore[reportArgumentType]


def _inline_custom_options(file: TfliteFile) -> None:
    """Options of custom operators that lie behind the flatbuffer would be lost: offsets change."""
    for graph in file.table.subgraphs:
        for operator in graph.operators or []:
            start, size = int(operator.largeCustomOptionsOffset), int(operator.largeCustomOptionsSize)
            if start > 1:
                operator.customOptions = np.frombuffer(file.raw, np.uint8, size, start)
                operator.largeCustomOptionsOffset = operator.largeCustomOptionsSize = 0


def _references(file: TfliteFile) -> Iterator[tuple[Any, str]]:
    for graph in file.table.subgraphs:
        yield from ((tensor, "buffer") for tensor in graph.tensors or [])
    yield from ((entry, "buffer") for entry in file.table.metadata or [])
