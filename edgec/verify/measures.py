"""How far an output is from the source's: largest errors, SQNR, cosine."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgec.ir import Array
from edgec.reports.model import OutputCheck, Tolerance


@dataclass
class OutputStatistics:
    """Accumulates over samples what one output's check needs; memory is a few numbers.

    Positions where both sides are NaN, or the same infinity, count as equal.
    """

    name: str
    max_abs_error: float = 0.0
    max_rel_error: float = 0.0
    peak: float = 0.0
    signal: float = 0.0
    noise: float = 0.0
    dot: float = 0.0
    power: float = 0.0

    def update(self, source: Array, ours: Array) -> None:
        """Add one sample; shapes must be equal."""
        reference, result = source.astype(np.float64).reshape(-1), ours.astype(np.float64).reshape(-1)
        equal = (reference == result) | (np.isnan(reference) & np.isnan(result))
        error = np.zeros(reference.shape)
        error[~equal] = np.nan_to_num(np.abs(result[~equal] - reference[~equal]), nan=np.inf, posinf=np.inf)
        finite = np.isfinite(reference) & np.isfinite(result)
        self.max_abs_error = max(self.max_abs_error, float(error.max(initial=0.0)))
        self.max_rel_error = max(self.max_rel_error, _max_relative(error, reference))
        self.peak = max(self.peak, float(np.abs(reference[finite]).max(initial=0.0)))
        self.signal += float(np.square(reference[finite]).sum())
        self.noise += float(np.square(error).sum())
        self.dot += float(reference[finite] @ result[finite])
        self.power += float(np.square(result[finite]).sum())

    @property
    def sqnr_db(self) -> float:
        """Signal to quantization noise ratio, `10 log10(Σ ref² / Σ (ours - ref)²)`, in dB."""
        if self.noise == 0:
            return math.inf
        if not math.isfinite(self.noise) or self.signal == 0:
            return -math.inf
        return 10 * math.log10(self.signal / self.noise)

    def check(self, tolerance: Tolerance) -> OutputCheck:
        """Return the verdict. The relative part of a tolerance is relative to the output's largest value."""
        passed = True
        if tolerance.absolute is not None or tolerance.relative is not None:
            allowed = (tolerance.absolute or 0.0) + (tolerance.relative or 0.0) * self.peak
            passed = self.max_abs_error <= allowed
        if tolerance.sufficient_sqnr_db is not None:
            passed = passed or self.sqnr_db >= tolerance.sufficient_sqnr_db
        if tolerance.min_sqnr_db is not None:
            passed = passed and self.sqnr_db >= tolerance.min_sqnr_db
        norms = math.sqrt(self.signal * self.power)
        cosine = self.dot / norms if norms else None
        return OutputCheck(self.name, self.max_abs_error, self.max_rel_error, self.sqnr_db, cosine, passed)


def _max_relative(error: npt.NDArray[np.float64], reference: npt.NDArray[np.float64]) -> float:
    """Return the largest error relative to its own value, where that value is not zero."""
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = np.where(reference != 0, error / np.abs(reference), 0.0)
    return float(np.nan_to_num(relative, nan=0.0).max(initial=0.0))
