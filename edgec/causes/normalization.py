"""Calibration samples that look normalized in another way than the model was trained with.

    first layers answer far too little or too much  →  what would the other normalization be?
        values 0..1      pixels / 255           →  x * 255
        values -1..1     (pixels - 127.5)/127.5 →  x * 127.5 + 127.5
        values 0..255    pixels                 →  x / 255

Batch norms were folded into the first layers before ranges were taken: what they brought the input to is in
the size of weights and bias, see `edgec/calibrate/suspicions.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np

from edgec.calibrate.other_scale import OtherScale, other_scale, suspicions_that_matter
from edgec.calibrate.ranges import collect_histograms, collect_ranges
from edgec.calibrate.suspicions import find_suspicions
from edgec.causes.case import Case, Cause, Undo
from edgec.ir import Array, Model, Quantization
from edgec.recipes.evaluate import Evaluation, EvaluationData, Sample, Samples

MIN_GAIN_DB = 0.5
LOOKED_AT = 32
"""Samples to judge the input by: it is their magnitude that counts."""


def wrong_normalization(case: Case) -> Iterator[Cause]:
    """Inputs whose values do not suit the first layers; undone by calibrating with the other normalization.

    The number is that of samples in the other normalization: what this model makes of them, and what one
    calibrated with them does. Where no other normalization calms the first layers, there is none.
    """
    first = list(islice(case.samples, LOOKED_AT))
    for found in suspicions_that_matter(case.model, collect_histograms(case.model, first), first):
        other = other_scale(found)
        gain = None if other is None else _gain(case, first, other)
        tried = "" if other is None or gain is None else f"calibrated with {other.words}, and judged on such"
        message = found.diagnostic()
        yield Cause("wrong normalization", message.where, message.what, gain, tried, message.next_step)


def _gain(case: Case, first: list[Sample], other: OtherScale) -> float | None:
    if find_suspicions(case.model, collect_histograms(case.model, [other.changed(s) for s in first])):
        return None
    ranges = collect_ranges(case.model, _Changed(case.samples, other))
    data = case.evaluation.data
    fresh = data.samples if _suits(data.samples, other, first) else _Changed(data.samples, other)
    judge = Evaluation(case.evaluation.model, EvaluationData(fresh, None, data.described), "error")
    made = case.requantize(Undo(ranges={**case.ranges, **ranges}, fitted=False))
    if _form(made, other) == _form(case.quantized, other):
        return None  # raw pixels have their scale whatever samples show: only compiling anew would change it
    gain = judge.score(made).worst_sqnr_db - judge.score(case.quantized).worst_sqnr_db
    return gain if gain >= MIN_GAIN_DB else None


def _form(model: Model, other: OtherScale) -> Quantization | None:
    ports = zip(model.inputs, model.graph.inputs, strict=True)
    return next(value.type.quantization for port, value in ports if port.name == other.name)


def _suits(evaluation: Samples, other: OtherScale, calibration: list[Sample]) -> bool:
    """Whether evaluation samples are normalized the other way already: far larger or smaller than these."""
    fresh = _size(sample[other.name] for sample in islice(iter(evaluation), LOOKED_AT))
    given = _size(sample[other.name] for sample in calibration)
    changed = _size(other.apply(sample[other.name]) for sample in calibration)
    return abs(np.log(fresh / changed)) < abs(np.log(fresh / given))


def _size(arrays: Iterable[Array]) -> float:
    """Return how far samples reach; never 0."""
    return float(np.mean([np.abs(array).max() for array in arrays])) + float(np.finfo(np.float32).tiny)


@dataclass(frozen=True)
class _Changed:
    """Samples with one input in another normalization."""

    samples: Samples
    other: OtherScale

    def __len__(self) -> int:
        return len(self.samples)

    def __iter__(self) -> Iterator[Sample]:
        return (self.other.changed(sample) for sample in self.samples)
