"""Gives every graph output a tensor of its own, under its own name: kernels and users need it.

return x, y, y  (x a graph input or constant)  →  return reshape(x), y, reshape(y)
"""

from __future__ import annotations

from dataclasses import dataclass

from edgec.ir import Model, Value
from edgec.ops import Builder
from edgec.ops.movement import ReshapeAttributes
from edgec.passes.contract import PassResult


@dataclass(frozen=True)
class SeparateOutputs:
    """Copies outputs that are inputs, constants or returned twice by a reshape to the same shape."""

    name: str = "separate_outputs"

    def run(self, model: Model) -> PassResult:
        """Edit the main graph; subgraph outputs may alias."""
        graph = model.graph
        seen: set[Value] = set()
        outputs: list[Value] = []
        modified = False
        for value, port in zip(graph.outputs, model.outputs, strict=True):
            if value.producer is None or value in seen:
                build = Builder(graph, source=port.name)
                shape = build.constant(list(value.shape))
                value = build.op("reshape", [value, shape], ReshapeAttributes(value.shape), port.name)
                modified = True
            seen.add(value)
            outputs.append(value)
        graph.set_outputs(outputs)
        return PassResult(model, _give_names(model) or modified)


def _give_names(model: Model) -> bool:
    """Let output tensors bear the names the user knows; whoever had such a name takes the other."""
    graph = model.graph
    holders = {result.name: result for node in graph for result in node.results}
    inputs = {value.name for value in graph.inputs}
    modified = False
    for value, port in zip(graph.outputs, model.outputs, strict=True):
        if value.name == port.name or port.name in inputs:
            continue
        holder = holders.get(port.name)
        if holder is not None:
            holder.name = value.name
            holders[holder.name] = holder
        value.name = port.name
        holders[port.name] = value
        modified = True
    return modified
