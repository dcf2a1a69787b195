"""Faults of tensors: quantization axes that do not exist, missing ranks, tensors that nothing reads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from edgec.doctor.finding import Fault, Finding, Table
from edgec.frontends.tflite.load import TfliteFile
from edgec.frontends.tflite.structure import numbers, text


def _graphs(file: TfliteFile) -> Iterator[Table]:
    yield from file.table.subgraphs


def _name(tensor: Table, index: int) -> str:
    return f"tensor '{text(tensor.name) or index}'"


def _quantized(file: TfliteFile) -> Iterator[tuple[int, Table]]:
    """Yield every tensor whose quantized_dimension is out of its rank, or names an axis for one scale."""
    for graph in _graphs(file):
        for index, tensor in enumerate(graph.tensors or []):
            table = tensor.quantization
            if table is None or table.scale is None or isinstance(table.scale, int):
                continue
            rank, axis = len(numbers(tensor.shape)), int(table.quantizedDimension)
            if axis and (axis >= rank or len(table.scale) == 1):
                yield index, tensor


def _find_axis(file: TfliteFile) -> Iterator[Finding]:
    for index, tensor in _quantized(file):
        shape, scales = numbers(tensor.shape), len(tensor.quantization.scale)
        axis = int(tensor.quantization.quantizedDimension)
        mendable = scales == 1 or shape == [scales]
        yield Finding(
            "quantized_dimension",
            _name(tensor, index),
            f"its scales belong to axis {axis} of {shape}",
            "LiteRT refuses the file; TFLite Micro never looks.",
            "The axis becomes 0, which is where its scales are." if mendable else "",
        )


def _mend_axis(file: TfliteFile) -> None:
    for _, tensor in _quantized(file):
        scales = len(tensor.quantization.scale)
        if scales == 1 or numbers(tensor.shape) == [scales]:
            tensor.quantization.quantizedDimension = 0


def _find_rank(file: TfliteFile) -> Iterator[Finding]:
    for graph in _graphs(file):
        for index, tensor in enumerate(graph.tensors or []):
            if not numbers(tensor.shape) and not tensor.hasRank:
                yield Finding(
                    "has_rank",
                    _name(tensor, index),
                    "it is a scalar but does not say so",
                    "Without has_rank an empty shape means that the rank is unknown.",
                    "has_rank is set.",
                )


def _mend_rank(file: TfliteFile) -> None:
    for graph in _graphs(file):
        for tensor in graph.tensors or []:
            tensor.hasRank = True


def _used(file: TfliteFile, number: int) -> set[int]:
    """Return the tensors of a graph that an operator, the graph's contract or a signature names."""
    graph = file.table.subgraphs[number]
    used = {*numbers(graph.inputs), *numbers(graph.outputs)}
    for operator in graph.operators or []:
        for vector in (operator.inputs, operator.outputs, operator.intermediates):
            used.update(numbers(vector))
    for signature in file.table.signatureDefs or []:
        if signature.subgraphIndex == number:
            used.update(
                entry.tensorIndex for entry in (*(signature.inputs or ()), *(signature.outputs or ()))
            )
    for tensor in graph.tensors or []:
        details = tensor.quantization.details if tensor.quantization is not None else None
        used.update(int(value) for name, value in vars(details or _NOTHING).items() if name in _SCALE_TENSORS)
    return used - {-1}


class _Nothing:
    """Details of a tensor without any."""


_NOTHING = _Nothing()
_SCALE_TENSORS = ("scales", "zeroPoints")  # blockwise quantization keeps its numbers in other tensors


def _find_orphans(file: TfliteFile) -> Iterator[Finding]:
    for number, graph in enumerate(_graphs(file)):
        used = _used(file, number)
        orphans = [index for index in range(len(graph.tensors or [])) if index not in used]
        if orphans:
            named = ", ".join(text(graph.tensors[index].name) or str(index) for index in orphans[:3])
            yield Finding(
                "orphan_tensors",
                f"graph {number}",
                f"{len(orphans)} tensors are read by nothing ({named}{', ...' if len(orphans) > 3 else ''})",
                "TFLite Micro gives memory to every tensor of the file, needed or not.",
                "" if _has_plan(file) else "They are removed.",
            )


def _has_plan(file: TfliteFile) -> bool:
    """Whether the file carries a memory plan: that lists every tensor by its number."""
    return any(text(entry.name) == "OfflineMemoryAllocation" for entry in file.table.metadata or [])


def _mend_orphans(file: TfliteFile) -> None:
    if _has_plan(file):
        return
    for number, graph in enumerate(_graphs(file)):
        used = _used(file, number)
        kept = [index for index in range(len(graph.tensors or [])) if index in used]
        if len(kept) == len(graph.tensors or []):
            continue
        _renumber(file, number, {-1: -1, **{old: new for new, old in enumerate(kept)}})
        graph.tensors = [graph.tensors[index] for index in kept]


def _renumber(file: TfliteFile, number: int, moved: dict[int, int]) -> None:
    def vector(old: Any) -> Any:
        return None if old is None else np.array([moved[index] for index in numbers(old)], np.int32)

    graph = file.table.subgraphs[number]
    graph.inputs, graph.outputs = vector(graph.inputs), vector(graph.outputs)
    for operator in graph.operators or []:
        operator.inputs, operator.outputs = vector(operator.inputs), vector(operator.outputs)
        operator.intermediates = vector(operator.intermediates)
    for signature in file.table.signatureDefs or []:
        if signature.subgraphIndex == number:
            for entry in (*(signature.inputs or ()), *(signature.outputs or ())):
                entry.tensorIndex = moved[entry.tensorIndex]
    for tensor in graph.tensors or []:
        details = tensor.quantization.details if tensor.quantization is not None else None
        for name in _SCALE_TENSORS:
            if details is not None and hasattr(details, name):
                setattr(details, name, moved.get(int(getattr(details, name)), -1))


FAULTS = (
    Fault("quantized_dimension", _find_axis, _mend_axis),
    Fault("has_rank", _find_rank, _mend_rank),
    Fault("orphan_tensors", _find_orphans, _mend_orphans),
)
