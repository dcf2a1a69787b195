"""Bias correction: rounding shifts the mean of a node's outputs, and its bias can take the shift back.

analytic    a weight error e = w - w_q shifts the mean of a node's result by conv(E[x]; e); added to the bias,
            the mean is right again for inputs with the mean seen in calibration. No model runs.
empirical   the float and the int8 model run on samples; the difference of their means at a node, divided by
            the share of elements that pass its relu, goes to its bias. Nodes are taken in execution order, so
            that what an earlier node shifts is corrected there and not twice. (Correcting many at once from
            one run loses up to 15 dB.)

Both return a float model, for quantizing again with the same ranges. It differs from the source on purpose:
its biases hold what the integers will lose.

Source: Nagel et al. 2019, "Data-free quantization through weight equalization and bias correction", §4.2.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from math import prod

import numpy as np

from edgec.ir import Array, Graph, Model, Node, Value
from edgec.ops import ActivationFunctionType, Padding
from edgec.ops.conv import Conv2DAttributes, DepthwiseConv2DAttributes
from edgec.quantize.parameters import Floats, along_axis
from edgec.quantize.roles import Role, assign_roles
from edgec.repair.channels import Statistics
from edgec.repair.compare import Difference, compare, twins
from edgec.repair.copying import copy_with
from edgec.repair.outcome import Gain, RepairOutcome
from edgec.repair.watch import Sample

Quantize = Callable[[Model], Model]
"""Float model to int8 model, with all else (ranges, element types, chosen weights) decided."""

_TINY = 1e-30
_KINDS = ("conv_2d", "depthwise_conv_2d", "transpose_conv", "fully_connected")
_LEAST_PASSING = 0.05
"""A channel that hardly ever passes its relu says too little about its mean in front of it."""


def correct_bias_analytically(model: Model, statistics: Statistics, quantize: Quantize) -> RepairOutcome:
    """Return the model with biases that make up for the mean of its weights' rounding errors.

    Args:
        model: float32, in the state that will be quantized; it stays as it is.
        statistics: of the model's activations.
        quantize: makes the int8 model; called once, to see the weights it rounds to.

    The gains speak of the power of the shifts alone, relative to that of the results: what the integers of
    the bias cannot hold afterwards is far less than a step of the result.
    """
    names = [node.result.name for node, _ in _correctable(model.graph)]
    rounded = {first.name: second.producer for first, second in twins(model, quantize(model), names)}
    changed: dict[tuple[Node, int], Array] = {}
    gains: list[Gain] = []
    for node, role in _correctable(model.graph):
        assert role.weights is not None and role.bias is not None
        weights = node.operand(role.weights).constant().astype(np.float64)
        twin = rounded[node.result.name]
        assert twin is not None and twin.kind == node.kind, f"{node} has no int8 form"
        error = weights - _real(twin.operand(role.weights))
        shift = mean_output(node, error, statistics[node.operand(role.data[0]).name].mean)
        changed[node, role.bias] = _raised(node.operand(role.bias), shift)
        gains.append(_gain_of(node, shift, statistics))
    return RepairOutcome(copy_with(model, changed), tuple(gains))


def _gain_of(node: Node, shift: Floats, statistics: Statistics) -> Gain:
    signal = float(statistics[node.result.name].second_moment.mean())
    before = 10 * np.log10(max(signal, _TINY) / max(float((shift**2).mean()), _TINY))
    return Gain(node.result.name, float(before), float("inf"))


def correct_bias(
    model: Model,
    samples: Iterable[Sample],
    statistics: Statistics,
    quantize: Quantize,
    *,
    threads: int = 1,
) -> RepairOutcome:
    """Return the model with biases that give the int8 model the float model's mean at every weighted node.

    Starts from the analytic correction, then goes through the nodes in execution order.

    Args:
        model: float32, in the state that will be quantized; it stays as it is.
        samples: arrays by input name, re-iterable: they are run up to each weighted node.
        statistics: of the model's activations, from the same samples.
        quantize: makes the int8 model; called once for each weighted node.
        threads: threads of the kernels.
    """
    names = [node.result.name for node, _ in _correctable(model.graph)]
    before = compare(model, quantize(model), samples, names, threads)
    repaired = correct_bias_analytically(model, statistics, quantize).model
    for name in names:
        repaired = _corrected(repaired, compare(model, quantize(repaired), samples, [name], threads))
    after = compare(model, quantize(repaired), samples, names, threads)
    return RepairOutcome(repaired, tuple(Gain(n, before[n].sqnr, after[n].sqnr) for n in names))


def _corrected(model: Model, found: Mapping[str, Difference]) -> Model:
    changed: dict[tuple[Node, int], Array] = {}
    for node, role in _correctable(model.graph):
        if node.result.name in found and role.bias is not None:
            apart = found[node.result.name]
            changed[node, role.bias] = _raised(node.operand(role.bias), _shift(node, apart))
    return copy_with(model, changed)


def _shift(node: Node, apart: Difference) -> Floats:
    """Return the shift in front of the node's activation; none where too few elements pass to tell."""
    fused = getattr(node.attributes, "fused_activation_function", ActivationFunctionType.NONE)
    if fused is ActivationFunctionType.NONE:
        return apart.mean
    heard = apart.passing >= _LEAST_PASSING
    return np.where(heard, apart.mean / np.maximum(apart.passing, _LEAST_PASSING), 0.0)


def mean_output(node: Node, weights: Floats, mean: Floats) -> Floats:
    """Return the mean result by output channel for these weights and inputs of this mean, without bias.

    The mean counts as the same all over a picture; borders see the zeros of the padding.
    """
    if weights.ndim == 2:
        return weights @ np.tile(mean, weights.shape[1] // len(mean))
    if node.kind == "transpose_conv":
        return (weights.sum(axis=(1, 2)) * mean).sum(axis=1) * _growth(node)
    taps = np.tensordot(_inside(node), weights, ((0, 1), (1, 2)))  # [O, I], depthwise [1, C]
    if node.kind == "depthwise_conv_2d":
        return taps[0] * np.repeat(mean, taps.shape[1] // len(mean))
    groups = len(mean) // weights.shape[3]
    return (taps * np.repeat(mean.reshape(groups, -1), len(taps) // groups, axis=0)).sum(axis=1)


def _inside(node: Node) -> Floats:
    """Return for each tap of a kernel the share of its positions that lie inside the input, `[kH, kW]`."""
    settings = node.attributes
    assert isinstance(settings, Conv2DAttributes | DepthwiseConv2DAttributes)
    strides = (settings.stride_h, settings.stride_w)
    dilations = (settings.dilation_h_factor, settings.dilation_w_factor)
    shares: list[Floats] = []
    for axis, (before, _) in enumerate(padding_of(node)):
        starts = np.arange(node.result.shape[1 + axis]) * strides[axis] - before
        positions = starts[:, None] + np.arange(node.operand(1).shape[1 + axis]) * dilations[axis]
        shares.append(((positions >= 0) & (positions < node.operand(0).shape[1 + axis])).mean(axis=0))
    return np.outer(*shares)


def padding_of(node: Node) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return the zeros that a convolution adds at each end of height and width: the odd one goes behind."""
    settings = node.attributes
    assert isinstance(settings, Conv2DAttributes | DepthwiseConv2DAttributes)
    if settings.padding is Padding.VALID:
        return (0, 0), (0, 0)
    strides = (settings.stride_h, settings.stride_w)
    dilations = (settings.dilation_h_factor, settings.dilation_w_factor)
    gaps: list[tuple[int, int]] = []
    for axis in (0, 1):
        reach = (node.result.shape[1 + axis] - 1) * strides[axis] + 1
        reach += (node.operand(1).shape[1 + axis] - 1) * dilations[axis]
        gap = max(reach - node.operand(0).shape[1 + axis], 0)
        gaps.append((gap // 2, gap - gap // 2))
    return gaps[0], gaps[1]


def _growth(node: Node) -> float:
    """Return elements in over elements out of a transposed convolution: each input adds one kernel."""
    return prod(node.operand(2).shape[1:3]) / prod(node.result.shape[1:3])


def _correctable(graph: Graph) -> list[tuple[Node, Role]]:
    roles = assign_roles(graph)
    return [(n, roles[n]) for n in graph if n.kind in _KINDS and roles[n].weights and roles[n].bias]


def _raised(bias: Value, shift: Floats) -> Array:
    return (bias.constant().astype(np.float64) + shift).astype(np.float32)


def _real(weights: Value) -> Floats:
    """Return the real numbers that weights stand for, quantized or not."""
    stored, form = weights.constant().astype(np.float64), weights.type.quantization
    if form is None:
        return stored
    if form.block_size:
        return stored * np.repeat(np.asarray(form.scale), form.block_size).reshape(stored.shape)
    return stored * along_axis(form, stored.shape)[0].astype(np.float64)
