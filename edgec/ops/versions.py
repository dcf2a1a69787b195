"""Lowest operator versions: which features need which version.

Source of the facts: `compiler/mlir/lite/tools/versioning/op_version.cc` of LiteRT.
"""

from __future__ import annotations

from collections.abc import Callable

from edgec.ir import DType, Node

Version = Callable[[Node], int]


def fixed(version: int) -> Version:
    """The same version for every node."""
    return lambda node: version


def by_dtype(base: int = 1, operand: int = 0, **versions: int) -> Version:
    """The version by the element type of an operand: `by_dtype(int8=2, int16=3)`."""

    def version(node: Node) -> int:
        return versions.get(str(node.operand(operand).dtype), base)

    return version


def beyond_rank_4(wide: int, version: Version) -> Version:
    """At least `wide` where operand 0 has more than four dimensions."""

    def result(node: Node) -> int:
        return max(wide, version(node)) if node.operand(0).type.rank > 4 else version(node)

    return result


def is_hybrid(node: Node, weights: int) -> bool:
    """Whether float activations meet int8 weights."""
    return node.operand(0).dtype is DType.FLOAT32 and node.operand(weights).dtype is DType.INT8
