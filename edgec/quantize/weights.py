"""Weights and bias of convolutions and matrix products, with multipliers every kernel can hold.

    y = s_x * s_w * Σ q_w (q_x - z_x) + bias         accumulator in units of s_x * s_w, one per channel
    q_y = z_y + M * accumulator                      M = s_x * s_w / s_y

Limits, and what keeps them (source: XNNPACK refuses the whole model outside 2^-32 ≤ M < 256; the fixed-point
kernels shift right by at most 31, and left only as far as the accumulator has room):

    M ≤ 16             a larger s_y; only outputs far narrower than their inputs and weights come near it
    M ≥ 2^-30          a larger s_w: a channel this weak cannot move y by a step anyway
    |bias| < 2^30      a larger s_w: such a channel is its bias plus almost nothing. Beside int16 activations,
                       whose accumulator has 64 bits: < 2^39, a channel of bias that an NPU (2^40) takes, too
    zero channel       s_w from M = 2^-16, so that its bias is exact to a small part of a step
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from edgec.ir import Array, DType, Graph, Node, Quantization, Value
from edgec.ops import spec_of
from edgec.quantize.clipping import least_error_scales
from edgec.quantize.parameters import (
    MIN_WEIGHT_SCALE,
    WEIGHT_LIMITS,
    Floats,
    Form,
    quantize_array,
    symmetric_scales,
)
from edgec.quantize.roles import Role, Roles
from edgec.quantize.scales import Scales

MIN_MULTIPLIER = 2.0**-30
MAX_MULTIPLIER = 16.0
ZERO_CHANNEL_MULTIPLIER = 2.0**-16
MAX_BIAS = 2**30 - 2**10  # the margin absorbs float32 scales
MAX_BIAS_INT16 = 2**39 - 2**19
BIAS_TYPES = {DType.INT8: DType.INT32, DType.INT16: DType.INT64}
"""The element type of bias by that of the activations."""

_MAX_ROUNDS = 8
"""Raising one scale raises its readers' multipliers; chains settle in a round each way."""


@dataclass(frozen=True, slots=True, eq=False)
class ChosenWeights:
    """Integers that somebody chose for a float weight tensor: `real = scales * data`.

    `data` is an int8 array of the tensor's shape with numbers in `WEIGHT_LIMITS[dtype]`; `dtype` is the type
    they will be stored in. `scales` has one entry for each slice along the kernel's quantized dimension, or
    one for all. Where the node's weights are to be of another type, the choice does not apply.
    """

    data: Array
    scales: Floats
    dtype: DType = DType.INT8


def weight_scales(weights: Array, axis: int | None, dtype: DType) -> Floats:
    """Return natural scales per slice along `axis`, or one for all; 0 where all weights are zero.

    int8 covers the largest weight; int4 has so few levels that it is better cut off (`clipping`).
    """
    if dtype is DType.INT8:
        return symmetric_scales(weights, axis)
    return least_error_scales(weights, axis, *WEIGHT_LIMITS[dtype])


class WeightScales:
    """Natural scales of weights, computed once a tensor. `per_tensor` kinds get one scale for all."""

    def __init__(self, per_tensor: frozenset[str], chosen: Mapping[Value, ChosenWeights]) -> None:
        self._per_tensor, self._chosen = per_tensor, chosen
        self._known: dict[tuple[Value, int | None, DType], Floats] = {}

    def axis(self, node: Node) -> int | None:
        """Return the axis of per-axis scales, None for one scale."""
        facts = spec_of(node).quant.weights
        assert facts is not None
        return facts.quantized_dimension if facts.per_axis and node.kind not in self._per_tensor else None

    def natural(self, node: Node, role: Role) -> Floats:
        """Return the scales of least harm, 0 for a channel of zeros; or those that were chosen."""
        assert role.weights is not None
        weights, axis, dtype = node.operand(role.weights), self.axis(node), role.weight_type
        chosen = self._chosen.get(weights)
        if chosen is not None and chosen.dtype is dtype:
            return chosen.scales
        if (weights, axis, dtype) not in self._known:
            self._known[weights, axis, dtype] = weight_scales(weights.constant(), axis, dtype)
        return self._known[weights, axis, dtype]

    def guarded(self, node: Node, role: Role, scale_in: float, scale_out: float) -> Floats:
        """Return scales that keep the multiplier's and the bias's limits."""
        natural = self.natural(node, role)
        bias = None if role.bias is None else node.operand(role.bias).constant()
        return guarded_scales(natural, bias, scale_in, scale_out, role.dtype)

    def integers(self, weights: Value, form: Form) -> Array:
        """Return a weight tensor in a form: chosen integers as they are where their scale stayed."""
        return weight_integers(weights.constant(), form, self._chosen.get(weights))


def weight_integers(weights: Array, form: Form, chosen: ChosenWeights | None = None) -> Array:
    """Return weights in a form, rounded to nearest; chosen integers as they are where their scale stayed."""
    rounded = quantize_array(weights, form.quantization, *WEIGHT_LIMITS[form.dtype], form.dtype)
    if chosen is None or chosen.dtype is not form.dtype:
        return rounded
    kept = np.asarray(form.quantization.scale, np.float32) == chosen.scales.astype(np.float32)
    shape = [1] * rounded.ndim
    shape[form.quantization.quantized_dimension] = len(kept)
    return np.where(kept.reshape(shape), chosen.data, rounded)


def guarded_scales(
    natural: Floats, bias: Array | None, scale_in: float, scale_out: float, dtype: DType = DType.INT8
) -> Floats:
    """Widen scales where a limit in the module's docstring asks for it; `dtype`: the activations' type."""
    unit = scale_out / scale_in
    floors = np.where(natural > 0, MIN_MULTIPLIER * unit, ZERO_CHANNEL_MULTIPLIER * unit)
    if bias is not None:
        magnitude = np.abs(bias.astype(np.float64))
        if len(natural) == 1:
            magnitude = magnitude.max(initial=0.0)
        floors = np.maximum(floors, magnitude / (scale_in * _max_bias(dtype)))
    return np.maximum(np.maximum(natural, floors), MIN_WEIGHT_SCALE)


def _max_bias(dtype: DType) -> int:
    return MAX_BIAS_INT16 if dtype is DType.INT16 else MAX_BIAS


def quantize_bias(
    bias: Array, scale_in: float, weights: Quantization, dtype: DType = DType.INT8
) -> tuple[Array, Quantization]:
    """Return the bias in units of the accumulator, and its parameters.

    int32 beside int8 activations, int64 beside int16 ones (`dtype`).
    """
    scales = np.float32(scale_in) * np.asarray(weights.scale, np.float32)
    q = np.rint(bias.astype(np.float64) / scales.astype(np.float64))
    limit = _max_bias(dtype) * (1 + 2**-21)
    limited = np.clip(q, -limit, limit).astype(BIAS_TYPES[dtype].numpy)
    parameters = Quantization(tuple(float(scale) for scale in scales), (0,) * len(scales))
    return limited, parameters


def raise_output_scales(graph: Graph, roles: Roles, scales: Scales, weights: WeightScales) -> None:
    """Enlarge output scales until no multiplier is above its limit; fixed scales stay."""
    weighted = [node for node in graph if roles[node].weights is not None]
    for _ in range(_MAX_ROUNDS):
        if not [node for node in weighted if _raise_scale(node, roles[node], scales, weights)]:
            return


def _raise_scale(node: Node, role: Role, scales: Scales, weights: WeightScales) -> bool:
    x, y, dtype = node.operand(role.data[0]), node.result, role.dtype
    if x.is_constant or scales.is_fixed(y, dtype) or scales.share(x, y, dtype):
        return False  # where input and output share a scale, raising it changes no multiplier
    needed = scales.of(x, dtype).scale[0] * float(weights.natural(node, role).max()) / MAX_MULTIPLIER
    if needed <= scales.of(y, dtype).scale[0]:
        return False
    scales.raise_scale(y, needed, dtype)
    return True
