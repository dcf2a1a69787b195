"""From statistics of all tensors to their ranges, by one rule."""

from __future__ import annotations

from edgec.calibrate.clipping import NEEDS_HISTOGRAM, RULES, Range
from edgec.calibrate.saturation import limited
from edgec.calibrate.statistics import Histograms

AUTO = "auto"
"""Asks the model's outputs (`edgec.recipes.alone`): statistics alone know no better than min/max."""

OBSERVER_NAMES = (*RULES, AUTO)


def needs_values(observer: str) -> bool:
    """Whether an observer looks at histograms."""
    return observer in NEEDS_HISTOGRAM


def pick_ranges(histograms: Histograms, observer: str, bits: int = 8) -> dict[str, Range]:
    """Return the range of every tensor, no wider than its readers can tell in so many bits."""
    usual = "minmax" if observer == AUTO else observer
    rules = {name: "minmax" if name in histograms.answers else usual for name in histograms}
    return {
        name: limited(RULES[rules[name]](tensor), histograms.useful_range(name, bits))
        for name, tensor in histograms.items()
    }
