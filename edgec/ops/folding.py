"""Folding of ops that only move data: NumPy computes them, no kernel is needed to know the result."""

from __future__ import annotations

from collections.abc import Callable

from edgec.ir import Array, Node


def with_numpy(
    compute: Callable[[Node, list[Array]], Array | list[Array]],
) -> Callable[[Node], tuple[Array, ...]]:
    """Wrap a NumPy function of (node, operand arrays); called only where all operands are constants."""

    def fold(node: Node) -> tuple[Array, ...]:
        result = compute(node, [value.constant() for value in node.operands if value is not None])
        return tuple(result) if isinstance(result, list) else (result,)

    return fold
