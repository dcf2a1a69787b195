"""Concatenation, pack and split with one part, nested, or with parts that nobody reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgec.ir import Node, Value
from edgec.ops import Builder
from edgec.ops.infer import expect, int_list
from edgec.ops.movement import ConcatenationAttributes
from edgec.passes.canonicalize.matching import NONE, activated, activation_of, forward, owned
from edgec.passes.canonicalize.slices import build_slice
from edgec.rewrite import NoMatch, no_match

MAX_CONCATENATED = 5
"""XNNPACK takes no concatenation of more operands."""


@dataclass(frozen=True, slots=True)
class EliminateSingleConcatenation:
    """concatenation(x) → x"""

    name: str = "eliminate_single_concatenation"
    kinds: tuple[str, ...] = ("concatenation",)

    def apply(self, node: Node, build: Builder) -> Sequence[Value] | NoMatch:
        """Forward the only operand."""
        if len(node.operands) != 1:
            return no_match(f"there are {len(node.operands)} operands")
        if activation_of(node) is not NONE:
            return [activated(build, node.operand(0), activation_of(node))]
        return forward(node, node.operand(0))


@dataclass(frozen=True, slots=True)
class FlattenConcatenation:
    """concatenation(concatenation(x, y), z) → concatenation(x, y, z), along the same axis"""

    max_operands: int = MAX_CONCATENATED
    name: str = "flatten_concatenation"
    kinds: tuple[str, ...] = ("concatenation",)

    def apply(self, node: Node, build: Builder) -> Sequence[Value] | NoMatch:
        """Take over the operands of unshared concatenations along the same axis."""
        axis = _axis(node)
        operands: list[Value] = []
        for index in range(len(node.operands)):
            value = node.operand(index)
            inner = owned(value, "concatenation")
            same = inner is not None and _axis(inner) == axis and activation_of(inner) is NONE
            parts = [v for v in inner.operands if v is not None] if inner is not None and same else [value]
            operands += parts
        if len(operands) == len(node.operands):
            return no_match("no operand is an unshared concatenation along the same axis")
        if len(operands) > self.max_operands:
            return no_match(f"{len(operands)} operands are more than {self.max_operands}")
        return [build.op("concatenation", operands, ConcatenationAttributes(axis, activation_of(node)))]


def _axis(node: Node) -> int:
    return expect(node.attributes, ConcatenationAttributes).axis % node.result.type.rank


@dataclass(frozen=True, slots=True)
class PackToReshape:
    """pack(x[2,3], axis=0) → reshape(x, [1,2,3])"""

    name: str = "pack_to_reshape"
    kinds: tuple[str, ...] = ("pack",)

    def apply(self, node: Node, build: Builder) -> Sequence[Value] | NoMatch:
        """Give a single operand its axis of size 1."""
        if len(node.operands) != 1 or not node.result.type.is_static:
            return no_match(f"there are {len(node.operands)} operands, or the shape is not known")
        return [build.reshape(node.operand(0), node.result.shape)]


@dataclass(frozen=True, slots=True)
class SplitToSlice:
    """a, _, _ = split(x) → a = slice(x); split into one part → x"""

    name: str = "split_to_slice"
    kinds: tuple[str, ...] = ("split",)

    def apply(self, node: Node, build: Builder) -> Sequence[Value] | NoMatch:
        """Cut out the only part that is read."""
        axis, x = node.operand(0), node.operand(1)
        if len(node.results) == 1:
            return forward(node, x)
        read = [index for index, result in enumerate(node.results) if not result.is_unused]
        if axis.data is None or not x.type.is_static or len(read) != 1:
            return no_match(f"{len(read)} results are read, or the shape is not known")
        at = int_list(axis.data)[0] % x.type.rank
        begin, size = [0] * x.type.rank, list(node.results[0].shape)
        begin[at] = read[0] * size[at]
        return [build_slice(build, x, begin, size)] * len(node.results)
