"""Channels that do not fit one scale: far narrower than their tensor, in activations or weights; or dead."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from edgec.causes.case import Case, Cause, Undo
from edgec.ir import Node
from edgec.ops import spec_of
from edgec.quantize.names import node_name
from edgec.quantize.parameters import WEIGHT_LIMIT

SPREAD_RATIO = 16.0
"""Half of the channels fill less than a sixteenth of the range: they have lost four of their eight bits."""

DEAD_SHARE = 0.05
"""Fewer dead channels are usual: a ReLU closes some for good in every training."""

MIN_GAIN_DB = 0.5


def channel_spread(case: Case) -> Iterator[Cause]:
    """Channels far narrower than their tensor; undone by equalizing across layers."""
    spread = {
        value: float(peak.max() / np.median(peak))
        for value, peak in case.channel_peaks.items()
        if np.median(peak) > 0
    }
    uneven = [value for value in spread if spread[value] > SPREAD_RATIO]
    if not uneven:
        return
    worst = max(uneven, key=lambda value: spread[value])
    gain = case.gain_of(Undo(repairs=("equalize",)))
    if gain < MIN_GAIN_DB:
        return
    what = f"half of its channels stay below 1/{spread[worst]:.0f} of its range{_others(len(uneven))}"
    step = "Use --repair equalize."
    yield Cause("channel spread", f"tensor '{worst.name}'", what, gain, "equalized across layers", step)


def weight_spread(case: Case) -> Iterator[Cause]:
    """Weights with one scale for channels of unlike size; undone by a scale for each, or by equalizing."""
    found = {node: levels for node in case.quantized.graph if (levels := _usual_levels(node)) is not None}
    uneven = {node: levels for node, levels in found.items() if levels * SPREAD_RATIO < WEIGHT_LIMIT}
    if not uneven:
        return
    worst = min(uneven, key=lambda node: uneven[node])
    tries = {
        "gave weights a scale for each channel": (Undo(per_axis=True), "Leave --per-tensor out."),
        "equalized across layers": (Undo(repairs=("equalize",)), "Use --repair equalize."),
    }
    gains = {tried: case.gain_of(undo) for tried, (undo, _) in tries.items()}
    best = max(gains, key=lambda tried: gains[tried])
    if gains[best] < MIN_GAIN_DB:
        return
    what = (
        f"its weights have one scale, in which half of the channels use {uneven[worst]:.0f} of "
        f"{WEIGHT_LIMIT} levels or fewer{_others(len(uneven))}"
    )
    where = f"node '{node_name(worst)}'"
    yield Cause("channel spread in weights", where, what, gains[best], best, tries[best][1])


def dead_channels(case: Case) -> Iterator[Cause]:
    """Channels that are zero on all samples. Undoing them is pruning: it changes no output, so no number."""
    peaks = case.channel_peaks
    dead = {value: int((peak == 0).sum()) for value, peak in peaks.items() if (peak == 0).any()}
    total, channels = sum(dead.values()), sum(len(peak) for peak in peaks.values())
    if not dead or total < DEAD_SHARE * channels:
        return
    worst = max(dead, key=lambda value: dead[value])
    what = f"{total} of {channels} channels are zero on all samples, {dead[worst]} of them here"
    step = "They cost time for nothing: prune them, or check the input's values if they should live."
    yield Cause("dead channels", f"tensor '{worst.name}'", what, next_step=step)


def _usual_levels(node: Node) -> float | None:
    """Return how many levels the median channel of a node's weights uses; None without one scale for all."""
    facts = spec_of(node).quant.weights
    weights = None if facts is None else node.optional_operand(facts.operand)
    if facts is None or weights is None or weights.data is None or weights.type.quantization is None:
        return None
    if len(weights.type.quantization.scale) > 1 or weights.type.rank <= facts.quantized_dimension:
        return None
    others = tuple(axis for axis in range(weights.type.rank) if axis != facts.quantized_dimension)
    peaks = np.abs(weights.data.astype(np.int32)).max(axis=others)
    return float(np.median(peaks)) if len(peaks) > 1 else None


def _others(count: int) -> str:
    return f"; {count} are like it" if count > 1 else ""
