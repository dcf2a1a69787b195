"""Dynamic range: integer weights, float activations that the kernels quantize row by row as they run.

    conv_2d(x, w, b)          →  conv_2d(x, int8 w, b)          a quarter of the size, no calibration needed
    fully_connected(x, w, b)  →  fully_connected(x, int4 w, b)  an eighth, where int4 is asked for

Only kernels that gain are changed. Depthwise weights stay float: their hybrid kernel is outside XNNPACK and
slower than float (18 ms against 8 ms on MobileNetV2). So do weights below 1024 elements. int4 is for
fully_connected, which XNNPACK runs; an int4 conv_2d runs in the builtin kernels alone, so it is a choice.

    blocks      every 32 (64, 128, 256) neighbours of a row have a scale of their own, in float16
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from edgec.ir import Attributes, DType, Model, Node, Quantization, Value
from edgec.ops import spec_of
from edgec.ops.matmul import BatchMatMulAttributes, FullyConnectedAttributes
from edgec.ops.spec import Weights
from edgec.quantize.parameters import MIN_WEIGHT_SCALE, Form, weight_quantization
from edgec.quantize.rebuild import Rebuilt
from edgec.quantize.weights import ChosenWeights, weight_integers, weight_scales

MIN_ELEMENTS = 1024
BLOCK_SIZES = (32, 64, 128, 256)
_LEAST_FLOAT16 = float(np.finfo(np.float16).tiny)


@dataclass(frozen=True, slots=True)
class DynamicWeights:
    """The form of weights: int8, or int4 for `int4_kinds`, in blocks if `block_size` is not 0."""

    dtype: DType = DType.INT8
    int4_kinds: Collection[str] = ("fully_connected",)
    block_size: int = 0
    chosen: Mapping[Value, ChosenWeights] = field(default_factory=dict[Value, ChosenWeights])

    def __post_init__(self) -> None:
        if self.block_size not in (0, *BLOCK_SIZES):
            raise ValueError(f"block size {self.block_size} is none of {BLOCK_SIZES}")

    def type_for(self, node: Node, facts: Weights) -> DType:
        """Return the element type of a node's weights."""
        takes_int4 = DType.FLOAT32 in facts.int4 and node.kind in self.int4_kinds
        return self.dtype if takes_int4 else DType.INT8


_INT8 = DynamicWeights()


def quantize_dynamic(model: Model, weights: DynamicWeights = _INT8) -> Model:
    """Return a model whose larger weights are integers, symmetric, per axis where the kernel has it."""
    new = Rebuilt(model.graph.name)
    for value in model.graph.inputs:
        new.input(value, value.type)
    for node in model.graph:
        operands = [value and new.untouched(value) for value in node.operands]
        attributes = node.attributes
        facts = spec_of(node).quant.weights
        if facts is not None and _gains(node, facts):
            operands[facts.operand] = _weights(node, facts, weights, new)
            attributes = _asymmetric(attributes)
        new.copy(node, operands, [None] * len(node.results), attributes)
    new.graph.set_outputs(new.untouched(value) for value in model.graph.outputs)
    return replace(model, graph=new.graph)


def _gains(node: Node, facts: Weights) -> bool:
    weights = node.operand(facts.operand)
    return (
        facts.hybrid
        and weights.data is not None
        and weights.dtype is DType.FLOAT32
        and node.operand(facts.data).dtype is DType.FLOAT32
        and weights.data.size >= MIN_ELEMENTS
    )


def _weights(node: Node, facts: Weights, form: DynamicWeights, new: Rebuilt) -> Value:
    value, dtype = node.operand(facts.operand), form.type_for(node, facts)
    if dtype is DType.INT4 and form.block_size:
        blocks = _blocks(value, form.block_size, new)
        if blocks is not None:
            return blocks
    axis = facts.quantized_dimension if facts.per_axis else None
    chosen = form.chosen.get(value)
    matches = chosen is not None and chosen.dtype is dtype
    scales = chosen.scales.copy() if chosen and matches else weight_scales(value.constant(), axis, dtype)
    scales[scales < MIN_WEIGHT_SCALE] = 1.0  # zeros, under any scale
    made = Form(dtype, weight_quantization(scales, axis))
    return new.constant(value, made, lambda: weight_integers(value.constant(), made, chosen))


def _blocks(value: Value, size: int, new: Rebuilt) -> Value | None:
    """Return weights `[rows, depth]` in blocks; None where rows do not divide, or float16 is too coarse."""
    data = value.constant()
    if data.ndim != 2 or data.shape[1] % size:
        return None
    rows = data.reshape(-1, size)
    scales = weight_scales(rows, 0, DType.INT4)
    if (scales[scales > 0] < _LEAST_FLOAT16).any():
        return None
    scales[scales == 0] = 1.0
    rounded = scales.astype(np.float16).astype(np.float64)
    per_row = Form(DType.INT4, weight_quantization(rounded, 0))
    stored = tuple(rounded.tolist())
    form = Form(DType.INT4, Quantization(stored, (0,) * len(stored), block_size=size))
    return new.constant(value, form, lambda: weight_integers(rows, per_row).reshape(data.shape))


def _asymmetric(attributes: Attributes) -> Attributes:
    """Ask for asymmetric activations where kernels have the choice: one-sided data keeps its eighth bit."""
    if isinstance(attributes, FullyConnectedAttributes | BatchMatMulAttributes):
        return replace(attributes, asymmetric_quantize_inputs=True)
    return attributes
