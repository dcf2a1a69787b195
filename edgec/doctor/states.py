"""Faults of SVDF: its state in int8, a form that one runtime alone can run.

    TFLite Micro   state int8  with a zero point, time weights int8
    both           state int16 without,           time weights int16: the same real numbers, more room

LiteRT takes every integer state for int16 and writes behind its memory. In the wider form the integers of
the weights and all scales stay; only what saturated in 8 bits now does not.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from edgec.doctor.buffers import buffer_data
from edgec.doctor.finding import Fault, Finding, Table
from edgec.emit.options import schema
from edgec.frontends.tflite.load import TfliteFile
from edgec.frontends.tflite.operators import builtin_name
from edgec.frontends.tflite.structure import numbers
from edgec.frontends.tflite.tensors import element_type

_TIME_WEIGHTS = 2
_STATE = 4


def _narrow(file: TfliteFile) -> Iterator[tuple[str, Table, Table, Table]]:
    """Yield where each SVDF with an int8 state stands, its graph, its time weights and its state."""
    for number, graph in enumerate(file.table.subgraphs):
        for position, operator in enumerate(graph.operators or []):
            operands = numbers(operator.inputs)
            builtin = builtin_name(file.table.operatorCodes[operator.opcodeIndex])
            if (
                builtin != "SVDF"
                or len(operands) <= _STATE
                or min(operands[_TIME_WEIGHTS], operands[_STATE]) < 0
            ):
                continue
            weights, state = (graph.tensors[operands[index]] for index in (_TIME_WEIGHTS, _STATE))
            if element_type(state.type) == "INT8":
                yield f"graph {number}, operator {position} (SVDF)", graph, weights, state


def _find(file: TfliteFile) -> Iterator[Finding]:
    for where, _, weights, _ in _narrow(file):
        mendable = element_type(weights.type) == "INT8" and buffer_data(file, weights.buffer) is not None
        yield Finding(
            "svdf_state",
            where,
            "its state is int8",
            "TFLite Micro runs this form; LiteRT takes the state for int16 and ends with a crash.",
            "State and time weights become int16 with the same values." if mendable else "",
        )


def _mend(file: TfliteFile) -> None:
    widened: dict[int, int] = {}
    for _, _, weights, state in list(_narrow(file)):
        data = buffer_data(file, weights.buffer)
        if element_type(weights.type) == "INT8" and data is not None:
            weights.buffer = _widened(file, int(weights.buffer), widened)
            weights.type = schema().TensorType.INT16
        if element_type(weights.type) == "INT16":
            state.type = schema().TensorType.INT16
            state.quantization.zeroPoint = np.zeros(1, np.int64)


def _widened(file: TfliteFile, index: int, known: dict[int, int]) -> int:
    """Return the buffer that holds another one's int8 data as int16; the old one may have other readers."""
    if index not in known:
        data = buffer_data(file, index)
        assert data is not None, "the caller looked"
        table: Table = schema().BufferT()
        table.data = data.view(np.int8).astype(np.int16).view(np.uint8)
        known[index] = len(file.table.buffers)
        file.table.buffers.append(table)
    return known[index]


FAULTS = (Fault("svdf_state", _find, _mend),)
