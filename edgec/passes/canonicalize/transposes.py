"""Transposes that do nothing, follow each other, or move no element in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgec.ir import Node, Value
from edgec.ops import Builder, Permutation
from edgec.ops.infer import int_list
from edgec.ops.layout import compose, identity, moves_data
from edgec.passes.canonicalize.matching import forward, made_by
from edgec.rewrite import NoMatch, no_match


def permutation_of(node: Node) -> Permutation | None:
    """Return a transpose's permutation, None where only the run time knows it."""
    data = node.operand(1).data
    return None if data is None else tuple(int_list(data))


@dataclass(frozen=True, slots=True)
class EliminateIdentityTranspose:
    """transpose(x, [0, 1, 2]) → x"""

    name: str = "eliminate_identity_transpose"
    kinds: tuple[str, ...] = ("transpose",)

    def apply(self, node: Node, build: Builder) -> Sequence[Value] | NoMatch:
        """Forward the operand."""
        permutation = permutation_of(node)
        if permutation is None:
            return no_match("the permutation is not constant")
        if permutation != identity(len(permutation)):
            return no_match(f"{list(permutation)} is not the identity")
        return forward(node, node.operand(0))


@dataclass(frozen=True, slots=True)
class ComposeTransposes:
    """transpose(transpose(x, p), q) → transpose(x, p[q])"""

    name: str = "compose_transposes"
    kinds: tuple[str, ...] = ("transpose",)

    def apply(self, node: Node, build: Builder) -> Sequence[Value] | NoMatch:
        """Read x directly; the first transpose stays for its other readers."""
        inner = made_by(node.operand(0), "transpose")
        first = None if inner is None else permutation_of(inner)
        second = permutation_of(node)
        if inner is None or first is None or second is None:
            return no_match("the operand is not made by a transpose, or a permutation is not constant")
        x, permutation = inner.operand(0), compose(first, second)
        if permutation == identity(len(permutation)):
            return forward(node, x)
        return [build.transpose(x, permutation)]


@dataclass(frozen=True, slots=True)
class FoldUnitTranspose:
    """transpose(x[1,28,28,1], [0, 3, 1, 2]) → reshape(x, [1,1,28,28]): only axes of size 1 change place.

    Not before the layout pass: it reads the layout of the model's inputs from their transposes.
    """

    name: str = "fold_unit_transpose"
    kinds: tuple[str, ...] = ("transpose",)

    def apply(self, node: Node, build: Builder) -> Sequence[Value] | NoMatch:
        """Reshape instead, which copies nothing."""
        x, permutation = node.operand(0), permutation_of(node)
        if permutation is None or not x.type.is_static:
            return no_match("the permutation or the shape is not known")
        if permutation == identity(len(permutation)) or moves_data(x.shape, permutation):
            return no_match(f"{list(permutation)} moves elements of {list(x.shape)}, or nothing")
        if x.shape == node.result.shape:
            return forward(node, x)
        return [build.reshape(x, node.result.shape)]
