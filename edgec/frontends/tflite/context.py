"""What a lowering of one TFLite operator sees."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from edgec.diagnostics import Diagnostic
from edgec.frontends.tflite.tensors import Tensor
from edgec.ir import NO_ATTRIBUTES, Array, Attributes, Graph, TensorType, Value
from edgec.ops import Builder

Table = Any  # objects of the generated schema module, which has no type annotations
InnerGraph = Callable[[int, list[Value]], tuple[int, Graph]]
"""Imports a subgraph for given operands; returns its index in our model, and the graph."""


class LoweringError(ValueError):
    """An operator that cannot be expressed: what, why, and what the reader can do.

    `code` is E0201 for operators that are unknown altogether, else E0202.
    """

    def __init__(self, what: str, why: str = "", next_step: str = "", code: str = "E0202") -> None:
        super().__init__(what)
        self.what, self.why, self.next_step, self.code = what, why, next_step, code

    def at(self, where: str) -> Diagnostic:
        """Return the message for an operator."""
        return Diagnostic(self.code, where, self.what, self.why, self.next_step)


@dataclass(frozen=True, slots=True)
class SpaceToBatch:
    """Where an operand comes from: blocks of `x`, padded by (before, after) along each spatial axis."""

    x: Value
    block: tuple[int, int]
    pads: tuple[tuple[int, int], tuple[int, int]]


@dataclass(frozen=True)
class Context:
    """One operator: builtin name, options, operands (None where absent), results as the file types them.

    `states` are the positions and types of operands that live from run to run (the file's variable tensors);
    their value is None here. `stateless` says that the source model means them to start from zeros in every
    run. `blocks` remembers what space_to_batch_nd made, for the batch_to_space_nd after it.
    """

    builtin: str
    options: Table
    inputs: list[Value | None]
    states: Mapping[int, TensorType]
    intermediates: tuple[TensorType, ...]
    results: list[Tensor]
    build: Builder
    inner_graph: InnerGraph
    blocks: dict[Value, SpaceToBatch]
    stateless: bool = False

    def input(self, index: int) -> Value:
        """Return a required operand."""
        value = self.optional_input(index)
        if value is None:
            raise LoweringError(f"lacks operand {index}", "The file is damaged.")
        return value

    def optional_input(self, index: int) -> Value | None:
        """Return an operand, or None."""
        return self.inputs[index] if index < len(self.inputs) else None

    def constant(self, index: int, what: str) -> Array:
        """Return the data of an operand that has to be known at compile time."""
        value = self.input(index)
        if value.data is None:
            raise LoweringError(
                f"computes its {what} at run time",
                "Kernels are compiled for one shape.",
                "Fix the shapes of the source model's inputs.",
            )
        return value.data

    def ints(self, index: int, what: str) -> list[int]:
        """Return a constant operand as a list of ints."""
        return [int(item) for item in self.constant(index, what).reshape(-1)]

    def option(self, name: str, default: int = 0) -> int:
        """Return a number from the option table; `default` where the operator carries no table."""
        return int(getattr(self.options, name)) if self.options is not None else default

    def move(
        self, kind: str, operands: list[Value | None], attributes: Attributes = NO_ATTRIBUTES
    ) -> list[Value]:
        """Insert an op that only moves data: its results keep the quantization of where they come from."""
        node = self.build.node(kind, operands, attributes)
        source = next(v for v in operands if v is not None and not v.type.dtype.name.startswith("BOOL"))
        for operand in operands:
            if operand is not None and operand.type.quantization is not None:
                source = operand
        for result in node.results:
            if result.dtype is source.dtype:
                result.type = replace(result.type, quantization=source.type.quantization)
        return list(node.results)

    def reshape(self, x: Value, shape: list[int]) -> Value:
        """Reshape; a no-op returns `x` itself."""
        result = self.build.reshape(x, shape)
        if result is not x:
            result.type = replace(result.type, quantization=x.type.quantization)
        return result
