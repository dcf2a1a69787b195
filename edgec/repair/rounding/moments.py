"""Second moments of a layer's inputs, of the quantized path and against the float path.

    x    the columns as the quantized network sees them
    r    W · (x - x_float): how far the layer's output is off before its own weights are rounded

    error of rounded weights V = W + D, bias adjusted:   E |D · x + r|²  about the mean
        = D · H · Dᵀ + 2 · D · Cᵀ + R        H = cov(x, x)   C = cov(r, x)   R = var(r)

So a layer is judged, and its integers are chosen, from H, C and R alone; no sample is kept.
Products over a block of positions are float32, their sums over blocks float64 in a fixed order.
Memory: two sets of `groups · columns · (columns + outputs)` numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgec.quantize.parameters import Floats

Rows = npt.NDArray[np.floating]
"""Positions of samples, [groups, positions, columns or outputs]."""

Reals = npt.NDArray[np.floating]


@dataclass(frozen=True, slots=True, eq=False)
class Covariance:
    """Centred moments of one layer: `h` [g, k, k], `c` [g, m, k], `r` [g, m], means [g, k] and [g, m]."""

    h: Reals
    c: Reals
    r: Reals
    mean_x: Reals
    mean_r: Reals

    def error(self, change: Reals) -> Reals:
        """Return the mean squared output error [g, m] of weights changed by `change` [g, m, k]."""
        quadratic = np.einsum("gmk,gmk->gm", change @ self.h, change)
        linear = np.einsum("gmk,gmk->gm", change, self.c)
        return quadratic + 2 * linear + self.r

    def offset(self, change: Reals) -> Reals:
        """Return the mean output error [g, m] of such weights: what the bias has to take back."""
        return (change @ self.mean_x[..., None])[..., 0] + self.mean_r


class Moments:
    """Running sums over positions."""

    def __init__(self, groups: int, outputs: int, columns: int) -> None:
        self.count = 0
        self._xx = np.zeros((groups, columns, columns))
        self._rx = np.zeros((groups, outputs, columns))
        self._rr = np.zeros((groups, outputs))
        self._x = np.zeros((groups, columns))
        self._r = np.zeros((groups, outputs))

    def add(self, x: Rows, r: Rows) -> None:
        """Add positions: `x` [g, p, k], `r` [g, p, m]."""
        self.count += x.shape[1]
        self._xx += x.transpose(0, 2, 1) @ x  # BLAS computes half of it
        self._rx += r.transpose(0, 2, 1) @ x
        self._rr += np.einsum("gpm,gpm->gm", r, r)
        ones = np.ones((1, x.shape[1]), x.dtype)
        self._x += (ones @ x)[:, 0]
        self._r += (ones @ r)[:, 0]

    def add_joined(self, rows: Rows, first: int) -> None:
        """Add positions [x | r | 1] of some groups, from `first` on; positions count with group 0.

        Where there are a thousand small groups, calls cost more than arithmetic: one product gives all sums.
        """
        columns, groups = self._x.shape[1], slice(first, first + len(rows))
        product = rows.transpose(0, 2, 1) @ rows
        self.count += 0 if first else rows.shape[1]
        self._xx[groups] += product[:, :columns, :columns]
        self._rx[groups] += product[:, columns:-1, :columns]
        self._rr[groups] += np.diagonal(product, axis1=1, axis2=2)[:, columns:-1]
        self._x[groups] += product[:, -1, :columns]
        self._r[groups] += product[:, -1, columns:-1]

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
        c = self._rx / self.count - r[:, :, None] * x[:, None, :]
        return Covariance(h, c, np.maximum(self._rr / self.count - r * r, 0.0), x, r)

    def _sums(self) -> tuple[Floats, ...]:
        return self._xx, self._rx, self._rr, self._x, self._r
