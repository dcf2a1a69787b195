"""Checks that every index in a flatbuffer leads to something, so that nothing later has to doubt one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

from edgec.diagnostics import Diagnostic

Table = Any  # objects of the generated schema module, which has no type annotations

SCHEMA_VERSION = 3
_SHOWN = 10  # a damaged file breaks everywhere; ten places say enough


def structure_problems(model: Table, name: str, size: int) -> list[Diagnostic]:
    """Return what is wrong with a model's indices (E0102, E0103); `size` is the file's length in bytes."""
    return list(islice(_problems(model, name, size), _SHOWN))


def _problems(model: Table, name: str, size: int) -> Iterator[Diagnostic]:
    if model.version != SCHEMA_VERSION:
        yield _damaged(name, f"is of schema version {model.version}, not {SCHEMA_VERSION}")
        return
    graphs = _entries(model.subgraphs)
    if not graphs:
        yield Diagnostic("E0103", name, "the model has no graph", next_step="Convert it again.")
        return
    for index, buffer in enumerate(_entries(model.buffers)):
        if buffer.offset > 1 and buffer.offset + buffer.size > size:
            yield _damaged(f"buffer {index}", f"lies outside the file of {size} bytes")
    for index, graph in enumerate(graphs):
        where = name if len(graphs) == 1 else f"{name}, subgraph {index}"
        yield from _graph_problems(model, graph, where)
    yield from _signature_problems(model, name)


def _graph_problems(model: Table, graph: Table, where: str) -> Iterator[Diagnostic]:
    tensors, codes = _entries(graph.tensors), _entries(model.operatorCodes)
    buffers = len(_entries(model.buffers))
    for index, tensor in enumerate(tensors):
        if not 0 <= tensor.buffer < max(buffers, 1):
            yield _damaged(f"{where}, tensor {index}", f"names buffer {tensor.buffer} of {buffers}")
        if any(dim < 0 for dim in numbers(tensor.shape)):
            yield _damaged(f"{where}, tensor {index}", f"has shape {numbers(tensor.shape)}")
    yield from _outside(f"{where}, inputs", graph.inputs, len(tensors))
    yield from _outside(f"{where}, outputs", graph.outputs, len(tensors))
    for index, operator in enumerate(_entries(graph.operators)):
        at = f"{where}, operator {index}"
        if not 0 <= operator.opcodeIndex < len(codes):
            yield _damaged(at, f"names operator code {operator.opcodeIndex} of {len(codes)}")
        yield from _outside(f"{at}, inputs", operator.inputs, len(tensors), absent=-1)
        yield from _outside(f"{at}, outputs", operator.outputs, len(tensors))


def _signature_problems(model: Table, name: str) -> Iterator[Diagnostic]:
    graphs = _entries(model.subgraphs)
    for signature in _entries(model.signatureDefs):
        where = f"{name}, signature '{text(signature.signatureKey)}'"
        if not 0 <= signature.subgraphIndex < len(graphs):
            yield _damaged(where, f"names subgraph {signature.subgraphIndex} of {len(graphs)}")
            continue
        count = len(_entries(graphs[signature.subgraphIndex].tensors))
        maps = [*_entries(signature.inputs), *_entries(signature.outputs)]
        yield from _outside(where, [entry.tensorIndex for entry in maps], count)


def _outside(where: str, indices: Iterable[int] | None, count: int, absent: int = 0) -> Iterator[Diagnostic]:
    wrong = [index for index in numbers(indices) if not absent <= index < count]
    if wrong:
        yield _damaged(where, f"names tensor {wrong[0]} of {count}")


def numbers(vector: Iterable[int] | int | None) -> list[int]:
    """Return a vector of a table as ints; absent and empty are the same."""
    if vector is None or isinstance(vector, int):  # the generated code reads an empty vector as 0
        return []
    return [int(item) for item in vector]


def text(value: bytes | str | None) -> str:
    """Return a string of a table."""
    return value.decode(errors="replace") if isinstance(value, bytes) else value or ""


def _entries(vector: Sequence[Table] | None) -> Sequence[Table]:
    return vector if vector is not None else ()


def _damaged(where: str, what: str) -> Diagnostic:
    return Diagnostic("E0102", where, what, "The flatbuffer is damaged.", "Copy or convert the file again.")
