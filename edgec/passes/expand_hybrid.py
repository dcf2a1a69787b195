"""Hybrid nodes of a TFLite source become float ones, so that another precision can be chosen for them.

    conv_2d(x: float32, w: int8 · scale)  →  conv_2d(x, w: float32)

The weights' values are what the source's integers stand for; quantizing them again with the same axis gives
the same integers back, since the largest of a channel is ±127 steps.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np

from edgec.ir import Array, Attributes, DType, Graph, Model, Node, Value
from edgec.passes.contract import PassResult


@dataclass(frozen=True)
class ExpandHybrid:
    """Gives nodes that work in float32 float constants in place of quantized ones."""

    name: str = "expand_hybrid"

    def run(self, model: Model) -> PassResult:
        """Edit all graphs; a constant that several nodes read is expanded once."""
        changed = [_expand_all(graph) for graph in model.graphs]
        return PassResult(model, any(changed))


def _expand_all(graph: Graph) -> bool:
    floats: dict[Value, Value] = {}
    changed = False
    for node in list(graph):
        hybrid = [index for index, value in enumerate(node.operands) if _is_hybrid(node, value)]
        for index in hybrid:
            value = node.operand(index)
            if value not in floats:
                floats[value] = graph.constant(_real(value), value.name)
            graph.set_operand(node, index, floats[value])
        if hybrid:
            node.attributes = _symmetric(node.attributes)
            changed = True
    return changed


def _is_hybrid(node: Node, value: Value | None) -> bool:
    return (
        value is not None
        and value.data is not None
        and value.type.quantization is not None
        and node.kind != "dequantize"
        and all(result.dtype is DType.FLOAT32 for result in node.results)
    )


def _real(value: Value) -> Array:
    """Return `scale · (q - zero_point)`, each channel with its own."""
    quantization = value.type.quantization
    assert quantization is not None
    if quantization.block_size:
        rows = value.constant().reshape(-1, quantization.block_size).astype(np.float32)
        return (rows * np.asarray(quantization.scale, np.float32)[:, None]).reshape(value.shape)
    shape = [1] * value.type.rank
    if quantization.per_axis:
        shape[quantization.quantized_dimension] = -1
    scale = np.asarray(quantization.scale, np.float32).reshape(shape)
    zero_point = np.asarray(quantization.zero_point, np.float32).reshape(shape)
    return (value.constant().astype(np.float32) - zero_point) * scale


def _symmetric(attributes: Attributes) -> Attributes:
    """Drop the choice that only hybrid kernels have."""
    if any(field.name == "asymmetric_quantize_inputs" for field in fields(attributes)):
        return replace(attributes, asymmetric_quantize_inputs=False)  # pyright: ignore[reportCallIssue]
    return attributes
