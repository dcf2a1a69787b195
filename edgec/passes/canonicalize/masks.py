"""Masks that add minus infinity, as attention exports them.

The builtin ADD clamps its result to finite numbers, so x - inf is -3.4e38 and a fully masked row is no longer
recognized. Select and minimum have no such limit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

import numpy as np

from edgec.ir import Node, Value
from edgec.ops import Builder
from edgec.passes.canonicalize.matching import NONE, activation_of, float_constant, made_by, uniform
from edgec.rewrite import NoMatch, no_match


@dataclass(frozen=True, slots=True)
class AddMaskToSelect:
    """x + select(c, 0, -inf) → select(c, x, -inf), and with the branches swapped"""

    name: str = "add_mask_to_select"
    kinds: tuple[str, ...] = ("add",)

    def apply(self, node: Node, build: Builder) -> Sequence[Value] | NoMatch:
        """Put x in place of the zeros."""
        if activation_of(node) is not NONE:
            return no_match("an activation is fused")
        for x, mask in _orders(node):
            select = made_by(mask, "select_v2")
            branches = [uniform(select.operand(index)) for index in (1, 2)] if select is not None else []
            if select is None or set(branches) != {0.0, -inf}:
                continue
            condition, blocked = select.operand(0), build.constant(-inf)
            operands = [x if branch == 0 else blocked for branch in branches]
            return [build.op("select_v2", [condition, *operands])]
        return no_match("no operand selects between 0 and -inf")


@dataclass(frozen=True, slots=True)
class AddMaskToMinimum:
    """x + c with -inf in c → minimum(x + a, b): a is c with 0 for -inf, b is -inf there and inf elsewhere

    Unlike a select it is delegated.
    """

    name: str = "add_mask_to_minimum"
    kinds: tuple[str, ...] = ("add",)

    def apply(self, node: Node, build: Builder) -> Sequence[Value] | NoMatch:
        """Split the constant into what is added and what bounds."""
        mask = float_constant(node.operand(1))
        if activation_of(node) is not NONE or mask is None:
            return no_match("operand 1 is no constant, or an activation is fused")
        blocked = np.isneginf(mask.astype(np.float32))
        if not blocked.any():
            return no_match("the constant is finite")
        finite = np.where(blocked, mask.dtype.type(0), mask)
        bound = build.constant(np.where(blocked, -np.inf, np.inf).astype(mask.dtype))
        x = node.operand(0)
        if finite.any() or x.shape != node.result.shape:
            x = build.op("add", [x, build.constant(finite)])
        return [build.op("minimum", [x, bound])]


@dataclass(frozen=True, slots=True)
class SinkBoundBelowSum:
    """x + minimum(y, b) → minimum(x + y, b), b of -inf and inf only: the sum may not clamp what b decides"""

    name: str = "sink_bound_below_sum"
    kinds: tuple[str, ...] = ("add",)

    def apply(self, node: Node, build: Builder) -> Sequence[Value] | NoMatch:
        """Add first, bound then."""
        if activation_of(node) is not NONE:
            return no_match("an activation is fused")
        for x, bounded in _orders(node):
            minimum = made_by(bounded, "minimum")
            bound = float_constant(minimum.operand(1)) if minimum is not None else None
            if minimum is not None and bound is not None and np.isinf(bound.astype(np.float32)).all():
                total = build.op("add", [x, minimum.operand(0)])
                return [build.op("minimum", [total, minimum.operand(1)])]
        return no_match("no operand is bounded by infinities")


def _orders(node: Node) -> tuple[tuple[Value, Value], tuple[Value, Value]]:
    return (node.operand(0), node.operand(1)), (node.operand(1), node.operand(0))
