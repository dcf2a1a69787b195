"""Casts that change nothing, or that follow a cast that lost nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgec.ir import DType, Node, Value
from edgec.ops import Builder
from edgec.ops.elementwise import CastAttributes
from edgec.passes.canonicalize.matching import forward, made_by
from edgec.rewrite import NoMatch, no_match


@dataclass(frozen=True, slots=True)
class EliminateIdentityCast:
    """cast(x: float32 → float32) → x"""

    name: str = "eliminate_identity_cast"
    kinds: tuple[str, ...] = ("cast",)

    def apply(self, node: Node, build: Builder) -> Sequence[Value] | NoMatch:
        """Forward the operand."""
        x = node.operand(0)
        if x.dtype is not node.result.dtype:
            return no_match(f"{x.dtype} becomes {node.result.dtype}")
        return forward(node, x)


@dataclass(frozen=True, slots=True)
class MergeCasts:
    """cast(cast(x: int8 → int32) → float32) → cast(x: int8 → float32), where int32 holds every int8"""

    name: str = "merge_casts"
    kinds: tuple[str, ...] = ("cast",)

    def apply(self, node: Node, build: Builder) -> Sequence[Value] | NoMatch:
        """Cast from the first type directly."""
        inner = made_by(node.operand(0), "cast")
        if inner is None:
            return no_match("the operand is not made by a cast")
        x, middle, last = inner.operand(0), inner.result.dtype, node.result.dtype
        if not _holds(middle, x.dtype):
            return no_match(f"{middle} does not hold every {x.dtype}")
        if x.dtype is last:
            return forward(node, x)
        return [build.op("cast", [x], CastAttributes(x.dtype, last))]


def _holds(wide: DType, narrow: DType) -> bool:
    """Whether every value survives; NumPy calls 64-bit integers to float64 safe, which loses digits."""
    if narrow in (DType.INT64, DType.UINT64) and wide.is_float:
        return False
    return np.can_cast(narrow.numpy, wide.numpy, "safe")
