"""Hard sigmoid and hard swish, however they are spelled.

    hard_sigmoid:  clip(a x + b, 0, 1)  =  relu6(6a x + 6b) / 6
    hard_swish:    x · relu6(x + 3) / 6

clip to [0, 1] needs maximum and minimum, which have no delegated int8 kernel; relu6 fuses into the sum before
it. Numbers are compared within 1e-6 of their own size: 1/6 and 0.16666667 are the same in float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isclose

import numpy as np

from edgec.ir import DType, Node, Value
from edgec.ops import ActivationFunctionType, Builder
from edgec.passes.canonicalize.matching import NONE, activation_of, float_constant, made_by, owned, uniform
from edgec.passes.contract import RulePass
from edgec.passes.fuse.weighted import Wide
from edgec.rewrite import NoMatch, no_match

_RELATIVE = 1e-6


@dataclass(frozen=True, slots=True)
class FuseHardSigmoid:
    """min(relu(x * a + b), 1), relu(min(x * a + b, 1)) → relu6(x * 6a + 6b) * (1/6);  a = 1/6: relu6(x + 6b)

    The results differ by roundings: at most 3e-7.
    """

    name: str = "fuse_hard_sigmoid"
    kinds: tuple[str, ...] = ("minimum", "relu")

    def apply(self, node: Node, build: Builder) -> Sequence[Value] | NoMatch:
        """Scale the line by 6, clip by relu6, and scale back."""
        line = _clipped_line(node)
        if line is None or node.result.dtype is not DType.FLOAT32:
            return no_match("not an unshared sum clipped to [0, 1]")
        scaled = owned(line.operand(0), "mul")
        x = line.operand(0) if scaled is None else scaled.operand(0)
        a = None if scaled is None else uniform(scaled.operand(1))
        b = uniform(line.operand(1))
        if scaled is None or a is None or b is None or activation_of(scaled) is not NONE:
            return no_match("the sum is not x * a + b with one a and one b")
        if x.shape != node.result.shape:
            return no_match("x broadcasts")
        steep = x if _near(6 * a, 1) else build.op("mul", [x, build.constant(6 * a)])
        shifted = build.op("add", [steep, build.constant(6 * b)])
        return [build.op("mul", [build.op("relu6", [shifted]), build.constant(1 / 6)])]


def _clipped_line(node: Node) -> Node | None:
    """Return the sum that a minimum and a relu clip to [0, 1], in either order; it may hold the relu."""
    if node.kind == "relu":
        inner = owned(node.operand(0), "minimum")
        if inner is None or uniform(inner.operand(1)) != 1.0:
            return None
        line = owned(inner.operand(0), "add")
        return line if line is not None and activation_of(line) is NONE else None
    if uniform(node.operand(1)) != 1.0:
        return None
    relu = owned(node.operand(0), "relu")
    line = owned(node.operand(0) if relu is None else relu.operand(0), "add")
    wanted = ActivationFunctionType.RELU if relu is None else NONE
    return line if line is not None and activation_of(line) is wanted else None


@dataclass(frozen=True, slots=True)
class FuseHardSwish:
    """x * relu6(x + 3) * k, multiplied in any order → hard_swish(x) * 6k;  k = 1/6: hard_swish(x)

    The 1/6 may have merged with a factor behind it. The results differ by roundings: a relative 4e-7.
    """

    name: str = "fuse_hard_swish"
    kinds: tuple[str, ...] = ("mul",)

    def apply(self, node: Node, build: Builder) -> Sequence[Value] | NoMatch:
        """Take the product apart and look for the three factors."""
        if node.result.dtype is not DType.FLOAT32 or activation_of(node) is not NONE:
            return no_match("not a float product without activation")
        factors = _factors(node.operand(0)) + _factors(node.operand(1))
        constants = [value for value in factors if value.is_constant]
        others = [value for value in factors if not value.is_constant]
        k = float_constant(constants[0]) if len(constants) == 1 else None
        if k is None or len(others) != 2:
            return no_match("not a product of two values and a constant")
        for x, gate in (others, others[::-1]):
            if _gated(gate) is x:
                return [_swished(build, x, 6 * k.astype(np.float64), node)]
        return no_match("no factor is relu6(x + 3) of another")


def _swished(build: Builder, x: Value, factor: Wide, node: Node) -> Value:
    y = build.op("hard_swish", [x])
    if x.shape == node.result.shape and np.allclose(factor, 1, rtol=_RELATIVE, atol=0):
        return y
    return build.op("mul", [y, build.constant(factor.astype(np.float32))])


def _factors(value: Value) -> list[Value]:
    """Return what is multiplied to make a value: unshared products are taken apart."""
    product = owned(value, "mul")
    if product is None or activation_of(product) is not NONE:
        return [value]
    return _factors(product.operand(0)) + _factors(product.operand(1))


def _gated(gate: Value) -> Value | None:
    """Return x where `gate` is relu6(x + 3)."""
    relu6 = made_by(gate, "relu6")
    line = made_by(gate if relu6 is None else relu6.operand(0), "add")
    wanted = ActivationFunctionType.RELU6 if relu6 is None else NONE
    if line is None or activation_of(line) is not wanted:
        return None
    shift = uniform(line.operand(1))
    return line.operand(0) if shift is not None and _near(shift, 3) else None


def _near(number: float, wanted: float) -> bool:
    return isclose(number, wanted, rel_tol=_RELATIVE)


FUSE_HARD_ACTIVATIONS = RulePass("fuse_hard_activations", (FuseHardSigmoid(), FuseHardSwish()))
