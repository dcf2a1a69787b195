"""Causes in the calibration data: samples that stretch ranges alone, too few of them, the same ones again."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np

from edgec.causes.case import Case, Cause, Undo
from edgec.causes.extremes import Extremes

OUTLIER_RATIO = 1.5
"""A sample is an outlier where its range is this much wider than the next widest sample's."""

MIN_SAMPLES = 16
"""Ranges of fewer samples are luck; the field's tools ask for 100 and more."""

STABILITY = 1.25
"""Two halves of a good set agree on a tensor's width within this factor."""

MIN_GAIN_DB = 0.5
"""What does not change the output by this much is no cause."""

_NAMED = 5


def outlier_samples(case: Case) -> Iterator[Cause]:
    """Samples that alone stretch the range of tensors; undone by calibrating without them."""
    if len(case.samples) < 4:
        return
    widths = case.extremes.widths()
    order = np.argsort(-widths, axis=0, kind="stable")
    first = np.take_along_axis(widths, order[:1], axis=0)[0]
    second = np.take_along_axis(widths, order[1:2], axis=0)[0]
    stretched = first > OUTLIER_RATIO * np.maximum(second, np.finfo(np.float64).tiny)
    guilty = sorted(set(map(int, order[0][stretched])))
    if not guilty or len(guilty) > len(case.samples) // 4:
        return
    keep = np.ones(len(case.samples), bool)
    keep[guilty] = False
    gain = case.gain_of(Undo(ranges=case.ranges_of(keep)))
    if gain < MIN_GAIN_DB:
        return
    names = ", ".join(case.sample_name(index) for index in guilty[:_NAMED])
    tensors = int(stretched.sum())
    what = (
        f"{len(guilty)} of {len(case.samples)} samples alone stretch the range of {tensors} tensors: {names}"
    )
    step = "Look at these samples: if the device never sees such input, remove them; or use --calibrator mse."
    yield Cause("outlier samples", "calibration data", what, gain, "calibrated without them", step)


def too_few_samples(case: Case) -> Iterator[Cause]:
    """Few samples, or halves of the set that disagree: on the device values will leave their ranges."""
    count = len(case.samples)
    if count < 2:
        yield Cause(
            "too few samples",
            "calibration data",
            f"{count} sample decides all ranges",
            next_step="Give 100 samples or more, of the kind that the device sees.",
        )
        return
    widths = case.extremes.widths()
    even, odd = widths[::2].max(axis=0), widths[1::2].max(axis=0)
    floor = np.finfo(np.float64).tiny
    ratio = np.maximum(even, odd) / np.maximum(np.minimum(even, odd), floor)
    unstable = (ratio > STABILITY) & (np.maximum(even, odd) > floor)
    share = float(unstable.mean()) if unstable.size else 0.0
    if count >= MIN_SAMPLES and share < 0.1:
        return
    worst = case.extremes.names[int(np.argmax(ratio))]
    what = (
        f"{count} samples; two halves of them disagree by more than a quarter on {share:.0%} of the tensors"
    )
    step = f"Most of all on '{worst}'. Give more samples, until halves agree."
    lost = _lost_by_half(case)
    gain = lost if lost >= MIN_GAIN_DB else None
    tried = "compared two halves; the number is what all samples win over half of them"
    yield Cause("too few samples", "calibration data", what, gain, tried, step)


def _lost_by_half(case: Case) -> float:
    """Return how much worse the output is, in dB, without every second sample; ranges are min/max."""
    everything = np.ones(len(case.samples), bool)
    half = everything.copy()
    half[1::2] = False
    whole, part = (case.gain_of(Undo(ranges=case.ranges_of(keep))) for keep in (everything, half))
    return whole - part


def duplicate_samples(case: Case) -> Iterator[Cause]:
    """Samples that are byte for byte the same count once."""
    seen: dict[bytes, int] = {}
    repeated: list[tuple[int, int]] = []
    for index, sample in enumerate(case.samples):
        digest = hashlib.sha256(b"".join(sample[name].tobytes() for name in sorted(sample)))
        first = seen.setdefault(digest.digest(), index)
        repeated += [(first, index)] if first != index else []
    if len(repeated) * 10 < len(case.samples):
        return
    pairs = ", ".join(f"{case.sample_name(b)} = {case.sample_name(a)}" for a, b in repeated[:_NAMED])
    what = f"{len(repeated)} of {len(case.samples)} samples repeat another one: {pairs}"
    yield Cause("duplicate samples", "calibration data", what, next_step="Give different samples.")


def saturation(case: Case) -> Iterator[Cause]:
    """Values beyond their range on the evaluation samples; undone by ranges that hold them."""
    fresh = Extremes.collect(case.model, tuple(case.ranges), case.evaluation.data.samples)
    wider: dict[str, tuple[float, float]] = {}
    excess: dict[str, float] = {}
    everything = np.ones(len(fresh.low), bool)
    for name, (low, high) in fresh.ranges(everything).items():
        old_low, old_high = case.ranges[name]
        width = max(old_high, 0.0) - min(old_low, 0.0)
        beyond = max(old_low - low, high - old_high, 0.0)
        if beyond > width / 255:
            wider[name], excess[name] = (
                (min(low, old_low), max(high, old_high)),
                beyond / width if width else 1,
            )
    if not wider:
        return
    gain = case.gain_of(Undo(ranges={**case.ranges, **wider}))
    if gain < MIN_GAIN_DB:
        return
    worst = max(excess, key=lambda name: excess[name])
    what = (
        f"{len(wider)} tensors leave their range on the evaluation samples, '{worst}' by {excess[worst]:.0%}"
    )
    step = "Give calibration samples that cover these values, or use --calibrator minmax."
    yield Cause("saturation", f"tensor '{worst}'", what, gain, "widened the ranges to what was seen", step)
