"""Masks that add minus infinity, as attention exports them.

The builtin ADD clamps its result to finite numbers, so a fully masked row would no longer be recognized; a
select has no such limit, and it is one node less.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

from edgec.ir import Node, Value
from edgec.ops import Builder
from edgec.passes.canonicalize.matching import NONE, activation_of, owned, uniform
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
        for x, mask in ((node.operand(0), node.operand(1)), (node.operand(1), node.operand(0))):
            select = owned(mask, "select_v2")
            branches = [uniform(select.operand(index)) for index in (1, 2)] if select is not None else []
            if select is None or set(branches) != {0.0, -inf}:
                continue
            condition, blocked = select.operand(0), build.constant(-inf)
            operands = [x if branch == 0 else blocked for branch in branches]
            return [build.op("select_v2", [condition, *operands])]
        return no_match("no operand selects between 0 and -inf")
