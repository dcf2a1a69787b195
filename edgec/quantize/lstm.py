"""The int8 form of an LSTM: 8-bit activations and weights around a 16-bit cell, all in one kernel.

    x, h        int8, scales from their ranges; the state h has the result's own
    W, R        int8, symmetric, one scale for each gate's matrix
    biases      int32 in units of s_x * s_W of their gate
    cell        int16, a power of two a step, so that the kernel scales it by shifts
    hidden      the fifth of five intermediates, with the result's parameters; the first four belong to
                layer norms and say nothing here

The cell keeps 16 bits from step to step where unrolled steps would round it to 8 each time. Its scale covers
the clip, or ±16 where nothing is clipped: tanh is 1 to the last bit of int16 from 6 on, so what saturates
there cannot be seen until the gates have forgotten ten steps' worth of it.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from edgec.ir import Array, DType, Node, Quantization, TensorType, Value
from edgec.ops.infer import expect
from edgec.ops.recurrent import (
    BIASES,
    INPUT_WEIGHTS,
    RECURRENT_WEIGHTS,
    UnidirectionalSequenceLSTMAttributes,
)
from edgec.quantize.parameters import (
    WEIGHT_LIMIT,
    Form,
    quantize_array,
    represented,
    symmetric_scales,
    weight_quantization,
)
from edgec.quantize.rebuild import Rebuilt
from edgec.quantize.weights import quantize_bias

UNCLIPPED_LIMIT = 16.0
_INT16_STEPS = 2**15
_NORMS = 4
_MAX_BIAS = 2**29  # the accumulator keeps room for what weights add
_GATE_LIMIT = 8.0  # int16 in steps of 2^-12


def add_lstm(new: Rebuilt, node: Node, x: Value, form_in: Form, form_out: Form) -> Value:
    """Append the int8 form of a float LSTM with `lstm_operands(node)` not empty; return its result."""
    operands: list[Value | None] = [None] * len(node.operands)
    operands[0] = x
    for weights, recurrent, bias in zip(INPUT_WEIGHTS, RECURRENT_WEIGHTS, BIASES, strict=True):
        biases = node.operand(bias)
        effective = _effective_bias(node, (weights, recurrent, bias), form_in, form_out)
        form = _weight_form(node.operand(weights), np.abs(effective).max() / (form_in.scale * _MAX_BIAS))
        operands[weights] = _weights(new, node.operand(weights), form)
        operands[recurrent] = _weights(new, node.operand(recurrent), _weight_form(node.operand(recurrent)))
        data, made = quantize_bias(effective, form_in.scale, form.quantization)
        operands[bias] = new.constant(biases, Form(DType.INT32, made), lambda data=data: data)
    return new.copy(node, operands, [form_out], _attributes(node, form_out)).result


def cell_quantization(clip: float) -> Quantization:
    """Return the int16 parameters of a cell that is clipped to ±clip; 0 for one that is not."""
    limit = 2.0 ** math.ceil(math.log2(clip if clip > 0 else UNCLIPPED_LIMIT))
    return Quantization.per_tensor(limit / _INT16_STEPS)


def _attributes(node: Node, form: Form) -> UnidirectionalSequenceLSTMAttributes:
    attributes = expect(node.attributes, UnidirectionalSequenceLSTMAttributes)
    hidden, cell = attributes.states
    return replace(
        attributes,
        states=(
            TensorType(hidden.shape, form.dtype, form.quantization),
            TensorType(cell.shape, DType.INT16, cell_quantization(attributes.cell_clip)),
        ),
        intermediates=(*[TensorType((0,))] * _NORMS, TensorType((0,), form.dtype, form.quantization)),
    )


def _effective_bias(node: Node, gate: tuple[int, int, int], form_in: Form, form_out: Form) -> Array:
    """Return a gate's bias without what cannot matter.

    The kernel's gates saturate at ±8 before their activation. A bias further out than all that weights can
    add to it, and 8, would say the same, but overflow the accumulator.
    """
    weights, recurrent, bias = (node.operand(index).constant() for index in gate)
    reach = _GATE_LIMIT + np.abs(weights).sum(axis=1) * _largest(form_in)
    reach = reach + np.abs(recurrent).sum(axis=1) * _largest(form_out)
    return np.clip(bias, -reach, reach).astype(np.float32)


def _largest(form: Form) -> float:
    return max(map(abs, represented(form.quantization)))


def _weight_form(weights: Value, least: float = 0.0) -> Form:
    """Return one symmetric scale for a matrix, not below the least; a matrix of zeros has one, too."""
    natural = np.maximum(symmetric_scales(weights.constant(), None), least)
    return Form(DType.INT8, weight_quantization(np.where(natural > 0, natural, 1 / WEIGHT_LIMIT), None))


def _weights(new: Rebuilt, weights: Value, form: Form) -> Value:
    limits = (-WEIGHT_LIMIT, WEIGHT_LIMIT)
    return new.constant(weights, form, lambda: quantize_array(weights.constant(), form.quantization, *limits))
