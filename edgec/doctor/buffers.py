"""Faults of buffers: data where readers do not look for it, or where their loads are slow or forbidden.

Writing the file again puts every buffer inside the flatbuffer, 16-byte aligned: mending is mostly that.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Any

import numpy as np

from edgec.doctor.finding import Fault, Finding, Table
from edgec.emit.flatbuffer import ALIGNMENT, INLINE_LIMIT
from edgec.emit.options import schema
from edgec.frontends.tflite.load import TfliteFile
from edgec.frontends.tflite.structure import numbers
from edgec.ir import Array


def buffer_data(file: TfliteFile, index: int) -> Array | None:
    """Return the bytes of a buffer, wherever the file keeps them; None for an empty one."""
    buffer = file.table.buffers[index]
    if buffer.offset > 1:
        return np.frombuffer(file.raw, np.uint8, buffer.size, buffer.offset)
    if buffer.data is None or isinstance(buffer.data, int) or not len(buffer.data):
        return None
    return np.asarray(buffer.data, np.uint8)


def _external(file: TfliteFile) -> list[int]:
    return [index for index, buffer in enumerate(file.table.buffers or []) if buffer.offset > 1]


def _find_external(file: TfliteFile) -> Iterator[Finding]:
    found = _external(file)
    if not found:
        return
    size = sum(int(file.table.buffers[index].size) for index in found)
    yield Finding(
        "external_buffers",
        f"{len(found)} buffers",
        f"{size} bytes of data lie behind the flatbuffer",
        "TFLite Micro does not look there: it takes such weights for activations and computes nonsense.",
        "The data moves into the flatbuffer." if size < INLINE_LIMIT else "",
    )


def _find_unaligned(file: TfliteFile) -> Iterator[Finding]:
    model = schema().Model.GetRootAs(file.raw, 0)
    unaligned = 0
    for index in range(model.BuffersLength()):
        table = model.Buffers(index)._tab
        offset = table.Offset(4)  # the field `data`
        if offset and table.VectorLen(offset) and table.Vector(offset) % ALIGNMENT:
            unaligned += 1
    if unaligned:
        yield Finding(
            "unaligned_buffers",
            f"{unaligned} buffers",
            f"their data does not start at a multiple of {ALIGNMENT} bytes",
            "The schema demands it; some MCUs and NPUs fault on it or copy the weights to RAM.",
            "They are aligned.",
        )


def _find_first(file: TfliteFile) -> Iterator[Finding]:
    buffers = file.table.buffers or []
    if buffers and buffer_data(file, 0) is not None:
        yield Finding(
            "first_buffer",
            "buffer 0",
            "it is not empty",
            "By convention tensors without data name buffer 0: runtimes take its bytes for theirs.",
            "Constants that are in it move to a buffer of their own; buffer 0 becomes empty.",
        )


def _mend_first(file: TfliteFile) -> None:
    """Give the tensors whose data buffer 0 really holds a buffer of their own."""
    buffers = file.table.buffers or []
    data = buffer_data(file, 0) if buffers else None
    if data is None:
        return
    moved: Table = schema().BufferT()
    moved.data = data
    new = len(buffers)
    buffers.append(moved)
    for graph in file.table.subgraphs:
        computed = {*numbers(graph.inputs)}
        for operator in graph.operators or []:
            computed.update(numbers(operator.outputs))
        for index, tensor in enumerate(graph.tensors or []):
            fits = len(data) == prod(numbers(tensor.shape)) * _width(tensor.type)
            if tensor.buffer == 0 and index not in computed and not tensor.isVariable and fits:
                tensor.buffer = new
    buffers[0] = schema().BufferT()


def _width(element_type: int) -> int:
    types: dict[str, Any] = vars(schema().TensorType)
    name = next((name for name, number in types.items() if number == element_type), "")
    return {"BOOL": 1}.get(name, 0) or _bytes_of(name.lower())


def _bytes_of(name: str) -> int:
    try:
        return np.dtype(name).itemsize
    except TypeError:
        return 0


FAULTS = (
    Fault("external_buffers", _find_external),
    Fault("unaligned_buffers", _find_unaligned),
    Fault("first_buffer", _find_first, _mend_first),
)
