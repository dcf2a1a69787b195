"""Shared by the rules that trade one movement op for others: guards, and nodes that keep the scale.

Movement copies bytes, so every tensor between the old operand and the old result has the same element type
and the same quantization; rules therefore work on float and on quantized graphs alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from edgec.ir import DType, Node, Quantization, Value
from edgec.ops import Builder, op_spec, spec_of
from edgec.ops.movement import ConcatenationAttributes, ReshapeAttributes
from edgec.rewrite import NoMatch, no_match

Library = Literal["xnnpack", "tflm"]
XNNPACK_MAX_RANK = 6


def types_run(kind: str, library: Library) -> frozenset[DType]:
    """Return the element types for which a kernel library runs an op kind."""
    support = op_spec(kind).support
    return support.xnnpack if library == "xnnpack" else support.tflm


def refusal(node: Node, kinds: Iterable[str], library: Library) -> NoMatch | None:
    """Say why a movement node cannot become nodes of `kinds`; None where it can."""
    x = node.operand(spec_of(node).data_operand)
    missing = [kind for kind in kinds if x.dtype not in types_run(kind, library)]
    if missing:
        return no_match(f"{library} does not run {missing[0]} for {x.dtype}")
    if any(not value.type.is_static for value in (x, *node.results)):
        return no_match("a shape is dynamic")
    if any(result.type.quantization != x.type.quantization for result in node.results):
        return no_match("operand and result differ in scale")
    return None


@dataclass(frozen=True)
class Moves:
    """Builds movement nodes whose results have the given quantization."""

    build: Builder
    quantization: Quantization | None

    @staticmethod
    def like(value: Value, build: Builder) -> Moves:
        """Return a maker of tensors with the quantization of `value`."""
        return Moves(build, value.type.quantization)

    def concatenate(self, values: Sequence[Value], axis: int) -> Value:
        """Join along an axis."""
        attributes = ConcatenationAttributes(axis=axis)
        return self.scaled(self.build.op("concatenation", values, attributes))

    def repeat(self, x: Value, axis: int, times: int) -> Value:
        """Join a tensor with itself; once is the tensor."""
        return x if times == 1 else self.concatenate([x] * times, axis)

    def slice(self, x: Value, begin: Sequence[int], size: Sequence[int]) -> Value:
        """Cut a box out; the whole tensor is the tensor."""
        if tuple(size) == x.shape:
            return x
        operands = [x, self.build.constant(list(begin)), self.build.constant(list(size))]
        return self.scaled(self.build.op("slice", operands))

    def take(self, x: Value, axis: int, start: int, count: int) -> Value:
        """Cut `count` entries out along one axis."""
        begin = [start if index == axis else 0 for index in range(x.type.rank)]
        size = [count if index == axis else dim for index, dim in enumerate(x.shape)]
        return self.slice(x, begin, size)

    def reshape(self, x: Value, shape: Sequence[int]) -> Value:
        """Reshape; a reshape of `x` to this shape that ran before serves again."""
        target = tuple(shape)
        if target == x.shape:
            return x
        for user in x.users:
            same = user.kind == "reshape" and user.result.type == replace(x.type, shape=target)
            if same and self._runs_before(user):
                return user.result
        operands = [x, self.build.constant(list(target))]
        return self.scaled(self.build.op("reshape", operands, ReshapeAttributes(target)))

    def pad(self, x: Value, paddings: Sequence[Sequence[int]]) -> Value:
        """Pad with zero (the zero point of a quantized tensor)."""
        operands = [x, self.build.constant(np.asarray(paddings, np.int32))]
        return self.scaled(self.build.op("pad", operands))

    def _runs_before(self, node: Node) -> bool:
        at = self.build.before
        return at is None or at in self.build.graph.nodes_after(node)

    def scaled(self, value: Value) -> Value:
        """Give a value the quantization, and return it."""
        value.type = replace(value.type, quantization=self.quantization)
        return value
