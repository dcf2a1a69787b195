"""All finders, and the order of what they say. To add a cause: one generator here."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from edgec.causes.case import Case, Cause
from edgec.causes.channels import channel_spread, dead_channels, weight_spread
from edgec.causes.graph import tiny_ranges
from edgec.causes.joins import shared_scale
from edgec.causes.normalization import wrong_normalization
from edgec.causes.samples import duplicate_samples, outlier_samples, saturation, too_few_samples

Finder = Callable[[Case], Iterator[Cause]]

FINDERS: tuple[Finder, ...] = (
    wrong_normalization,
    shared_scale,
    outlier_samples,
    saturation,
    channel_spread,
    weight_spread,
    dead_channels,
    tiny_ranges,
    too_few_samples,
    duplicate_samples,
)


def find_causes(case: Case, progress: Callable[[int], None] = lambda done: None) -> tuple[Cause, ...]:
    """Return the causes found: by what undoing them wins, those without a number last."""
    found: list[Cause] = []
    for done, finder in enumerate(FINDERS, 1):
        found += finder(case)
        progress(done)
    return tuple(
        sorted(found, key=lambda cause: -cause.gain_db if cause.gain_db is not None else float("inf"))
    )
