"""Gives every graph output a tensor of its own, under its own name: kernels and users need it.

return x, y, y  (x a graph input or constant)  →  return reshape(x), y, reshape(y)

In an inner graph an output may be a constant, or the input of the same number: a loop hands that back as it
is. Kernels fill one output for each tensor only, and copy states one after the other, so all else is copied.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgec.ir import Graph, Model, Value
from edgec.ops import Builder
from edgec.ops.movement import ReshapeAttributes
from edgec.passes.contract import PassResult


@dataclass(frozen=True)
class SeparateOutputs:
    """Copies outputs that are inputs, constants or returned twice by a reshape to the same shape."""

    name: str = "separate_outputs"

    def run(self, model: Model) -> PassResult:
        """Edit all graphs."""
        changed = [_separate(model.graph, [port.name for port in model.outputs], inner=False)]
        for graph in model.subgraphs:
            changed.append(_separate(graph, [value.name for value in graph.outputs], inner=True))
        return PassResult(model, _give_names(model) or any(changed))


def _separate(graph: Graph, names: Sequence[str], *, inner: bool) -> bool:
    seen: set[Value] = set()
    outputs: list[Value] = []
    modified = False
    for index, (value, name) in enumerate(zip(graph.outputs, names, strict=True)):
        stays = value.producer is not None or (
            inner and (value.is_constant or _is_input(graph, index, value))
        )
        if value in seen or not stays:
            value = _copied(Builder(graph, source=name), value, name)
            modified = True
        seen.add(value)
        outputs.append(value)
    graph.set_outputs(outputs)
    return modified


def _is_input(graph: Graph, index: int, value: Value) -> bool:
    return index < len(graph.inputs) and graph.inputs[index] is value


def _copied(build: Builder, value: Value, name: str) -> Value:
    if value.type.is_static:
        shape = build.constant(list(value.shape))
        return build.op("reshape", [value, shape], ReshapeAttributes(value.shape), name)
    rank = value.type.rank
    everything = [build.constant([0] * rank), build.constant([-1] * rank)]
    return build.op("slice", [value, *everything], name=name)


def _give_names(model: Model) -> bool:
    """Let output tensors bear the names the user knows; whoever had such a name takes the other."""
    graph = model.graph
    holders = {value.name: value for value in graph.constants()}
    holders.update((result.name, result) for node in graph for result in node.results)
    inputs = {value.name for value in graph.inputs}
    modified = False
    for value, port in zip(graph.outputs, model.outputs, strict=True):
        if value.name == port.name or port.name in inputs:
            continue
        holder = holders.get(port.name)
        if holder is not None:
            graph.rename(holder, value.name)
            holders[holder.name] = holder
        graph.rename(value, port.name)
        holders[port.name] = value
        modified = True
    return modified
