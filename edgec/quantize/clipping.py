"""Scales for few levels: the largest weights are cut off where that makes the others exacter.

    error(s) = Σ (w - s * clip(round(w / s), low, high))²

With 127 steps each way, a scale that covers the largest weight is as good as any. With 7, a normal channel's
error is least at about 0.8 of it, 1.5 dB below; a channel with outliers gains far more. The error is searched
on a grid, as it has many minima, and the best is refined: for fixed integers q, Σwq / Σq² is the best scale.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edgec.ir import Array
from edgec.quantize.parameters import Floats

FRACTIONS = np.linspace(1.0, 0.25, 61)
"""Tried scales as parts of the largest weight's; the largest comes first, so that it wins a draw."""

_REFINEMENTS = 4
_CHUNK = 1 << 20


def least_error_scales(weights: Array, axis: int | None, low: int, high: int) -> Floats:
    """Return the scales of least squared error, per slice along `axis` or one for all; 0 for a slice of 0."""
    if axis is None:
        rows = weights.reshape(1, -1)
    else:
        rows = np.moveaxis(weights, axis, 0).reshape(weights.shape[axis], -1)
    step = max(1, _CHUNK // max(rows.shape[1], 1))
    parts = [_of_rows(rows[at : at + step].astype(np.float32), low, high) for at in range(0, len(rows), step)]
    return np.concatenate(parts) if parts else np.zeros(0)


def _of_rows(rows: npt.NDArray[np.float32], low: int, high: int) -> Floats:
    largest = np.abs(rows).max(axis=1, initial=0.0).astype(np.float64)
    natural = np.where(largest > 0, largest, 1.0) / high
    best = natural.copy()
    least = np.full(len(rows), np.inf)
    for fraction in FRACTIONS:
        _improve(rows, natural * fraction, best, least, low, high)
    for _ in range(_REFINEMENTS):
        q = _integers(rows, best, low, high)
        squares = np.einsum("ij,ij->i", q, q, dtype=np.float64)
        products = np.einsum("ij,ij->i", rows, q, dtype=np.float64)
        refined = np.divide(products, squares, out=best.copy(), where=squares > 0)
        _improve(rows, refined, best, least, low, high)
    return np.where(largest > 0, best, 0.0)


def _improve(
    rows: npt.NDArray[np.float32], tried: Floats, best: Floats, least: Floats, low: int, high: int
) -> None:
    """Put scales that make the error less into `best`, and that error into `least`."""
    rest = _integers(rows, tried, low, high)
    rest *= tried.astype(np.float32)[:, np.newaxis]
    rest -= rows
    error = np.einsum("ij,ij->i", rest, rest, dtype=np.float64)
    better = error < least
    best[better], least[better] = tried[better], error[better]


def _integers(rows: npt.NDArray[np.float32], scales: Floats, low: int, high: int) -> npt.NDArray[np.float32]:
    q = rows / scales.astype(np.float32)[:, np.newaxis]
    np.rint(q, out=q)
    return np.clip(q, low, high, out=q)
