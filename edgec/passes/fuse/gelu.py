"""GELU as exporters spell it: x · ½ · (1 + erf(x / √2)), multiplied in any order.

The erf is by now a quotient of polynomials, and the rules that simplify arithmetic would take it apart: this
pass runs before them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isclose, sqrt

from edgec.ir import DType, Node, Value
from edgec.ops import Builder
from edgec.ops.elementwise import GeluAttributes
from edgec.ops.erf import erf_argument
from edgec.passes.canonicalize.matching import NONE, activation_of, made_by, owned, uniform
from edgec.passes.contract import RulePass
from edgec.rewrite import NoMatch, no_match

_RELATIVE = 1e-6


@dataclass(frozen=True, slots=True)
class FuseGelu:
    """x * 0.5 * (1 + erf(x / √2)) → gelu(x); the results differ by rounding, at most 1e-6 of max(1, |x|)."""

    name: str = "fuse_gelu"
    kinds: tuple[str, ...] = ("mul",)

    def apply(self, node: Node, build: Builder) -> Sequence[Value] | NoMatch:
        """Split the product into its factors and find x twice: plain, and inside the erf."""
        constant, factors = _factors(node)
        if node.result.dtype is not DType.FLOAT32 or not isclose(constant, 0.5, rel_tol=_RELATIVE):
            return no_match("not a float product with a factor of one half")
        for sum_, x in (factors, factors[::-1]) if len(factors) == 2 else ():
            if _erf_of(sum_) is x and x.shape == node.result.shape:
                return [build.op("gelu", [x], GeluAttributes(approximate=False))]
        return no_match("the other factors are not x and 1 + erf(x / √2)")


def _factors(node: Node) -> tuple[float, list[Value]]:
    """Return the constant part and the other factors of a product of unshared muls."""
    constant, factors = 1.0, list[Value]()
    pending = [node]
    while pending:
        product = pending.pop()
        if activation_of(product) is not NONE:
            return 0.0, []
        for value in (product.operand(0), product.operand(1)):
            inner, number = owned(value, "mul"), uniform(value)
            if number is not None:
                constant *= number
            elif inner is not None and _erf_of(value) is None and _divided(value) is None:
                pending.append(inner)
            else:
                factors.append(value)
    return constant, factors


def _erf_of(value: Value) -> Value | None:
    """Return x where `value` is 1 + erf(x / √2)."""
    sum_ = made_by(value, "add")
    if sum_ is None or activation_of(sum_) is not NONE:
        return None
    for term, one in ((sum_.operand(0), sum_.operand(1)), (sum_.operand(1), sum_.operand(0))):
        argument = erf_argument(term) if uniform(one) == 1.0 else None
        if argument is not None:
            return _divided(argument)
    return None


def _divided(value: Value) -> Value | None:
    """Return x where `value` is x / √2."""
    node = made_by(value, "div", "mul")
    factor = uniform(node.operand(1)) if node is not None else None
    if node is None or factor is None:
        return None
    wanted = sqrt(2) if node.kind == "div" else sqrt(0.5)
    return node.operand(0) if isclose(factor, wanted, rel_tol=_RELATIVE) else None


FUSE_GELU = RulePass("fuse_gelu", (FuseGelu(),))
