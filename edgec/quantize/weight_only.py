"""Weight-only: constants become int8 or int4, read through `dequantize`; arithmetic stays float32.

    conv_2d(x, w, b)      →  conv_2d(x, dequantize(int8 w), b)
    gather(table, rows)   →  gather(dequantize(int8 table), rows)

A quarter or an eighth of the size, no calibration, every operator. Scales are per axis: any axis will do, as
no kernel multiplies integers. XNNPACK folds an int8 dequantize while it prepares, and memory and speed are
those of the float model. It does not know an int4 one: there the builtin kernels run dequantize, once, and
every node that reads its result.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from edgec.ir import DType, Model, Node, TensorType, Value
from edgec.ops import spec_of
from edgec.ops.matmul import BatchMatMulAttributes
from edgec.ops.recurrent import StatefulAttributes
from edgec.quantize.parameters import MIN_INT4_ELEMENTS, MIN_WEIGHT_SCALE, Form, weight_quantization
from edgec.quantize.rebuild import Rebuilt
from edgec.quantize.roles import is_real
from edgec.quantize.weights import ChosenWeights, weight_integers, weight_scales

MIN_ELEMENTS = 256
"""Smaller constants save less than the extra node and the scales cost."""


def quantize_weight_only(
    model: Model,
    dtype: DType = DType.INT8,
    *,
    chosen_weights: Mapping[Value, ChosenWeights] = MappingProxyType({}),
) -> Model:
    """Return a model whose weights and tables are stored as integers.

    Args:
        model: float32, after the float pipeline.
        dtype: int8, or int4 for what is large enough to gain (`MIN_INT4_ELEMENTS`).
        chosen_weights: integers to take for weight tensors of `model.graph` instead of rounding to nearest.
    """
    new = Rebuilt(model.graph.name)
    for value in model.graph.inputs:
        new.input(value, value.type)
    expanded: dict[tuple[Value, int | None], Value] = {}
    for node in model.graph:
        axes = stored_operands(node)
        operands: list[Value | None] = []
        for index, value in enumerate(node.operands):
            if value is not None and index in axes:
                key = value, axes[index]
                if key not in expanded:
                    form = _form(key, _stored_type(value, dtype), chosen_weights)
                    expanded[key] = _expanded(new, value, form, chosen_weights)
                operands.append(expanded[key])
            else:
                operands.append(value and new.untouched(value))
        new.copy(node, operands, [None] * len(node.results))
    new.graph.set_outputs(new.untouched(value) for value in model.graph.outputs)
    return replace(model, graph=new.graph)


def stored_operands(node: Node) -> dict[int, int | None]:
    """Return which operands are stored as integers, and the axis of their scales."""
    return {
        index: axis
        for index, axis in _weight_axes(node).items()
        if (value := node.optional_operand(index)) is not None
        and value.data is not None
        and is_real(value)
        and value.data.size >= MIN_ELEMENTS
    }


def _weight_axes(node: Node) -> dict[int, int | None]:
    facts = spec_of(node).quant.weights
    if isinstance(node.attributes, BatchMatMulAttributes):
        rank = node.operand(1).type.rank
        return {1: rank - 2 if node.attributes.adj_y else rank - 1}
    if facts is not None:
        return {facts.operand: facts.quantized_dimension if facts.per_axis else None}
    real = [index for index, value in enumerate(node.operands) if is_real(value)]
    matrices = [index for index in real if node.operand(index).type.rank == 2]
    if isinstance(node.attributes, StatefulAttributes):
        return dict.fromkeys(matrices, 0)
    picks = all(node.operand(index).is_constant for index in real)
    return dict.fromkeys(matrices, 0) if picks else {}  # a table that only indices pick from


def _stored_type(value: Value, dtype: DType) -> DType:
    return dtype if value.constant().size >= MIN_INT4_ELEMENTS else DType.INT8


def _form(key: tuple[Value, int | None], dtype: DType, chosen: Mapping[Value, ChosenWeights]) -> Form:
    value, axis = key
    choice = chosen.get(value)
    matches = choice is not None and choice.dtype is dtype
    scales = choice.scales.copy() if choice and matches else weight_scales(value.constant(), axis, dtype)
    scales[scales < MIN_WEIGHT_SCALE] = 1.0  # zeros, under any scale
    return Form(dtype, weight_quantization(scales, axis))


def _expanded(new: Rebuilt, value: Value, form: Form, chosen: Mapping[Value, ChosenWeights]) -> Value:
    """Return the float32 form of a constant, made at run time from its integers."""
    stored = new.constant(value, form, lambda: weight_integers(value.constant(), form, chosen.get(value)))
    result = Value(new.graph.unique_name(f"{value.name}/dequantize"), TensorType(value.shape))
    new.graph.insert(Node("dequantize", [stored], [result], source=value.name))
    return result
