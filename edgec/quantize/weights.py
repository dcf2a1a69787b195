"""Weights and bias of convolutions and matrix products, with multipliers every kernel can hold.

    y = s_x * s_w * Σ q_w (q_x - z_x) + bias         accumulator in units of s_x * s_w, one per channel
    q_y = z_y + M * accumulator                      M = s_x * s_w / s_y

Limits, and what keeps them (source: XNNPACK refuses the whole model outside 2^-32 ≤ M < 256; the fixed-point
kernels shift right by at most 31, and left only as far as the accumulator has room):

    M ≤ 16             a larger s_y; only outputs far narrower than their inputs and weights come near it
    M ≥ 2^-30          a larger s_w: a channel this weak cannot move y by a step anyway
    |bias| < 2^30      a larger s_w: such a channel is its bias plus almost nothing
    zero channel       s_w from M = 2^-16, so that its bias is exact to a small part of a step
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from edgec.ir import Array, Graph, Node, Quantization, Value
from edgec.ops import spec_of
from edgec.quantize.parameters import (
    MIN_WEIGHT_SCALE,
    WEIGHT_LIMIT,
    Floats,
    quantize_array,
    symmetric_scales,
)
from edgec.quantize.roles import Role, Roles
from edgec.quantize.scales import Scales

MIN_MULTIPLIER = 2.0**-30
MAX_MULTIPLIER = 16.0
ZERO_CHANNEL_MULTIPLIER = 2.0**-16
MAX_BIAS = 2**30 - 2**10  # the margin absorbs float32 scales

_MAX_ROUNDS = 8
"""Raising one scale raises its readers' multipliers; chains settle in a round each way."""


@dataclass(frozen=True, slots=True, eq=False)
class ChosenWeights:
    """Integers that somebody chose for a float weight tensor: `real = scales * data`.

    `data` is int8 in [-127, 127] of the tensor's shape, `scales` has one entry for each slice along the
    kernel's quantized dimension, or one for all.
    """

    data: Array
    scales: Floats


class WeightScales:
    """Natural scales of weights, computed once a tensor. `per_tensor` kinds get one scale for all."""

    def __init__(self, per_tensor: frozenset[str], chosen: Mapping[Value, ChosenWeights]) -> None:
        self._per_tensor, self._chosen = per_tensor, chosen
        self._known: dict[tuple[Value, int | None], Floats] = {}

    def axis(self, node: Node) -> int | None:
        """Return the axis of per-axis scales, None for one scale."""
        facts = spec_of(node).quant.weights
        assert facts is not None
        return facts.quantized_dimension if facts.per_axis and node.kind not in self._per_tensor else None

    def natural(self, node: Node, role: Role) -> Floats:
        """Return max |w| / 127 per channel, 0 for a channel of zeros; or the scales that were chosen."""
        assert role.weights is not None
        weights, axis = node.operand(role.weights), self.axis(node)
        if weights in self._chosen:
            return self._chosen[weights].scales
        if (weights, axis) not in self._known:
            self._known[weights, axis] = symmetric_scales(weights.constant(), axis)
        return self._known[weights, axis]

    def guarded(self, node: Node, role: Role, scale_in: float, scale_out: float) -> Floats:
        """Return scales that keep the multiplier's and the bias's limits."""
        natural = self.natural(node, role)
        bias = None if role.bias is None else node.operand(role.bias).constant()
        return guarded_scales(natural, bias, scale_in, scale_out)

    def integers(self, weights: Value, form: Quantization) -> Array:
        """Return the int8 form of a weight tensor: chosen integers as they are where their scale stayed."""
        rounded = quantize_array(weights.constant(), form, -WEIGHT_LIMIT, WEIGHT_LIMIT)
        chosen = self._chosen.get(weights)
        if chosen is None:
            return rounded
        kept = np.asarray(form.scale, np.float32) == chosen.scales.astype(np.float32)
        shape = [1] * rounded.ndim
        shape[form.quantized_dimension] = len(kept)
        return np.where(kept.reshape(shape), chosen.data, rounded)


def guarded_scales(natural: Floats, bias: Array | None, scale_in: float, scale_out: float) -> Floats:
    """Widen scales where a limit in the module's docstring asks for it."""
    unit = scale_out / scale_in
    floors = np.where(natural > 0, MIN_MULTIPLIER * unit, ZERO_CHANNEL_MULTIPLIER * unit)
    if bias is not None:
        magnitude = np.abs(bias.astype(np.float64))
        if len(natural) == 1:
            magnitude = magnitude.max(initial=0.0)
        floors = np.maximum(floors, magnitude / (scale_in * MAX_BIAS))
    return np.maximum(np.maximum(natural, floors), MIN_WEIGHT_SCALE)


def quantize_bias(bias: Array, scale_in: float, weights: Quantization) -> tuple[Array, Quantization]:
    """Return the int32 bias in units of the accumulator, and its parameters."""
    scales = np.float32(scale_in) * np.asarray(weights.scale, np.float32)
    q = np.rint(bias.astype(np.float64) / scales.astype(np.float64))
    limited = np.clip(q, -MAX_BIAS - 2**9, MAX_BIAS + 2**9).astype(np.int32)
    parameters = Quantization(tuple(float(scale) for scale in scales), (0,) * len(scales))
    return limited, parameters


def raise_output_scales(graph: Graph, roles: Roles, scales: Scales, weights: WeightScales) -> None:
    """Enlarge output scales until no multiplier is above its limit; fixed scales stay."""
    weighted = [node for node in graph if roles[node].weights is not None]
    for _ in range(_MAX_ROUNDS):
        if not [node for node in weighted if _raise_scale(node, roles[node], scales, weights)]:
            return


def _raise_scale(node: Node, role: Role, scales: Scales, weights: WeightScales) -> bool:
    x, y = node.operand(role.data[0]), node.result
    if x.is_constant or scales.is_fixed(y) or scales.share(x, y):
        return False  # where input and output share a scale, raising it changes no multiplier
    needed = scales.of(x).scale[0] * float(weights.natural(node, role).max()) / MAX_MULTIPLIER
    if needed <= scales.of(y).scale[0]:
        return False
    scales.raise_scale(y, needed)
    return True
