"""Rules around pooling: padding before a maximum, and averages over the whole image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgec.ir import DType, Node, Value
from edgec.legalize.moves import Moves
from edgec.ops import ActivationFunctionType, Builder, Padding, spec_of
from edgec.ops.infer import expect
from edgec.ops.pool import Pool2DAttributes
from edgec.ops.reduce import ReducerAttributes
from edgec.ops.spec import NonNegative
from edgec.rewrite import NoMatch, no_match

_CLAMPED = (ActivationFunctionType.RELU, ActivationFunctionType.RELU6)


def is_non_negative(value: Value) -> bool:
    """Whether no element of a value can be below zero, as far as its producers tell."""
    pending, seen = [value], set[Value]()
    while pending:
        at = pending.pop()
        if at in seen:
            continue
        seen.add(at)
        if at.data is not None:
            if at.type.quantization is not None or np.asarray(at.data, np.float64).min(initial=0) < 0:
                return False
            continue
        node = at.producer
        if node is None:
            return False
        spec = spec_of(node)
        if spec.non_negative is NonNegative.ALWAYS or _is_clamped(node):
            continue
        if spec.non_negative is NonNegative.UNKNOWN:
            return False
        pending += _data_operands(node)
    return True


def _is_clamped(node: Node) -> bool:
    return getattr(node.attributes, "fused_activation_function", None) in _CLAMPED


def _data_operands(node: Node) -> list[Value]:
    """Return the operands whose elements make the result: all of one that joins, both of a binary op."""
    spec = spec_of(node)
    if spec.variadic or spec.operands == ("x", "y"):
        return [value for value in node.operands if value is not None]
    return [node.operand(spec.data_operand)]


@dataclass(frozen=True)
class DecomposePadV2:
    """padv2(x, -inf) ─ max_pool_2d, x ≥ 0 → pad(x) ─ max_pool_2d; and padv2(x, 0) → pad(x).

    The maximum of a window that holds at least one element of x ≥ 0 is the same whether its padding is zero
    or lower. XNNPACK takes PAD, which pads with zero (the zero point of a quantized tensor), and no PADV2.
    """

    name: str = "decompose_padv2"
    kinds: tuple[str, ...] = ("padv2",)

    def apply(self, node: Node, build: Builder) -> Sequence[Value] | NoMatch:
        """Pad with zero where that cannot be seen."""
        x, filler = node.operand(0), node.operand(2).data
        if filler is None or node.operand(1).data is None:
            return no_match("paddings or value are not constant")
        if x.dtype not in (DType.FLOAT32, DType.INT8):
            return no_match(f"element type is {x.dtype}")
        if node.result.type.quantization != x.type.quantization:
            return no_match("operand and result differ in scale")
        quantization = x.type.quantization
        zero = quantization.zero_point[0] if quantization is not None else 0
        level = float(filler.reshape(-1)[0])
        if level > zero:
            return no_match(f"pads with {level:g}, above zero")
        if level < zero:
            refused = _seen_by_readers(node)
            if refused is not None:
                return refused
            if not is_non_negative(x):
                return no_match("the operand may be negative")
        return [Moves.like(x, build).pad(x, node.operand(1).constant().tolist())]


def _seen_by_readers(node: Node) -> NoMatch | None:
    """Say why the value of the padding shows in a result."""
    if node.result.is_graph_output or any(user.kind != "max_pool_2d" for user in node.result.users):
        return no_match("it is not read by max_pool_2d alone")
    paddings = np.asarray(node.operand(1).constant(), np.int64)
    if paddings[[0, 3]].any():
        return no_match("it pads the batch or the channels")
    for pool in node.result.users:
        options = expect(pool.attributes, Pool2DAttributes)
        windows = ((options.filter_height, options.stride_h), (options.filter_width, options.stride_w))
        for axis, (window, stride) in zip((1, 2), windows, strict=True):
            if options.padding is Padding.SAME:
                return no_match("the pool pads too")
            low, inside = int(paddings[axis, 0]), node.operand(0).shape[axis]
            starts = range(0, node.result.shape[axis] - window + 1, stride)
            if any(at + window <= low or at >= low + inside for at in starts):
                return no_match("a window of the pool holds nothing but padding")
    return None


@dataclass(frozen=True)
class DecomposeGlobalAveragePool:
    """average_pool_2d over the whole image → mean over height and width.

    XNNPACK runs MEAN for int8, AVERAGE_POOL_2D for float only; in float the two differ by rounding.
    """

    name: str = "decompose_global_average_pool"
    kinds: tuple[str, ...] = ("average_pool_2d",)

    def apply(self, node: Node, build: Builder) -> Sequence[Value] | NoMatch:
        """Reduce both axes and keep them."""
        options, x = expect(node.attributes, Pool2DAttributes), node.operand(0)
        if node.result.shape[1:3] != (1, 1) or (options.filter_height, options.filter_width) != x.shape[1:3]:
            return no_match("the window is not the whole image")
        if options.fused_activation_function is not ActivationFunctionType.NONE:
            return no_match("an activation is fused")
        if x.dtype not in spec_of(node).support.xnnpack and x.dtype is not DType.INT8:
            return no_match(f"element type is {x.dtype}")
        mean = build.op("mean", [x, build.constant([1, 2])], ReducerAttributes(keep_dims=True))
        return [Moves.like(node.result, build).scaled(mean)]
