"""Sums of products as unrolled recurrent cells have them: their bias moves into a product.

    add(add(x, fully_connected(y, w)), c)          → add(x, fully_connected(y, w, c))
    add(x, reshape(y)), y of the result's shape    → add(x, y)

A Keras cell computes `x W + h R + b` at each step. A sum of its own rounds once more in int8, and its
constant has 8 bits for all channels together, where a bias has 32 for each.

A bias is in units of `s_x s_w`, and h has another scale at each step: biases of their own would take 16
bytes a channel and step, 12 of them scales and zero points. So of two products the one is chosen that
becomes one for all steps (`products`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgec.ir import Node, Value
from edgec.ops import Builder
from edgec.ops.spec import Weights
from edgec.passes.canonicalize.matching import NONE, activation_of, owned
from edgec.passes.fuse.weighted import (
    Wide,
    bias_of,
    channels_of,
    fits_float32,
    per_channel,
    rebuilt,
    replayed,
    weights_of,
    with_numbers,
)
from edgec.quantize.prepare.products import rows_read
from edgec.rewrite import NoMatch, no_match

_SUMS = ("add", "sub", "mul")


@dataclass(frozen=True)
class MoveBiasBeforeSum:
    """add(add(x, conv_2d(y, w, b)), c) → add(x, conv_2d(y, w, b + c)), for every op with constant weights"""

    name: str = "move_bias_before_sum"
    kinds: tuple[str, ...] = ("add",)

    def apply(self, node: Node, build: Builder) -> Sequence[Value] | NoMatch:
        """Give the bias to the first addend that has weights."""
        found = _sum_and_constant(node)
        if found is None:
            return no_match("not the sum of an unshared sum and a constant for each channel")
        inner, shift = found
        addends = [(index, _weighted(inner.operand(index), len(shift))) for index in range(2)]
        weighted = [(index, *parts) for index, parts in addends if parts is not None]
        if not weighted:
            return no_match("no addend is an unshared product with weights")
        index, target, facts, chain = min(weighted, key=_reads_no_rows)
        bias = bias_of(target, facts)
        bias = shift if bias is None else bias + shift
        if not fits_float32(bias):
            return no_match("the summed biases do not fit float32")
        product = replayed(build, with_numbers(build, target, facts, bias=bias), chain)
        return [rebuilt(build, inner, {index: product}, activation_of(node))]


def _reads_no_rows(weighted: tuple[int, Node, Weights, list[Node]]) -> bool:
    """Whether a product has no part in `JoinProducts`: the others come first, they need one bias for all."""
    _, target, _, _ = weighted
    return rows_read(target) is None


def _sum_and_constant(node: Node) -> tuple[Node, Wide] | None:
    """Return the sum that a node adds a number for each channel to, and these numbers."""
    x, constant = node.operand(0), node.operand(1)
    inner = owned(x, "add")
    plain = inner is not None and activation_of(inner) is NONE and x.shape == node.result.shape
    if inner is None or not plain or not constant.is_constant or not x.shape:
        return None
    shift = per_channel(constant, x.shape[-1])
    return None if shift is None else (inner, shift)


def _weighted(x: Value, channels: int) -> tuple[Node, Weights, list[Node]] | None:
    """Return the node with weights that computes `x`, and the reshapes behind it; nobody else reads them."""
    chain: list[Node] = []
    while (node := owned(x, "reshape")) is not None:
        chain.insert(0, node)
        x = node.operand(0)
    node = x.producer if x.has_single_use() else None
    facts = None if node is None else weights_of(node)
    if node is None or facts is None or activation_of(node) is not NONE:
        return None
    last = all(item.result.shape[-1:] == (channels,) for item in (node, *chain))
    return (node, facts, chain) if last and channels_of(node, facts) == channels else None


@dataclass(frozen=True)
class SkipReshapeBeforeSum:
    """add(x, reshape(y)) → add(x, y) where the reshape only takes away axes of 1 that broadcasting adds"""

    name: str = "skip_reshape_before_sum"
    kinds: tuple[str, ...] = _SUMS

    def apply(self, node: Node, build: Builder) -> Sequence[Value] | NoMatch:
        """Read what the reshape reads."""
        for index in range(2):
            reshape, shape = owned(node.operand(index), "reshape"), node.result.shape
            if reshape is None or reshape.operand(0).shape != shape or not node.result.type.is_static:
                continue
            short = reshape.result.shape
            if (1,) * (len(shape) - len(short)) + short == shape and len(short) < len(shape):
                return [rebuilt(build, node, {index: reshape.operand(0)})]
        return no_match("no operand is a reshape of the result's shape without leading axes of 1")
