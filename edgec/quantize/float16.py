"""Half-size weights: float constants become float16, read through `dequantize`; arithmetic stays float32.

    conv_2d(x, w, b)  →  conv_2d(x, dequantize(float16 w), dequantize(float16 b))

Delegates fold the dequantize while they prepare, the builtin kernels run it once.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgec.ir import Array, DType, Model, Node, TensorType, Value
from edgec.ops import spec_of
from edgec.quantize.rebuild import Rebuilt

MIN_ELEMENTS = 256
"""Smaller constants, unless they are weights or bias, save less than the extra node costs."""

_SMALLEST_NORMAL = float(np.finfo(np.float16).tiny)
_LARGEST = float(np.finfo(np.float16).max)


def quantize_float16(model: Model) -> Model:
    """Return a model with float16 constants; constants that float16 cannot hold stay float32.

    Too large for float16 is above 65504, too small is a tensor without any value above 6.1e-5, which float16
    would flush or coarsen.
    """
    new = Rebuilt(model.graph.name)
    for value in model.graph.inputs:
        new.input(value, value.type)
    expanded: dict[Value, Value] = {}
    for node in model.graph:
        operands = [
            value
            and (_expanded(value, new, expanded) if _shrinks(node, index, value) else new.untouched(value))
            for index, value in enumerate(node.operands)
        ]
        new.copy(node, operands, [None] * len(node.results))
    new.graph.set_outputs(new.untouched(value) for value in model.graph.outputs)
    return replace(model, graph=new.graph)


def _shrinks(node: Node, index: int, value: Value) -> bool:
    if value.data is None or value.dtype is not DType.FLOAT32 or not _fits(value.data):
        return False
    facts = spec_of(node).quant.weights
    return value.data.size >= MIN_ELEMENTS or (facts is not None and index in (facts.operand, facts.bias))


def _fits(data: Array) -> bool:
    largest = float(np.max(np.abs(data), initial=0.0))
    return largest == 0 or _SMALLEST_NORMAL <= largest <= _LARGEST


def _expanded(value: Value, new: Rebuilt, expanded: dict[Value, Value]) -> Value:
    """Return the float32 form of a constant, made at run time from its float16 form; once per constant."""
    if value not in expanded:
        half = new.graph.constant(value.constant().astype(np.float16), f"{value.name}/float16")
        result = Value(new.graph.unique_name(value.name), TensorType(value.shape))
        new.graph.insert(Node("dequantize", [half], [result], source=value.name))
        expanded[value] = result
    return expanded[value]
