"""Second moments of a layer's inputs, of the quantized path and against the float path.

    x    the columns as the quantized network sees them
    r    W · (x - x_float): how far the layer's output is off before its own weights are rounded

    error of rounded weights V = W + D, bias adjusted:   E |D · x + r|²  about the mean
        = D · H · Dᵀ + 2 · D · C + R        H = cov(x, x)   C = cov(x, r)   R = var(r)

So a layer is judged, and its integers are chosen, from H, C and R alone; no sample is kept.
Products over one sample's positions are float32, their sums over samples float64 in a fixed order.
Memory: two sets of `groups · columns · (columns + outputs)` numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgec.quantize.parameters import Floats

Rows = npt.NDArray[np.floating]
"""Positions of one sample, [groups, positions, columns or outputs]."""


@dataclass(frozen=True, slots=True, eq=False)
class Covariance:
    """Centred moments of one layer: `h` [g, k, k], `c` [g, k, m], `r` [g, m], means [g, k] and [g, m]."""

    h: Floats
    c: Floats
    r: Floats
    mean_x: Floats
    mean_r: Floats

    def error(self, change: Floats) -> Floats:
        """Return the mean squared output error [g, m] of weights changed by `change` [g, m, k]."""
        quadratic = np.einsum("gmk,gmk->gm", change @ self.h, change)
        linear = np.einsum("gmk,gkm->gm", change, self.c)
        return quadratic + 2 * linear + self.r

    def offset(self, change: Floats) -> Floats:
        """Return the mean output error [g, m] of such weights: what the bias has to take back."""
        return np.einsum("gmk,gk->gm", change, self.mean_x) + self.mean_r


class Moments:
    """Running sums over positions."""

    def __init__(self, groups: int, outputs: int, columns: int) -> None:
        self.count = 0
        self._xx = np.zeros((groups, columns, columns))
        self._xr = np.zeros((groups, columns, outputs))
        self._rr = np.zeros((groups, outputs))
        self._x = np.zeros((groups, columns))
        self._r = np.zeros((groups, outputs))

    def add(self, x: Rows, r: Rows) -> None:
        """Add positions: `x` [g, p, k], `r` [g, p, m]."""
        self.count += x.shape[1]
        turned = x.transpose(0, 2, 1)
        self._xx += turned @ x
        self._xr += turned @ r
        self._rr += np.einsum("gpm,gpm->gm", r, r)
        self._x += x.sum(1, dtype=np.float64)
        self._r += r.sum(1, dtype=np.float64)

    def merged(self, other: Moments) -> Moments:
        """Return the sums of what both have seen."""
        groups, outputs = self._rr.shape
        both = Moments(groups, outputs, self._x.shape[1])
        both.count = self.count + other.count
        for total, mine, theirs in zip(both._sums(), self._sums(), other._sums(), strict=True):
            np.add(mine, theirs, out=total)
        return both

    def covariance(self) -> Covariance:
        """Return the moments about the mean; at least one position must have been added."""
        x, r = self._x / self.count, self._r / self.count
        h = self._xx / self.count - x[:, :, None] * x[:, None, :]
        c = self._xr / self.count - x[:, :, None] * r[:, None, :]
        return Covariance(h, c, np.maximum(self._rr / self.count - r * r, 0.0), x, r)

    def _sums(self) -> tuple[Floats, ...]:
        return self._xx, self._xr, self._rr, self._x, self._r
