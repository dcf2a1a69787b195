"""Products of rows with the same weights, as unrolled recurrent layers have them: one product for all rows.

    fully_connected(x[0], w, b), …, fully_connected(x[n], w, b)    → rows of fully_connected(x, w, b)

One node reads the weights once, and its result has one scale. LSTM(48) over 28 steps of a Keras model, with
its biases moved here (`sums`): 217 kB → 98 kB.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from math import prod

import numpy as np

from edgec.ir import Node, Value
from edgec.ops import Builder
from edgec.passes.canonicalize.matching import made_by
from edgec.rewrite import NoMatch, no_match


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows `first` up to `first + count` of a value, all of whose axes but the last count rows."""

    source: Value
    first: int
    count: int


@dataclass(frozen=True)
class JoinProducts:
    """fully_connected(x[0], w), …, fully_connected(x[n], w) → rows of fully_connected(x, w)"""

    name: str = "join_products"
    kinds: tuple[str, ...] = ("fully_connected",)

    def apply(self, node: Node, build: Builder) -> Sequence[Value] | NoMatch:
        """Join all products of rows of one value, if they want every row; one node replaces all of them.

        Only the products of the first and of the last row look at all others: whichever of the two runs later
        finds them with their biases, and the work does not grow with the square of the steps.
        """
        rows = rows_read(node)
        if rows is None:
            return no_match("the operand is not made of rows of another value, or the weights are computed")
        if _awaits_bias(node):
            return no_match("the sum behind it has a bias to give")
        total = prod(rows.source.shape[:-1])
        if rows.first > 0 and rows.first + rows.count < total:
            return no_match("the products of the first and the last rows join all")
        group = {
            other: found
            for other in dict.fromkeys(node.operand(1).users)
            if (found := _alike(other, node, rows)) is not None
        }
        read = {row for part in group.values() for row in range(part.first, part.first + part.count)}
        if len(group) < 2 or len(read) < total:
            return no_match("the products with these weights do not read every row")
        joint = _joint(
            node, rows.source, Builder(build.graph, _first(group, build), build.source, build.made)
        )
        for other in group:
            if other is not node:
                place = replace(build, before=other, source=other.source)
                build.graph.replace_node(other, [_cut(place, joint, group[other], other)])
        return [_cut(build, joint, rows, node)]


def rows_read(node: Node) -> Rows | None:
    """Return the rows of another value that a product with constant weights reads, if it reads such."""
    if node.kind != "fully_connected" or not node.operand(1).is_constant:
        return None
    x, depth = node.operand(0), node.operand(1).shape[-1:]
    while (reshape := made_by(x, "reshape")) is not None and x.shape[-1:] == depth:
        x = reshape.operand(0)
    slice = made_by(x, "slice")
    if slice is None or x.shape[-1:] != depth or not slice.operand(0).type.is_static:
        return None
    source, begin = slice.operand(0), slice.operand(1).data
    cut = [axis for axis, size in enumerate(source.shape) if size != x.shape[axis]]
    if begin is None or len(cut) != 1 or prod(source.shape[: cut[0]]) != 1 or cut[0] == len(source.shape) - 1:
        return None
    inner = prod(source.shape[cut[0] + 1 : -1])
    return Rows(source, int(begin[cut[0]]) * inner, x.shape[cut[0]] * inner)


def _awaits_bias(node: Node) -> bool:
    """Whether `MoveBiasBeforeSum` has yet to look at the sum behind a product."""
    x = node.result
    while x.has_single_use() and x.users[0].kind == "reshape":
        x = x.users[0].result
    inner = x.users[0] if x.has_single_use() else None
    if inner is None or inner.kind != "add" or not inner.result.has_single_use():
        return False
    outer = inner.result.users[0]
    return outer.kind == "add" and outer.operand(1).is_constant


def _alike(node: Node, like: Node, rows: Rows) -> Rows | None:
    """Return the rows that a product reads, if it differs from another in nothing else."""
    if node.attributes != like.attributes or node.operand(1) is not like.operand(1):
        return None
    found = rows_read(node)
    if found is None or found.source is not rows.source:
        return None
    return found if _equal(node.optional_operand(2), like.optional_operand(2)) else None


def _equal(first: Value | None, second: Value | None) -> bool:
    if first is None or second is None or first is second:
        return first is second
    if first.data is None or second.data is None:
        return False
    return bool(np.array_equal(first.data, second.data))


def _first(group: Collection[Node], build: Builder) -> Node:
    return next(node for node in build.graph if node in group)


def _joint(node: Node, source: Value, build: Builder) -> Value:
    """Return the product of all rows."""
    rows = build.reshape(source, (prod(source.shape[:-1]), source.shape[-1]))
    return build.op("fully_connected", [rows, *node.operands[1:]], node.attributes)


def _cut(build: Builder, joint: Value, rows: Rows, node: Node) -> Value:
    """Return rows of the product in the shape that a node's result had."""
    size = build.constant([rows.count, joint.shape[-1]])
    return build.reshape(build.op("slice", [joint, build.constant([rows.first, 0]), size]), node.result.shape)
