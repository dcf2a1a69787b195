"""Arithmetic with constants: one spelling each, and none where it changes nothing.

sub and div by a constant become add and mul, constants stand on the right, and chains merge, so that what
fuses into weights has to know `x * c` and `x + c` alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgec.ir import Array, DType, Node, Value
from edgec.ops import Builder
from edgec.ops.elementwise import AddAttributes, MulAttributes
from edgec.passes.canonicalize.matching import (
    NONE,
    activated,
    activation_of,
    float_constant,
    forward,
    owned,
    uniform,
)
from edgec.rewrite import NoMatch, no_match

_LARGEST = float(np.finfo(np.float32).max)
_ROUNDING_TRICK = 2.0**20
"""x + c - c rounds x where c is huge: exporters write round() so, and merging would lose it."""


@dataclass(frozen=True, slots=True)
class OrderOperands:
    """add(constant, x) → add(x, constant), for every op that commutes"""

    name: str = "order_operands"
    kinds: tuple[str, ...] = (
        "add",
        "mul",
        "maximum",
        "minimum",
        "squared_difference",
        "equal",
        "not_equal",
        "logical_and",
        "logical_or",
    )

    def apply(self, node: Node, build: Builder) -> Sequence[Value] | NoMatch:
        """Swap the operands where only the left one is constant."""
        left, right = node.operand(0), node.operand(1)
        if left.data is None or right.data is not None:
            return no_match("the left operand is not the only constant")
        return [build.op(node.kind, [right, left], node.attributes)]


@dataclass(frozen=True, slots=True)
class EliminateNeutralOperand:
    """x + 0, x - 0, x * 1, x / 1, max(x, -∞), min(x, ∞) → x

    Exact but for the sign of zero: -0 + 0 is +0, and what remains is -0, which compares equal. The largest
    finite float counts as ∞, as exporters write "no limit": finite values pass either unchanged.
    """

    name: str = "eliminate_neutral_operand"
    kinds: tuple[str, ...] = ("add", "sub", "mul", "div", "maximum", "minimum")

    def apply(self, node: Node, build: Builder) -> Sequence[Value] | NoMatch:
        """Forward x, through its activation if the node has one fused."""
        x, number = node.operand(0), uniform(node.operand(1))
        if number is None:
            return no_match("the right operand is not a constant of equal elements")
        if not self._is_neutral(node.kind, number, x.dtype):
            return no_match(f"{number:g} is not neutral")
        if x.shape != node.result.shape:
            return no_match("the constant broadcasts x to a larger shape")
        activation = activation_of(node)
        if activation is not NONE:
            return [activated(build, x, activation)]
        return forward(node, x)

    def _is_neutral(self, kind: str, number: float, dtype: DType) -> bool:
        if kind == "maximum":
            return dtype.is_float and number <= -_LARGEST
        if kind == "minimum":
            return dtype.is_float and number >= _LARGEST
        return number == (0.0 if kind in ("add", "sub") else 1.0)


@dataclass(frozen=True, slots=True)
class SubtractionToAddition:
    """x - c → x + (-c), which is exact"""

    name: str = "subtraction_to_addition"
    kinds: tuple[str, ...] = ("sub",)

    def apply(self, node: Node, build: Builder) -> Sequence[Value] | NoMatch:
        """Negate the constant."""
        c = float_constant(node.operand(1))
        if c is None or node.operand(0).is_constant:
            return no_match("the right operand is not the only float constant")
        negated = build.constant(np.negative(c), name=node.operand(1).name)
        return [build.op("add", [node.operand(0), negated], AddAttributes(activation_of(node)))]


@dataclass(frozen=True, slots=True)
class DivisionToMultiplication:
    """x / c → x * (1 / c): div has no delegated int8 kernel, mul has, and a product fuses into weights

    Exact for powers of two, else within a relative error of 2^-23 (two roundings in place of one).
    """

    name: str = "division_to_multiplication"
    kinds: tuple[str, ...] = ("div",)

    def apply(self, node: Node, build: Builder) -> Sequence[Value] | NoMatch:
        """Invert the constant where every reciprocal is a finite, normal float."""
        c = float_constant(node.operand(1))
        if c is None or node.operand(0).is_constant:
            return no_match("the divisor is not the only float constant")
        with np.errstate(divide="ignore"):
            inverse = 1.0 / c.astype(np.float64)
        if not _is_normal(inverse):
            return no_match("a reciprocal is not a finite, normal float")
        factor = build.constant(inverse.astype(np.float32), name=node.operand(1).name)
        return [build.op("mul", [node.operand(0), factor], MulAttributes(activation_of(node)))]


def _is_normal(array: Array) -> bool:
    size = np.abs(array)
    return bool(np.all((size >= np.finfo(np.float32).tiny) & (size <= _LARGEST)))


@dataclass(frozen=True, slots=True)
class MergeConstants:
    """(x * a) * b → x * (a b),  (x + a) + b → x + (a + b)

    The merged constant is computed in float64: one rounding in place of two.
    """

    name: str = "merge_constants"
    kinds: tuple[str, ...] = ("add", "mul")

    def apply(self, node: Node, build: Builder) -> Sequence[Value] | NoMatch:
        """Merge with the node before, if nobody else reads it."""
        inner = owned(node.operand(0), node.kind)
        if inner is None or activation_of(inner) is not NONE:
            return no_match(f"the left operand is not an unshared {node.kind} without activation")
        a, b = float_constant(inner.operand(1)), float_constant(node.operand(1))
        if a is None or b is None or inner.operand(0).is_constant:
            return no_match("the right operands are not float constants")
        if np.broadcast(a, b).size > max(a.size, b.size):
            return no_match("the merged constant would be larger than either")
        merged = _merged(node.kind, a, b)
        if merged is None:
            return no_match("the merged constant would overflow, vanish, or undo a rounding")
        constant = build.constant(merged, name=node.operand(1).name)
        return [build.op(node.kind, [inner.operand(0), constant], node.attributes)]


def _merged(kind: str, a: Array, b: Array) -> Array | None:
    wide = (a.astype(np.float64), b.astype(np.float64))
    if kind == "add":
        if max(np.abs(part).max(initial=0.0) for part in wide) >= _ROUNDING_TRICK:
            return None
        return np.asarray(wide[0] + wide[1], np.float32)
    product = np.asarray(wide[0] * wide[1])
    small = np.abs(product) < np.finfo(np.float32).tiny
    exact_zero = (wide[0] == 0) | (wide[1] == 0)
    if np.any(small & ~exact_zero) or np.abs(product).max(initial=0.0) > _LARGEST:
        return None
    return product.astype(np.float32)


@dataclass(frozen=True, slots=True)
class ReplacePower:
    """pow(x, 2), square(x) → x * x;  pow(x, 3) → x * x * x;  pow(x, ½) → sqrt(x);  pow(x, 1) → x

    and pow(x, -1) → 1 / x, pow(x, -½) → 1 / sqrt(x). pow and square have no int8 kernel, and pow is never
    delegated. rsqrt is not used: XNNPACK's is NaN at 0, where this is ∞.
    Exact, but for pow(x, 3), pow(x, -½) (two roundings) and pow(-∞, ±½), which sqrt makes NaN.
    """

    name: str = "replace_power"
    kinds: tuple[str, ...] = ("pow", "square")

    def apply(self, node: Node, build: Builder) -> Sequence[Value] | NoMatch:
        """Spell the power in delegated operators."""
        x = node.operand(0)
        exponent = 2.0 if node.kind == "square" else uniform(node.operand(1))
        if x.dtype is not DType.FLOAT32 or exponent is None or x.shape != node.result.shape:
            return no_match("x is not float32, or the exponent is no single number")
        if exponent == 1.0:
            return forward(node, x)
        result = _power(build, x, exponent)
        return no_match(f"no cheaper operator raises to {exponent:g}") if result is None else [result]


def _power(build: Builder, x: Value, exponent: float) -> Value | None:
    if exponent == 2.0:
        return build.op("mul", [x, x])
    if exponent == 3.0:
        return build.op("mul", [build.op("mul", [x, x]), x])
    if exponent == 0.5:
        return build.op("sqrt", [x])
    if exponent == -1.0:
        return build.op("div", [build.constant(1.0), x])
    if exponent == -0.5:
        return build.op("div", [build.constant(1.0), build.op("sqrt", [x])])
    return None


__all__ = [
    "DivisionToMultiplication",
    "EliminateNeutralOperand",
    "MergeConstants",
    "OrderOperands",
    "ReplacePower",
    "SubtractionToAddition",
]
