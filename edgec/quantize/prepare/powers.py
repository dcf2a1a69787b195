"""Powers, negation and division by constants, as products.

square(x)           → mul(x, x)
pow(x, 1 | 2 | 3)   → x | mul(x, x) | mul(mul(x, x), x)
neg(x)              → mul(x, -1)               -1 is exact in int8: range [-1, 0]
div(x, constant)    → mul(x, 1 / constant)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgec.ir import DType, Node, Value
from edgec.ops import Builder
from edgec.ops.elementwise import DivAttributes, MulAttributes
from edgec.ops.infer import expect
from edgec.rewrite import NoMatch, no_match

_MAX_POWER = 3


@dataclass(frozen=True)
class DecomposeSquare:
    """`square(x) → mul(x, x)`."""

    name: str = "decompose_square"
    kinds: tuple[str, ...] = ("square",)

    def apply(self, node: Node, build: Builder) -> Sequence[Value] | NoMatch:
        """Multiply the operand by itself."""
        x = node.operand(0)
        return [build.op("mul", [x, x])]


@dataclass(frozen=True)
class DecomposePow:
    """`pow(x, n) → x * x ...` for n of 1, 2 or 3."""

    name: str = "decompose_pow"
    kinds: tuple[str, ...] = ("pow",)

    def apply(self, node: Node, build: Builder) -> Sequence[Value] | NoMatch:
        """Multiply; the exponent has to be one small whole number for all elements."""
        x, exponent = node.operand(0), node.operand(1)
        if x.dtype is not DType.FLOAT32 or exponent.data is None:
            return no_match("the exponent is not a float constant")
        powers = np.unique(exponent.data.astype(np.float64))
        if len(powers) != 1 or powers[0] not in range(1, _MAX_POWER + 1) or x.shape != node.result.shape:
            return no_match("the exponent is not 1, 2 or 3")
        product = x
        for _ in range(int(powers[0]) - 1):
            product = build.op("mul", [product, x])
        return [product]


@dataclass(frozen=True)
class DecomposeNeg:
    """`neg(x) → mul(x, -1)`."""

    name: str = "decompose_neg"
    kinds: tuple[str, ...] = ("neg",)

    def apply(self, node: Node, build: Builder) -> Sequence[Value] | NoMatch:
        """Multiply by -1."""
        x = node.operand(0)
        if x.dtype is not DType.FLOAT32:
            return no_match("integers have a kernel of their own")
        return [build.op("mul", [x, build.constant(-1.0)])]


@dataclass(frozen=True)
class ReplaceDivision:
    """`div(x, constant) → mul(x, 1 / constant)`."""

    name: str = "replace_division"
    kinds: tuple[str, ...] = ("div",)

    def apply(self, node: Node, build: Builder) -> Sequence[Value] | NoMatch:
        """Multiply by the reciprocal, computed in float64 and rounded once."""
        x, divisor = node.operand(0), node.operand(1)
        if x.dtype is not DType.FLOAT32 or divisor.data is None:
            return no_match("the divisor is not a float constant")
        if not np.all(np.abs(divisor.data) > np.finfo(np.float32).tiny):
            return no_match("the divisor holds zero or a denormal number")
        reciprocal = (1.0 / divisor.data.astype(np.float64)).astype(np.float32)
        if not np.isfinite(reciprocal).all():
            return no_match("the reciprocal overflows")
        fused = expect(node.attributes, DivAttributes).fused_activation_function
        return [build.op("mul", [x, build.constant(reciprocal)], MulAttributes(fused))]
