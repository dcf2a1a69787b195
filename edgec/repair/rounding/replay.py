"""Runs one path, float or quantized, layer after layer, and shows what each layer reads.

    x ──▶ ...chosen layers... ──▶ [live values] ──▶ ... ──▶ what the next layer reads
                                   kept for every sample

What is alive before a layer is kept for every sample where it fits the budget, so that all layers together
cost about one run of the network. Where it does not fit, the next layer starts from the last that did.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from edgec.emit import emit
from edgec.ir import Array, Graph, Model, Node, Port, Value
from edgec.kernels import Runner
from edgec.quantize.parameters import Form


def extract(model: Model, given: Sequence[Value], wanted: Sequence[Value]) -> Model:
    """Return a model of the nodes that lead from `given` to `wanted`; arrays of constants are shared."""
    needed = _needed(set(given), wanted)
    graph = Graph(model.graph.name)
    copies = {value: graph.add_input(value.name, value.type) for value in given}

    def copy_of(value: Value) -> Value:
        if value not in copies:
            copies[value] = Value(graph.unique_name(value.name), value.type, value.data)
        return copies[value]

    for node in model.graph:
        if node in needed:
            operands = [value and copy_of(value) for value in node.operands]
            results = [Value(graph.unique_name(old.name), old.type) for old in node.results]
            graph.insert(Node(node.kind, operands, results, node.attributes, node.source))
            for old, new in zip(node.results, results, strict=True):
                copies.setdefault(old, new)
    graph.set_outputs(copy_of(value) for value in wanted)
    return Model(graph, _ports(graph.inputs), _ports(graph.outputs), model.subgraphs)


def _needed(given: set[Value], wanted: Sequence[Value]) -> set[Node]:
    found: set[Node] = set()
    pending = [value for value in wanted if value not in given]
    while pending:
        producer = pending.pop().producer
        if producer is None or producer in found:
            continue
        found.add(producer)
        pending += [value for value in producer.operands if value is not None and value not in given]
    return found


def _ports(values: Iterable[Value]) -> list[Port]:
    return [Port(value.name, value.shape, value.dtype) for value in values]


def live_before(graph: Graph, node: Node) -> list[Value]:
    """Return the values that exist when `node` is about to run and that it or a later node reads.

    What constants alone decide is no state: such weights may be others the next time.
    """
    varying = dict.fromkeys(graph.inputs)
    later = {node, *graph.nodes_after(node)}
    for earlier in graph:
        if earlier in later:
            break
        if any(value in varying for value in earlier.operands):
            varying.update(dict.fromkeys(earlier.results))
    return [value for value in varying if value.is_graph_output or any(user in later for user in value.users)]


class Replay:
    """One path through the network. Graphs given later may differ in what comes after the last layer only."""

    def __init__(self, feeds: Sequence[Sequence[Array]], budget: int, threads: int) -> None:
        self._feeds, self._budget, self._threads = feeds, budget, threads
        self._names: tuple[str, ...] = ()
        self._kept: list[tuple[Array, ...]] = []

    def inputs_of(self, model: Model, node: Node, data: Value) -> Iterator[Array]:
        """Yield what `node` reads as `data`, for every sample in order, as stored."""
        given, start = self._start(model)
        live = live_before(model.graph, node)
        wanted = list(dict.fromkeys((data, *live)))
        made = [value for value in wanted if value not in given]
        used = list(extract_inputs(given, made))
        runner = Runner(emit(extract(model, used, made)).to_bytes(), threads=self._threads) if made else None
        kept: list[tuple[Array, ...]] | None = []
        for arrays in start:
            known = dict(zip(given, arrays, strict=True))
            if runner is not None:
                known.update(zip(made, runner.run([known[value] for value in used]), strict=True))
            if kept is not None:
                kept.append(tuple(known[value] for value in live))
                if sum(array.nbytes for array in kept[0]) * len(self._feeds) > self._budget:
                    kept = None
            yield known[data]
        if kept is not None:
            self._names, self._kept = tuple(value.name for value in live), kept

    def _start(self, model: Model) -> tuple[list[Value], Sequence[Sequence[Array]]]:
        """Return where this run starts: at the values kept last, else at the inputs."""
        if self._kept:
            graph = model.graph
            named = {v.name: v for v in (*graph.inputs, *(r for node in graph for r in node.results))}
            return [named[name] for name in self._names], self._kept
        inputs = model.graph.inputs
        stored = [[as_stored(v, a) for v, a in zip(inputs, feed, strict=True)] for feed in self._feeds]
        return list(inputs), stored


def extract_inputs(given: Sequence[Value], wanted: Sequence[Value]) -> Iterator[Value]:
    """Yield those of `given` that computing `wanted` reads."""
    known = set(given)
    nodes = _needed(known, wanted)
    read = {value for node in nodes for value in node.operands if value is not None and value in known}
    return (value for value in given if value in read)


def as_stored(value: Value, real: Array) -> Array:
    """Return real numbers as the integers of a quantized value; other values as they are."""
    form = value.type.quantization
    return real if form is None else Form(value.dtype, form).encode(real)


def as_real(value: Value, stored: Array) -> npt.NDArray[np.float32]:
    """Return what a stored array, or part of one, means."""
    form = value.type.quantization
    if form is None:
        return stored.astype(np.float32, copy=False)
    (scale,), (zero_point,) = form.scale, form.zero_point
    return (stored.astype(np.float32) - np.float32(zero_point)) * np.float32(scale)
