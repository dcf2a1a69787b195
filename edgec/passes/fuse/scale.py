"""What multiplies or shifts a node's output channels moves into its weights and bias (batch norm after conv).

    (w_i · x + b_i) * c_i  =  (c_i w_i) · x + c_i b_i
    (w_i · x + b_i) + c_i  =  w_i · x + (b_i + c_i)

Computed in float64 and rounded once, so the result is as close to the real numbers as the source.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgec.ir import Node, Value
from edgec.ops import Builder
from edgec.ops.spec import Weights
from edgec.passes.canonicalize.matching import NONE, activation_of
from edgec.passes.contract import RulePass
from edgec.passes.fuse.weighted import (
    along,
    bias_of,
    channels_of,
    fits_float32,
    per_channel,
    replayed,
    weights_of,
    with_numbers,
)
from edgec.rewrite import NoMatch, no_match


@dataclass(frozen=True, slots=True)
class FuseBatchNorm:
    """conv_2d(x, w, b) * c → conv_2d(x, c w, c b);  conv_2d(x, w, b) + c → conv_2d(x, w, b + c)

    For every op with constant weights, one c for all channels or one a channel. A reshape that keeps the
    channels last may stand between. The activation of the mul or add moves along.
    """

    name: str = "fuse_batch_norm"
    kinds: tuple[str, ...] = ("mul", "add")

    def apply(self, node: Node, build: Builder) -> Sequence[Value] | NoMatch:
        """Fold the constant if nobody else reads what it changes."""
        x, constant = node.operand(0), node.operand(1)
        if not constant.is_constant or x.shape != node.result.shape:
            return no_match("the right operand is not constant, or it broadcasts x")
        found = _weighted(x)
        if isinstance(found, NoMatch):
            return found
        target, facts, chain = found
        factor = per_channel(constant, channels_of(target, facts))
        if factor is None:
            return no_match(f"{constant.type} does not vary along the channels alone")
        weights, bias = None, bias_of(target, facts)
        if node.kind == "mul":
            data = target.operand(facts.operand).constant()
            weights = np.multiply(data, along(factor, data.ndim, facts.quantized_dimension))
            bias = None if bias is None else bias * factor
        else:
            bias = factor if bias is None else bias + factor
        if not fits_float32(weights, bias):
            return no_match("the folded numbers do not fit float32")
        activation = activation_of(node)
        y = with_numbers(build, target, facts, weights=weights, bias=bias, activation=activation)
        return [replayed(build, y, chain)]


def _weighted(x: Value) -> tuple[Node, Weights, list[Node]] | NoMatch:
    """Return the node that computes `x` from weights, and the reshapes behind it, in order."""
    chain: list[Node] = []
    while True:
        node = x.producer
        if node is None or not x.has_single_use():
            return no_match(f"'{x.name}' has other readers, or no producer")
        if node.kind != "reshape":
            break
        if not x.shape or node.operand(0).shape[-1:] != x.shape[-1:]:
            return no_match(f"reshape '{x.name}' does not keep the channels last")
        chain.insert(0, node)
        x = node.operand(0)
    facts = weights_of(node)
    if facts is None:
        return no_match(f"{node.kind} has no constant weights")
    if activation_of(node) is not NONE:
        return no_match(f"{node.kind} has an activation fused already")
    return node, facts, chain


FUSE_BATCH_NORM = RulePass("fuse_batch_norm", (FuseBatchNorm(),))
