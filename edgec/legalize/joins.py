"""Rules for ops that join tensors: concatenation, pack, tile and broadcast_to.

XNNPACK takes a concatenation of at most five operands, and neither PACK, TILE nor BROADCAST_TO.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from edgec.ir import DType, Node, Value
from edgec.legalize.moves import XNNPACK_MAX_RANK, Library, Moves, refusal
from edgec.ops import Builder
from edgec.ops.infer import expect, int_list, normalized_axis
from edgec.ops.movement import ConcatenationAttributes, PackAttributes
from edgec.rewrite import NoMatch, no_match

MAX_COPIES = 64
"""A tile of more copies along one axis keeps its own kernel: a long chain of copies gains nothing."""


@dataclass(frozen=True)
class DecomposeConcatenation:
    """concat(a … h) → concat(concat(a, b, c, d), e … h): at most `limit` operands at each.

    The run of neighbours with the fewest elements is joined first, so that little is copied twice.
    """

    limit: int
    library: Library
    name: str = "decompose_concatenation"
    kinds: tuple[str, ...] = ("concatenation",)

    def apply(self, node: Node, build: Builder) -> Sequence[Value] | NoMatch:
        """Join neighbours until `limit` operands are left."""
        values = [value for value in node.operands if value is not None]
        if len(values) <= self.limit:
            return no_match(f"{len(values)} operands are no more than {self.limit}")
        refused = refusal(node, ("concatenation",), self.library)
        if refused is not None:
            return refused
        if any(value.type.quantization != values[0].type.quantization for value in values):
            return no_match("operands differ in scale")
        if self.library == "xnnpack" and values[0].type.rank > XNNPACK_MAX_RANK:
            return no_match(f"rank {values[0].type.rank} is above XNNPACK's {XNNPACK_MAX_RANK}")
        attributes = expect(node.attributes, ConcatenationAttributes)
        moves = Moves.like(node.result, build)
        while len(values) > self.limit:
            count = min(self.limit, len(values) - self.limit + 1)
            at = _smallest_run(values, count)
            values[at : at + count] = [moves.concatenate(values[at : at + count], attributes.axis)]
        joined = build.op("concatenation", values, attributes)
        joined.type = replace(joined.type, quantization=node.result.type.quantization)
        return [joined]


def _smallest_run(values: Sequence[Value], count: int) -> int:
    sizes = [value.type.size for value in values]
    return min(range(len(sizes) - count + 1), key=lambda at: sum(sizes[at : at + count]))


@dataclass(frozen=True)
class DecomposePack:
    """pack(a, b, axis) → concat(reshape(a), reshape(b), axis), each with an axis of size 1."""

    library: Library = "xnnpack"
    name: str = "decompose_pack"
    kinds: tuple[str, ...] = ("pack",)

    def apply(self, node: Node, build: Builder) -> Sequence[Value] | NoMatch:
        """Give every operand the new axis, then join."""
        refused = refusal(node, ("concatenation", "reshape"), self.library)
        if refused is not None:
            return refused
        rank = node.result.type.rank
        if rank > XNNPACK_MAX_RANK:
            return no_match(f"rank {rank} is above XNNPACK's {XNNPACK_MAX_RANK}")
        axis = normalized_axis(expect(node.attributes, PackAttributes).axis, rank)
        moves = Moves.like(node.result, build)
        values = [value for value in node.operands if value is not None]
        if any(value.is_constant for value in values):
            return no_match("an operand is a constant")
        shape = [1 if index == axis else dim for index, dim in enumerate(node.result.shape)]
        return [moves.concatenate([moves.reshape(value, shape) for value in values], axis)]


@dataclass(frozen=True)
class DecomposeTile:
    """tile(x, [1, 3]) → concat(x, x, x, axis=1), one concatenation for each axis that grows."""

    library: Library
    name: str = "decompose_tile"
    kinds: tuple[str, ...] = ("tile",)

    def apply(self, node: Node, build: Builder) -> Sequence[Value] | NoMatch:
        """Grow the last axes first: their copies are the shortest."""
        refused = refusal(node, ("concatenation",), self.library)
        if refused is not None:
            return refused
        x, multiples = node.operand(0), int_list(node.operand(1).constant())
        if max(multiples, default=1) > MAX_COPIES or min(multiples, default=1) < 1:
            return no_match(f"multiples {multiples} are not within 1..{MAX_COPIES}")
        if all(times == 1 for times in multiples):
            return no_match("nothing is repeated")
        if x.type.rank > XNNPACK_MAX_RANK:
            return no_match(f"rank {x.type.rank} is above {XNNPACK_MAX_RANK}")
        moves = Moves.like(node.result, build)
        for axis in reversed(range(len(multiples))):
            x = moves.repeat(x, axis, multiples[axis])
        return [x]


@dataclass(frozen=True)
class DecomposeBroadcast:
    """broadcast_to(x, [4, 3]) → x * ones[4, 1]: a product broadcasts, and one times a float is that float.

    Below 1.2e-38 XNNPACK rounds to zero, here as in all of its arithmetic.
    """

    name: str = "decompose_broadcast"
    kinds: tuple[str, ...] = ("broadcast_to",)

    def apply(self, node: Node, build: Builder) -> Sequence[Value] | NoMatch:
        """Multiply by ones that are as long as needed on the axes that grow."""
        x, result = node.operand(0), node.result
        if x.dtype is not DType.FLOAT32:
            return no_match(f"a product by one is exact for float32, not for {x.dtype}")
        if not x.type.is_static or not result.type.is_static or result.type.rank > XNNPACK_MAX_RANK:
            return no_match("the shape is dynamic or of rank above 6")
        if x.is_constant:
            return no_match("the operand is a constant")
        held = (1,) * (result.type.rank - x.type.rank) + x.shape
        shape = [1 if dim == old else dim for dim, old in zip(result.shape, held, strict=True)]
        return [build.op("mul", [x, build.constant(np.ones(shape, np.float32))])]
