"""Puts what was chosen for a layer into a quantized model that exists, as its quantizer would.

    conv_2d(x, w, b)  ──▶  conv_2d(x, w', b')       s_w' and q' as chosen, b' in units of s_x * s_w'

Quantizing a whole model again for every layer takes time that is quadratic in layers. A choice reaches no
further than its own node, except where its scales would make the quantizer raise a scale of activations.
"""

from __future__ import annotations

from dataclasses import replace

from edgec.ir import Array, Quantization, Value
from edgec.quantize import ChosenWeights
from edgec.quantize.parameters import Form, weight_quantization
from edgec.quantize.weights import (
    BIAS_TYPES,
    MAX_MULTIPLIER,
    guarded_scales,
    quantize_bias,
    weight_integers,
)
from edgec.repair.rounding.layers import Layer


def put(layer: Layer, twin: Layer, chosen: ChosenWeights) -> bool:
    """Give a float layer's quantized `twin` the chosen weights and the layer's bias.

    False where only the quantizer knows what would become of it: then nothing has changed.
    """
    weights, bias = twin.weights, twin.node.optional_operand(twin.bias_index)
    result, data = _plain(twin.node.results[0]), _plain(twin.data)
    if data is None or result is None or bias is None or data.dtype not in BIAS_TYPES:
        return False
    old, new = weights.type.quantization, layer.node.optional_operand(layer.bias_index)
    if weights.data is None or old is None or chosen.dtype is not weights.dtype or new is None:
        return False
    largest = max(max(old.scale), float(chosen.scales.max()))
    if bias.dtype is not BIAS_TYPES[data.dtype] or data.scale * largest > _NEAR * result.scale:
        return False
    scales = guarded_scales(chosen.scales, new.constant(), data.scale, result.scale, data.dtype)
    axis = old.quantized_dimension if old.per_axis else None
    form = Form(weights.dtype, weight_quantization(scales, axis))
    integers = weight_integers(layer.weights.constant(), form, chosen)
    accumulated, units = quantize_bias(new.constant(), data.scale, form.quantization, data.dtype)
    _set(twin, twin.weights_index, weights, integers, form.quantization)
    _set(twin, twin.bias_index, bias, accumulated, units)
    return True


_NEAR = MAX_MULTIPLIER * (1 - 1e-3)
"""Multipliers up to here have left the scales around a layer as they are, and go on to do so."""


def _plain(value: Value) -> Form | None:
    """Return the form of an activation with one scale."""
    form = value.type.quantization
    return Form(value.dtype, form) if form is not None and len(form.scale) == 1 else None


def _set(twin: Layer, index: int, old: Value, data: Array, form: Quantization) -> None:
    graph = twin.node.graph
    assert graph is not None
    value = Value(graph.unique_name(old.name), replace(old.type, quantization=form), data)
    graph.set_operand(twin.node, index, value)
