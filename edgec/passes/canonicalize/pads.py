"""Pads, tiles and broadcasts that add nothing, follow each other, or that the reader does by itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgec.ir import Node, Value
from edgec.ops import Builder, InferenceError, op_spec
from edgec.ops.layout import ELEMENTWISE
from edgec.ops.registry import all_ops
from edgec.passes.canonicalize.matching import forward, made_by, uniform
from edgec.rewrite import NoMatch, no_match

BROADCAST_RANK = 4
"""Above this rank not every elementwise kernel of LiteRT broadcasts."""


@dataclass(frozen=True, slots=True)
class EliminateIdleRepeat:
    """pad by 0, tile once, broadcast to its own shape → x"""

    name: str = "eliminate_idle_repeat"
    kinds: tuple[str, ...] = ("pad", "padv2", "mirror_pad", "tile", "broadcast_to")

    def apply(self, node: Node, build: Builder) -> Sequence[Value] | NoMatch:
        """Forward the operand: these ops keep every element, so an equal shape means equal data."""
        x = node.operand(0)
        if not x.type.is_static or x.shape != node.result.shape:
            return no_match(f"{list(x.shape)} grows to {list(node.result.shape)}")
        return forward(node, x)


@dataclass(frozen=True, slots=True)
class ZeroPad:
    """padv2(x, paddings, 0) → pad(x, paddings): pad is delegated, padv2 is not"""

    name: str = "zero_pad"
    kinds: tuple[str, ...] = ("padv2",)

    def apply(self, node: Node, build: Builder) -> Sequence[Value] | NoMatch:
        """Drop the value, for floats: a quantized zero is the zero point."""
        value = uniform(node.operand(2))
        if value != 0.0 or not node.result.dtype.is_float:
            return no_match(f"the value is {value}, the data {node.result.dtype}")
        return [build.op("pad", [node.operand(0), node.operand(1)])]


@dataclass(frozen=True, slots=True)
class MergePads:
    """pad(pad(x, a), b) → pad(x, a + b)"""

    name: str = "merge_pads"
    kinds: tuple[str, ...] = ("pad",)

    def apply(self, node: Node, build: Builder) -> Sequence[Value] | NoMatch:
        """Pad x at once; the first pad stays for its other readers."""
        inner = made_by(node.operand(0), "pad")
        if inner is None:
            return no_match("the operand is not made by a pad")
        first, second = inner.operand(1).data, node.operand(1).data
        if first is None or second is None:
            return no_match("the paddings are not constant")
        paddings = build.constant(np.add(first, second), name=node.operand(1).name)
        return [build.op("pad", [inner.operand(0), paddings])]


@dataclass(frozen=True, slots=True)
class AbsorbBroadcast:
    """add(broadcast_to(x), y) → add(x, y), where the reader broadcasts to the same shape by itself

    Also a tile that only repeats axes of size 1: inference refuses the others.
    """

    name: str = "absorb_broadcast"

    @property
    def kinds(self) -> tuple[str, ...]:
        """Every op that works element by element on two operands or more."""
        return tuple(
            kind
            for kind, spec in all_ops().items()
            if spec.layout is ELEMENTWISE and spec.required_operands > 1
        )

    def apply(self, node: Node, build: Builder) -> Sequence[Value] | NoMatch:
        """Read the unbroadcast operand if inference says that the result is the same."""
        if node.result.type.rank > BROADCAST_RANK:
            return no_match(f"kernels broadcast up to rank {BROADCAST_RANK}")
        for index, value in enumerate(node.operands):
            repeat = made_by(value, "broadcast_to", "tile")
            if repeat is None:
                continue
            source = repeat.operand(0)
            operands = [source if i == index else v for i, v in enumerate(node.operands)]
            try:
                (type,) = op_spec(node.kind).infer(operands, node.attributes)
            except InferenceError:
                continue
            if type == node.result.type:
                return [build.op(node.kind, operands, node.attributes)]
        return no_match("no operand is a broadcast that the op does by itself")
