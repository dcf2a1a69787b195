"""A transpose in front of a flattening fully_connected moves into the order of its weights' columns.

    fully_connected(reshape(transpose(x, p)), w)  →  fully_connected(reshape(x), w with columns permuted)

A model trained channels-first flattens C, H, W in this order; the columns are sorted once for H, W, C.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgec.ir import Node, Value
from edgec.ops import Builder, spec_of
from edgec.ops.grids import moved
from edgec.ops.infer import int_list
from edgec.ops.layout import ELEMENTWISE
from edgec.passes.contract import RulePass
from edgec.passes.fuse.weighted import rebuilt, weights_of
from edgec.rewrite import NoMatch, no_match


@dataclass(frozen=True, slots=True)
class FoldTransposeIntoFullyConnected:
    """fully_connected(reshape(relu(transpose(x, p))), w) → fully_connected(reshape(relu(x)), w')

    Between them only unshared reshapes, transposes and functions of single elements may stand.
    """

    name: str = "fold_transpose_into_fully_connected"
    kinds: tuple[str, ...] = ("fully_connected",)

    def apply(self, node: Node, build: Builder) -> Sequence[Value] | NoMatch:
        """Follow every element's place along the chain, and permute the columns alike."""
        facts = weights_of(node)
        if facts is None:
            return no_match("the weights are not constant")
        chain = _chain_to_transpose(node.operand(0))
        if not chain:
            return no_match("no transpose of known shape stands before it in an unshared chain")
        order = _column_order(chain, node.operand(1).shape[1])
        if order is None:
            return no_match("the transpose moves elements between rows")
        old = node.operand(1).constant()
        weights = np.empty_like(old)
        weights[:, order] = old
        x = chain[0].operand(0)
        for step in chain:
            if step.kind not in ("reshape", "transpose"):
                x = rebuilt(build, step, {0: x})
        x = build.reshape(x, node.operand(0).shape)
        constant = moved(build, node.operand(1), weights)
        return [rebuilt(build, node, {0: x, 1: constant})]


def _chain_to_transpose(value: Value) -> list[Node]:
    """Return the nodes from the furthest transpose to `value`, in execution order; [] without one."""
    steps: list[Node] = []
    found: list[Node] = []
    while value.has_single_use() and value.producer is not None and value.type.is_static:
        node = value.producer
        if not _keeps_elements(node) or not node.operand(0).type.is_static:
            break
        steps.insert(0, node)
        if node.kind == "transpose":
            found = list(steps)
        value = node.operand(0)
    return found


def _keeps_elements(node: Node) -> bool:
    if node.kind in ("reshape", "transpose"):
        return node.operand(1).is_constant
    return spec_of(node).layout is ELEMENTWISE and len(node.operands) == len(node.results) == 1


def _column_order(chain: Sequence[Node], depth: int) -> npt.NDArray[np.int64] | None:
    """Return for each column which element of a row of x it reads; None where rows mix or differ."""
    places = np.arange(chain[0].operand(0).type.size).reshape(chain[0].operand(0).shape)
    for step in chain:
        if step.kind == "transpose":
            places = places.transpose(int_list(step.operand(1).constant()))
        else:
            places = places.reshape(step.result.shape)
    rows = places.reshape(-1, depth)
    inside = rows - depth * np.arange(len(rows))[:, None]
    same = bool((inside == inside[0]).all() and inside.min() >= 0 and inside.max() < depth)
    return inside[0] if same else None


FOLD_TRANSPOSES = RulePass("fold_transposes", (FoldTransposeIntoFullyConnected(),))
