"""Clamps of int8 tensors: idle where integers end, and maximum and minimum from ops that XNNPACK has.

    maximum(x, c), c = -128; minimum(x, c), c = 127              → x
    max_pool_2d(x, 1x1) {RELU}, zero point -128                  → x
    maximum(a, b)                                                → b + relu(a - b)
    minimum(a, b)                                                → a - relu(a - b)

All three tensors of a maximum share scale s and zero point. relu(a - b) lies in [0, 255 s], so with zero
point -128 and the same s it is a whole number of steps, and so is the sum: every integer comes out as from
the node itself, in every kernel library.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf

import numpy as np

from edgec.ir import DType, Node, Quantization, Value
from edgec.legalize.moves import XNNPACK_MAX_RANK, types_run
from edgec.ops import ActivationFunctionType, Builder
from edgec.ops.elementwise import AddAttributes, SubAttributes
from edgec.ops.infer import expect
from edgec.ops.pool import Pool2DAttributes
from edgec.passes.canonicalize.matching import ACTIVATION_BOUNDS, forward
from edgec.rewrite import NoMatch, no_match

_LOW, _HIGH = -128, 127
_CONSTANT_ENDS = {"maximum": _LOW, "minimum": _HIGH}


@dataclass(frozen=True)
class EliminateIdleClamp:
    """maximum(x, -128) → x; max_pool_2d(x, 1x1) {RELU} → x where no integer stands for less than zero"""

    name: str = "eliminate_idle_clamp"
    kinds: tuple[str, ...] = ("maximum", "minimum", "max_pool_2d")

    def apply(self, node: Node, build: Builder) -> Sequence[Value] | NoMatch:
        """Forward the operand."""
        x = node.operand(0)
        if x.dtype is not DType.INT8 or x.type != node.result.type:
            return no_match("not an int8 node whose result is like its operand")
        idle = _is_idle_pool(node) if node.kind == "max_pool_2d" else _is_idle_limit(node)
        return forward(node, x) if idle else no_match("some integers are clipped")


def _is_idle_limit(node: Node) -> bool:
    limit = node.operand(1)
    if limit.data is None or limit.type.quantization != node.result.type.quantization:
        return False
    return bool(np.all(limit.data == _CONSTANT_ENDS[node.kind]))


def _is_idle_pool(node: Node) -> bool:
    """Whether a pool looks at one pixel a window and its activation clips no integer."""
    pool = expect(node.attributes, Pool2DAttributes)
    window = (pool.filter_height, pool.filter_width, pool.stride_h, pool.stride_w)
    quantization = node.result.type.quantization
    if window != (1, 1, 1, 1) or quantization is None:
        return False
    (scale,), (zero_point,) = quantization.scale, quantization.zero_point
    low, high = ACTIVATION_BOUNDS[pool.fused_activation_function]
    clips_low = low > -inf and zero_point + round(low / scale) > _LOW
    clips_high = high < inf and zero_point + round(high / scale) < _HIGH
    return not clips_low and not clips_high


@dataclass(frozen=True)
class DecomposeMaximum:
    """maximum(a, b) → add(sub(a, b) {RELU}, b); minimum(a, b) → sub(a, sub(a, b) {RELU})"""

    name: str = "decompose_maximum"
    kinds: tuple[str, ...] = ("maximum", "minimum")

    def apply(self, node: Node, build: Builder) -> Sequence[Value] | NoMatch:
        """Take the difference where it is positive, exactly."""
        a, b, form = node.operand(0), node.operand(1), node.result.type.quantization
        if node.result.dtype is not DType.INT8 or form is None:
            return no_match(f"{node.result.dtype} is not quantized int8")
        if a.type.quantization != form or b.type.quantization != form:
            return no_match("operands and result differ in scale")
        if DType.INT8 in types_run(node.kind, "xnnpack") or a.is_constant:
            return no_match("XNNPACK runs it, or the left operand is a constant")
        if not node.result.type.is_static or node.result.type.rank > XNNPACK_MAX_RANK:
            return no_match("the shape is dynamic or of rank above 6")
        relu = SubAttributes(ActivationFunctionType.RELU)
        above = _typed(build.op("sub", [a, b], relu), Quantization.per_tensor(form.scale[0], _LOW))
        if node.kind == "maximum":
            return [_typed(build.op("add", [above, b], AddAttributes()), form)]
        return [_typed(build.op("sub", [a, above], SubAttributes()), form)]


def _typed(value: Value, quantization: Quantization) -> Value:
    value.type = replace(value.type, quantization=quantization)
    return value
