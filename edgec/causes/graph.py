"""Causes in the model: joined tensors of unlike ranges, unequal channels, dead channels, vanishing ranges."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from edgec.causes.case import Case, Cause, Undo
from edgec.causes.extremes import Floats
from edgec.ir import Array, DType, Node, Value
from edgec.ops import spec_of
from edgec.ops.spec import Constraint
from edgec.quantize.names import node_name
from edgec.quantize.parameters import MIN_SCALE
from edgec.repair.watch import Watch

SHARED_RATIO = 8.0
"""A tensor that fills less than an eighth of the scale it has to share has lost three of its eight bits."""

SPREAD_RATIO = 16.0
"""Half of the channels fill less than a sixteenth of the tensor's range."""

MIN_GAIN_DB = 0.5


def shared_scale(case: Case) -> Iterator[Cause]:
    """Joins (concat, pack, ...) of tensors with unlike ranges; undone by keeping the join in float."""
    for node in case.nodes():
        if spec_of(node).quant.constraint is not Constraint.SAME_SCALE:
            continue
        widths = {v.name: _width(case.ranges[v.name]) for v in _joined(node) if v.name in case.ranges}
        if len(widths) < 2 or min(widths.values()) * SHARED_RATIO > max(widths.values()):
            continue
        gain = case.gain_of(Undo(float_nodes=tuple(map(node_name, _to_the_output(node)))))
        if gain < MIN_GAIN_DB:
            continue
        small, large = min(widths, key=lambda n: widths[n]), max(widths, key=lambda n: widths[n])
        low, high = case.ranges[small], case.ranges[large]
        parts = f"'{small}' ({low[0]:.3g} to {low[1]:.3g}) with '{large}' ({high[0]:.3g} to {high[1]:.3g})"
        levels = _levels(widths[small], widths[large])
        what = f"joins {parts} in one scale: the smaller has {levels} of 256 levels"
        step = (
            "Give the parts as separate outputs, or leave the output type open so that the join is in float."
        )
        yield Cause(
            "shared-scale concat", f"node '{node_name(node)}'", what, gain, "kept the join in float", step
        )


def channel_spread(case: Case) -> Iterator[Cause]:
    """Channels far narrower than their tensor; undone by equalizing across layers."""
    values = [node.results[0] for node in case.nodes() if spec_of(node).quant.weights is not None]
    values = [value for value in values if value.name in case.ranges and value.type.rank >= 2]
    if not values:
        return
    peaks = _channel_peaks(case, values)
    spread = {
        value: float(peak.max() / np.median(peak)) for value, peak in peaks.items() if np.median(peak) > 0
    }
    uneven = [value for value in spread if spread[value] > SPREAD_RATIO]
    dead = {value: int((peak == 0).sum()) for value, peak in peaks.items() if (peak == 0).any()}
    if uneven:
        worst = max(uneven, key=lambda value: spread[value])
        gain = case.gain_of(Undo(repairs=("equalize",)))
        if gain >= MIN_GAIN_DB:
            what = f"half of its channels stay below 1/{spread[worst]:.0f} of its range"
            what += f"; {len(uneven)} tensors are like it" if len(uneven) > 1 else ""
            step = "Use --repair equalize."
            yield Cause(
                "channel spread", f"tensor '{worst.name}'", what, gain, "equalized across layers", step
            )
    if dead:
        worst = max(dead, key=lambda value: dead[value])
        total, channels = sum(dead.values()), sum(len(peak) for peak in peaks.values())
        if total * 20 >= channels:
            what = f"{total} of {channels} channels are zero on all samples, {dead[worst]} of them here"
            step = "They cost time for nothing: prune them, or check the input's values if they should live."
            yield Cause("dead channels", f"tensor '{worst.name}'", what, next_step=step)


def _channel_peaks(case: Case, values: list[Value]) -> dict[Value, Floats]:
    """Return the largest magnitude of every channel (last axis) over the evaluation samples."""
    peaks: dict[Value, Floats] = {value: np.zeros(value.shape[-1]) for value in values}

    def observe(value: Value, array: Array) -> None:
        found = np.abs(array.reshape(-1, array.shape[-1])).max(axis=0)
        np.maximum(peaks[value], found, out=peaks[value])

    watch = Watch(case.model, values)
    for sample in case.evaluation.data.samples:
        watch.show(sample, observe)
    return peaks


def tiny_ranges(case: Case) -> Iterator[Cause]:
    """Tensors whose values are so small that their scale is at its floor."""
    tiny = [name for name, found in case.ranges.items() if 0 < _width(found) < 255 * MIN_SCALE]
    if tiny:
        what = (
            f"its values stay below {255 * MIN_SCALE:.1g}, where int8 scales end; {len(tiny)} tensors are so"
        )
        yield Cause(
            "tiny-range tensor", f"tensor '{tiny[0]}'", what, next_step="Scale the layer's weights up."
        )


def _joined(node: Node) -> list[Value]:
    real = [v for v in node.operands if v is not None and v.dtype is DType.FLOAT32 and not v.is_constant]
    return list(dict.fromkeys(real))


def _to_the_output(node: Node) -> list[Node]:
    """Return the join and the same-scale nodes that only pass it on."""
    found = [node]
    for item in found:
        for user in item.result.users if len(item.results) == 1 else ():
            if spec_of(user).quant.constraint is Constraint.SAME_SCALE and user not in found:
                found.append(user)
    return found


def _width(found: tuple[float, float]) -> float:
    return max(found[1], 0.0) - min(found[0], 0.0)


def _levels(small: float, large: float) -> int:
    return max(1, round(256 * small / large)) if large else 1
