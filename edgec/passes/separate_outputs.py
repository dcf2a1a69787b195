"""Gives every graph output a tensor of its own: kernels and signatures need it.

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
        return PassResult(model, modified)
