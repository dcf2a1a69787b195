"""Absorption of high biases: what a channel always holds moves into the biases of the nodes that read it.

    conv(x; w, b) → conv(y; v, d)     =     conv(x; w, b - c) → conv(y - c; v, d + v * c)

A channel far from zero makes a tensor's one range wide and leaves few levels for what varies. Without an
activation the move is exact for any c, and c centres the channel. Behind a relu it is exact while the channel
stays above c, so c lies below the least value that calibration saw, by more the fewer samples there were, and
below the mean less three deviations.
Readers must not pad: padding puts zeros where y - c would have to be.

Source: Nagel et al. 2019, "Data-free quantization through weight equalization and bias correction", §4.1.3.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edgec.ir import Array, Model, Node, Value
from edgec.ops import ActivationFunctionType
from edgec.quantize.roles import Roles, assign_roles
from edgec.repair.bias import mean_output, padding_of
from edgec.repair.channels import ChannelStatistics, Floats, Statistics
from edgec.repair.copying import copy_with
from edgec.repair.outcome import Gain, RepairOutcome

_PASSING_OFFSETS = ("max_pool_2d", "average_pool_2d", "mean", "reshape")
"""Nodes whose result moves by c where their operand does."""

LEAST_SAMPLES = 16
"""Fewer say too little about the least value of a channel."""

HEADROOM = 5.0
"""Share of a range to add where it was seen in one sample; it falls with the square root of their number."""

_DEVIATIONS = 3.0
_LEAST_GAIN = 0.1
_TINY = 1e-30


def absorb_high_biases(model: Model, statistics: Statistics) -> RepairOutcome:
    """Return the model with the constant part of its channels moved to where it costs nothing.

    Args:
        model: float32, in the state that will be quantized; it stays as it is.
        statistics: of the model's activations.

    The gains are those of the tensors' own rounding: signal over (range / 255)² / 12, before and after.
    """
    roles = assign_roles(model.graph)
    biases: dict[tuple[Node, int], Floats] = {}
    gains: list[Gain] = []
    for node in model.graph:
        shift = _shift(node, roles, statistics)
        readers = None if shift is None else _readers(node.result, roles)
        if shift is None or readers is None:
            continue
        gain = _gain(node, shift, statistics)
        if gain.after < gain.before + _LEAST_GAIN:
            continue
        gains.append(gain)
        _move(biases, node, roles, -shift)
        for reader in readers:
            _move(biases, reader, roles, _read(reader, roles, shift))
    changed: Mapping[tuple[Node, int], Array] = {key: data.astype(np.float32) for key, data in biases.items()}
    return RepairOutcome(copy_with(model, changed), tuple(gains))


def _shift(node: Node, roles: Roles, statistics: Statistics) -> Floats | None:
    """Return what to take from each channel of a node's result, or None where nothing can be."""
    if roles[node].weights is None or roles[node].bias is None or node.result.is_graph_output:
        return None
    seen = statistics.get(node.result.name)
    fused = getattr(node.attributes, "fused_activation_function", None)
    if seen is None or fused not in (ActivationFunctionType.NONE, ActivationFunctionType.RELU):
        return None
    if fused is ActivationFunctionType.NONE:
        return (seen.low + seen.high) / 2
    if seen.samples < LEAST_SAMPLES:
        return None
    room = HEADROOM / np.sqrt(seen.samples) * (seen.high - seen.low)
    return np.maximum(np.minimum(seen.low - room, seen.mean - _DEVIATIONS * np.sqrt(seen.variance)), 0.0)


def _readers(value: Value, roles: Roles) -> list[Node] | None:
    """Return the nodes with weights that read a value, also through pools; None where others read it."""
    found: list[Node] = []
    for user in value.users:
        if _takes_offsets(user, value, roles):
            found.append(user)
            continue
        behind = _readers(user.result, roles) if _passes_offsets(user, value) else None
        if behind is None:
            return None
        found += behind
    return found


def _takes_offsets(node: Node, value: Value, roles: Roles) -> bool:
    """Whether a node's bias can hold what its input loses: the same for every element of its result."""
    role = roles[node]
    if role.weights is None or role.bias is None or value is not node.operand(role.data[0]):
        return False
    if node.kind == "fully_connected":
        return True
    return node.kind in ("conv_2d", "depthwise_conv_2d") and padding_of(node) == ((0, 0), (0, 0))


def _passes_offsets(node: Node, value: Value) -> bool:
    """Whether a node's result moves by c where its operand does, channel by channel of the last axis."""
    if node.kind not in _PASSING_OFFSETS or node.result.is_graph_output or _activates(node):
        return False
    if node.kind == "mean":
        axes = node.operand(1).data
        return axes is not None and value.type.rank - 1 not in {
            int(a) % value.type.rank for a in axes.ravel()
        }
    return node.result.shape[-1] % value.shape[-1] == 0


def _activates(node: Node) -> bool:
    fused = getattr(node.attributes, "fused_activation_function", ActivationFunctionType.NONE)
    return fused is not ActivationFunctionType.NONE


def _gain(node: Node, shift: Floats, statistics: Statistics) -> Gain:
    seen = statistics[node.result.name]
    signal = float(seen.second_moment.mean())
    before, after = (_rounding(seen, offset) for offset in (np.zeros_like(shift), shift))
    decibels = [float(10 * np.log10(max(signal, _TINY) / max(noise, _TINY))) for noise in (before, after)]
    return Gain(node.result.name, decibels[0], decibels[1])


def _rounding(seen: ChannelStatistics, offset: Floats) -> float:
    """Return the rounding noise of a tensor whose channels were moved down."""
    high = max(float((seen.high - offset).max()), 0.0)
    low = min(float((seen.low - offset).min()), 0.0)
    return ((high - low) / 255) ** 2 / 12


def _read(reader: Node, roles: Roles, shift: Floats) -> Floats:
    """Return what a reader's result loses when its input's channels lose `shift`."""
    role = roles[reader]
    assert role.weights is not None
    lost = np.tile(shift, reader.operand(role.data[0]).shape[-1] // len(shift))
    return mean_output(reader, reader.operand(role.weights).constant().astype(np.float64), lost)


def _move(biases: dict[tuple[Node, int], Floats], node: Node, roles: Roles, by: Floats) -> None:
    index = roles[node].bias
    assert index is not None
    old = biases.get((node, index), node.operand(index).constant().astype(np.float64))
    biases[node, index] = old + by
