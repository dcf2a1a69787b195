"""Hard swish and hard sigmoid, from ops that XNNPACK has in int8.

    hard_swish(x)                          → mul(x, mul(relu6(x + 3), 1/6))
    conv_2d(x, w, b) {RELU6} * 1/6         → min(conv_2d(x, w/6, b/6) {RELU}, 1)

The first is a chain on one operand, which XNNPACK turns into a single table. Folding its 1/6 into what reads
it gains nothing there: the chain is one table with or without.

The second is a hard sigmoid as squeeze-and-excite blocks have it. The minimum is idle in int8: the result's
range ends at 1 and so do its integers (`legalize.clamps` removes it). That saves a node and a rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgec.ir import DType, Node, Value
from edgec.ops import ActivationFunctionType, Builder
from edgec.ops.elementwise import AddAttributes
from edgec.passes.canonicalize.matching import NONE, activation_of, uniform
from edgec.passes.fuse.weighted import (
    KINDS_WITHOUT_ACTIVATION,
    bias_of,
    fits_float32,
    weights_of,
    with_numbers,
)
from edgec.rewrite import NoMatch, no_match

_RELU = ActivationFunctionType.RELU
_RELU6 = ActivationFunctionType.RELU6


@dataclass(frozen=True)
class DecomposeHardSwish:
    """`hard_swish(x) → mul(x, mul(relu6(x + 3), 1/6))`."""

    name: str = "decompose_hard_swish"
    kinds: tuple[str, ...] = ("hard_swish",)

    def apply(self, node: Node, build: Builder) -> Sequence[Value] | NoMatch:
        """Use add with fused relu6, which the delegate has in int8."""
        x = node.operand(0)
        gate = build.op("add", [x, build.constant(3.0)], AddAttributes(_RELU6))
        gate = build.op("mul", [gate, build.constant(np.asarray(1 / 6, np.float32))])
        return [build.op("mul", [x, gate])]


@dataclass(frozen=True)
class AbsorbScaleBehindRelu6:
    """conv_2d(x, w, b) {RELU6} * k → min(conv_2d(x, k w, k b) {RELU}, 6 k)"""

    name: str = "absorb_scale_behind_relu6"
    kinds: tuple[str, ...] = ("mul",)

    def apply(self, node: Node, build: Builder) -> Sequence[Value] | NoMatch:
        """Scale the weights; the upper end of the clamp moves along."""
        x, k = node.operand(0), uniform(node.operand(1))
        if k is None or k <= 0 or node.result.dtype is not DType.FLOAT32 or activation_of(node) is not NONE:
            return no_match("not a float product with one positive constant")
        target = x.producer if x.has_single_use() else None
        facts = None if target is None else weights_of(target)
        if target is None or facts is None or target.kind in KINDS_WITHOUT_ACTIVATION:
            return no_match("the operand is not an unshared result of a node with constant weights")
        if activation_of(target) is not _RELU6 or x.shape != node.result.shape:
            return no_match("the operand's activation is not relu6")
        weights = np.multiply(target.operand(facts.operand).constant(), np.float64(k))
        bias = bias_of(target, facts)
        bias = None if bias is None else bias * k
        if not fits_float32(weights, bias):
            return no_match("the scaled numbers do not fit float32")
        y = with_numbers(build, target, facts, weights=weights, bias=bias, activation=_RELU)
        return [build.op("minimum", [y, build.constant(np.asarray(6 * k, np.float32))])]
