"""Reshapes that do nothing or follow each other; movement of constants."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgec.ir import Node, Value
from edgec.ops import Builder, spec_of
from edgec.ops.layout import ELEMENTWISE, LAST_AXIS
from edgec.passes.canonicalize.matching import forward, made_by
from edgec.rewrite import NoMatch, no_match

KERNEL_RANK = 4
"""Every kernel of every library takes this rank; what is higher may have been reshaped for its kernel."""


@dataclass(frozen=True, slots=True)
class EliminateIdentityReshape:
    """reshape(x[2,3], [2,3]) → x"""

    name: str = "eliminate_identity_reshape"
    kinds: tuple[str, ...] = ("reshape",)

    def apply(self, node: Node, build: Builder) -> Sequence[Value] | NoMatch:
        """Forward the operand."""
        x = node.operand(0)
        if not x.type.is_static or x.shape != node.result.shape:
            return no_match(f"{list(x.shape)} becomes {list(node.result.shape)}")
        return forward(node, x)


@dataclass(frozen=True, slots=True)
class MergeReshapes:
    """reshape(reshape(x, s), t) → reshape(x, t)"""

    name: str = "merge_reshapes"
    kinds: tuple[str, ...] = ("reshape",)

    def apply(self, node: Node, build: Builder) -> Sequence[Value] | NoMatch:
        """Read x directly; the first reshape stays for its other readers."""
        inner = made_by(node.operand(0), "reshape")
        if inner is None:
            return no_match("the operand is not made by a reshape")
        if not node.result.type.is_static:
            return no_match("the shape is not known")
        x = inner.operand(0)
        if x.shape == node.result.shape:
            return forward(node, x)
        return [build.reshape(x, node.result.shape)]


@dataclass(frozen=True, slots=True)
class EliminateReshapeRoundTrip:
    """reshape(f(reshape(x, s)), shape of x) → f(x), where f works on single elements

    Also where f works along the last axis (softmax) and s keeps that axis.
    """

    name: str = "eliminate_reshape_round_trip"
    kinds: tuple[str, ...] = ("reshape",)

    def apply(self, node: Node, build: Builder) -> Sequence[Value] | NoMatch:
        """Apply f to x, if nobody else reads f's result."""
        value = node.operand(0)
        maker = value.producer if value.has_single_use() else None
        if maker is None or len(maker.operands) != 1 or not value.type.is_static:
            return no_match("the operand is shared, or not made by a function of one value")
        inner = made_by(maker.operand(0), "reshape")
        x = None if inner is None else inner.operand(0)
        if x is None or x.shape != node.result.shape:
            return no_match("the function does not stand between a reshape and its inverse")
        if x.type.rank > KERNEL_RANK:
            return no_match(f"the reshape may keep {maker.kind} at a rank its kernels take")
        layout = spec_of(maker).layout
        along_last = layout is LAST_AXIS and x.shape[-1:] == value.shape[-1:]
        if layout is not ELEMENTWISE and not along_last:
            return no_match(f"{maker.kind} depends on the shape")
        return [build.op(maker.kind, [x], maker.attributes)]


@dataclass(frozen=True, slots=True)
class FoldMovement:
    """transpose(constant, p), reshape(constant, s) → constant: later rules look for constants."""

    name: str = "fold_movement"
    kinds: tuple[str, ...] = ("reshape", "transpose")

    def apply(self, node: Node, build: Builder) -> Sequence[Value] | NoMatch:
        """Move the data at compile time, into an array of its own or a view: constants are never edited."""
        fold = spec_of(node).fold
        if fold is None or any(value is None or value.data is None for value in node.operands):
            return no_match("an operand is not constant")
        if node.result.is_graph_output:
            return no_match("a graph output stays the result of a node")
        folded = fold(node)
        if folded is None:
            return no_match("the data cannot be moved at compile time")
        return [build.constant(data, name=node.operand(0).name) for data in folded]
