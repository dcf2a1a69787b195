"""Addends and factors too small to move an int8 result: they become constants, and so does what they make.

    add(x, y), 255 s_y < s / 4            → add(x, 0)
    mul(x, y), s_x s_y < s / 2^16         → mul(x, 0)
    quantize(x), s_x < s / 2^8            → mul(x, 0)
    all operands of a node constant       → its result is one number: a constant wherever it is read

    hard_swish(x) of |x| < 0.003:  mul(x, mul(add(x, 3) {RELU6}, 1/6))  →  mul(x, 0.5)

Untrained networks have such operands, as activations shrink from block to block, and so have dead branches.
XNNPACK takes no node with one (`Quant.ratio`), and each node outside ends a partition. A sum changes by a
quarter of a step at most, the others by one.

Where a result that is one number gives a node its shape, it stays: x becomes mul(x, 0) then.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from edgec.ir import DType, Graph, Node, Quantization, TensorType, Value
from edgec.kernels import evaluate
from edgec.ops import spec_of
from edgec.ops.elementwise import MulAttributes
from edgec.quantize.parameters import Form

_COMMUTATIVE = ("add", "mul")
_LEAST_REQUANTIZE = 2.0**-8
"""XNNPACK takes an int8 to int8 QUANTIZE with scales in a ratio from here up to 2^7."""


def settle_negligible(graph: Graph) -> bool:
    """Replace negligible operands in an integer graph; returns whether there were any.

    Nodes that nobody reads any more stay for `EliminateDead`: repairs look for the twin of every float node.
    """
    if not any(_negligible(node) or _loses_all(node) for node in graph):
        return False
    known: dict[Value, Value] = {}
    for node in graph:
        if _has_ratio(node):
            _settle(node, known)
    for node in graph:
        while small := _negligible(node):
            _silence(node, small[0])
        if _loses_all(node):
            graph.replace_node(node, [_silent(node.operand(0), node.result.type.quantization, node)])
    return True


def _has_ratio(node: Node) -> bool:
    """Whether a node is an int8 sum or product of two operands."""
    values = (*node.operands, *node.results)
    forms = [v.type.quantization for v in values if v is not None and v.dtype is DType.INT8]
    plain = all(form is not None and not form.per_axis for form in forms)
    return spec_of(node).quant.ratio is not None and len(forms) == len(values) == 3 and plain


def _loses_all(node: Node) -> bool:
    """Whether a node requantizes to a scale in which its operand is less than a step."""
    values = (*node.operands, *node.results)
    if node.kind != "quantize" or any(value is None or value.dtype is not DType.INT8 for value in values):
        return False
    return _scale(node.operand(0)) < _LEAST_REQUANTIZE * _scale(node.result)


def _negligible(node: Node) -> list[int]:
    """Return the operands that vary, but too little for the result."""
    ratio = spec_of(node).quant.ratio
    if ratio is None or not _has_ratio(node):
        return []
    scales, out = [_scale(value) for value in node.operands if value], _scale(node.result)
    sizes = [math.prod(scales)] * 2 if ratio.product else scales
    return [i for i, size in enumerate(sizes) if size < ratio.low * out and not node.operand(i).is_constant]


def _scale(value: Value) -> float:
    assert value.type.quantization is not None
    return value.type.quantization.scale[0]


def _settle(node: Node, known: dict[Value, Value]) -> None:
    """Note a result that is one number; else let the node read constants where operands are."""
    small = _negligible(node)
    found: list[Value | None] = []
    for index in range(2):
        value = node.operand(index)
        one = known.get(value) or _one_number(value)
        found.append(_zero(node, index) if one is None and index in small else one)
    first, second = found
    if first is not None and second is not None:
        known[node.result] = _computed(node, first, second)
        return
    for index, constant in enumerate(found):
        other = node.operand(1 - index)
        if constant is not None and not node.operand(index).is_constant and other.shape == node.result.shape:
            _read(node, index, constant)


def _one_number(value: Value) -> Value | None:
    """Return a constant's only number as a constant of one element."""
    if value.data is None or not value.data.size or (value.data != value.data.flat[0]).any():
        return None
    return Value(value.name, value.type.with_shape(()), value.data.reshape(-1)[:1].reshape(()))


def _zero(node: Node, index: int) -> Value:
    """Return 0 in a form that a node takes in place of an operand."""
    out, ratio = _scale(node.result), spec_of(node).quant.ratio
    scale = out / _scale(node.operand(1 - index)) if ratio is not None and ratio.product else out
    return _constant(node, node.operand(index), Form(DType.INT8, Quantization.per_tensor(scale)), 0)


def _constant(node: Node, like: Value, form: Form, number: int) -> Value:
    assert node.graph is not None
    type = TensorType((), form.dtype, form.quantization)
    return Value(node.graph.unique_name(f"{like.name}/constant"), type, np.asarray(number, np.int8))


def _computed(node: Node, first: Value, second: Value) -> Value:
    """Return what the kernel makes of two numbers."""
    assert node.graph is not None
    result = Value(node.graph.unique_name(f"{node.result.name}/constant"), node.result.type.with_shape(()))
    (data,) = evaluate([Node(node.kind, [first, second], [result], node.attributes)], [result])
    return Value(result.name, result.type, data)


def _read(node: Node, index: int, constant: Value) -> None:
    """Let a node read a constant, on the right where its kind allows."""
    graph = node.graph
    assert graph is not None
    if index == 0 and node.kind in _COMMUTATIVE:
        graph.set_operand(node, 0, node.operand(1))
        index = 1
    graph.set_operand(node, index, constant)


def _silence(node: Node, index: int) -> None:
    """Read 0 in place of an operand x, or mul(x, 0) where nothing else gives the result its shape."""
    x, graph, zero = node.operand(index), node.graph, _zero(node, index)
    assert graph is not None
    other = node.operand(1 - index)
    if other.shape == node.result.shape and not other.is_constant:
        _read(node, index, zero)
        return
    graph.set_operand(node, index, _silent(x, zero.type.quantization, node))


def _silent(x: Value, form: Quantization | None, before: Node) -> Value:
    """Return mul(x, 0) in a form: nothing but x's shape is left of it."""
    graph = before.graph
    assert graph is not None and form is not None
    scale = form.scale[0] / _scale(x)
    factor = _constant(before, x, Form(DType.INT8, Quantization.per_tensor(scale)), 0)
    silent = Value(graph.unique_name(f"{x.name}/zero"), replace(x.type, quantization=form))
    graph.insert(Node("mul", [x, factor], [silent], MulAttributes(), before.source), before)
    return silent
