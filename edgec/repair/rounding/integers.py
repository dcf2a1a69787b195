"""Integers for one layer: error feedback through Cholesky factors, then coordinate descent.

The objective is quadratic, `(s·q - t) · H · (s·q - t)ᵀ` for each output channel, with integers q in
[-limit, limit], the channel's scale s and a real target t.

    feedback   rounds column after column; each takes over the error of those before it. With H = R·Rᵀ and R
               upper triangular, the objective is Σ_j (Σ_{i≤j} d[i]·R[i, j])² for d = t - s·q, so column j
               rounds t[j] + Σ_{i<j} d[i]·R[i, j] / R[j, j]
               (the integers of Frantar et al., "GPTQ", 2022, arXiv:2210.17323, without inverting H; columns
               of largest power first)
    descent    moves one integer at a time to its exact minimum, all others fixed, until nothing moves

All output channels of all groups move together; columns in blocks, so that most of the work is matrix
products. Arrays are [groups, columns, outputs] here, so that what one step reads lies together, columns in
the metric's own order, and of the metric's own type: float32 is enough to tell which integer is next.
"""

from __future__ import annotations

from copy import copy

import numpy as np

from edgec.repair.rounding.moments import Reals

BLOCK = 32
AT_ONCE = 2**20
"""Numbers that are factorized at once: float64 copies take memory."""
ALL = slice(None)


class Metric:
    """`h` [g, k, k], positive semidefinite up to roundoff, in its own order, plus `ridge` [g] times I."""

    def __init__(self, h: Reals, limit: int, ridge: Reals | float = 0.0) -> None:
        self._limit = limit
        self._order = np.argsort(-np.diagonal(h, axis1=1, axis2=2), axis=1, kind="stable")
        self._groups = np.arange(len(h))[:, None]
        rows = h[self._groups, self._order]
        self._h = np.ascontiguousarray(rows.transpose(0, 2, 1)[self._groups, self._order])
        self._ridge = np.broadcast_to(np.asarray(ridge, h.dtype), len(h))
        self._r: Reals | None = None

    def with_ridge(self, ridge: Reals | float) -> Metric:
        """Return the metric of the same `h` with another ridge: order and memory are shared."""
        other = copy(self)
        other._ridge, other._r = np.broadcast_to(np.asarray(ridge, self._h.dtype), len(self._h)), None
        return other

    def _factor(self) -> Reals:
        """Return R, factorized in float64: a ridge may be small beside the power that columns share."""
        if self._r is None:
            turned, diagonal = self._h[:, ::-1, ::-1], np.arange(self._h.shape[1])
            factors = np.empty_like(self._h)
            step = max(AT_ONCE // self._h[0].size, 1)
            for first in range(0, len(turned), step):
                part = slice(first, first + step)
                wide = turned[part].astype(np.float64)
                wide[:, diagonal, diagonal] += self._ridge[part, None]
                try:
                    factors[part] = np.linalg.cholesky(wide.transpose(0, 2, 1))  # as LAPACK reads it
                except np.linalg.LinAlgError:
                    lift = self._lift(wide, part)
                    wide[:, diagonal, diagonal] += lift[:, None]
                    factors[part] = np.linalg.cholesky(wide.transpose(0, 2, 1))
            self._r = np.ascontiguousarray(factors[:, ::-1, ::-1])
        return self._r

    def _lift(self, wide: Reals, part: slice) -> Reals:
        """Add to the ridges what float32 sums took from the least variances, and return it."""
        least = np.linalg.eigvalsh(wide)[:, 0]
        roundoff = np.finfo(np.float64).eps * np.trace(np.abs(wide), axis1=1, axis2=2)
        lift = np.maximum(self._ridge[part] - least, 0) + roundoff
        ridge = self._ridge.copy()
        ridge[part] += lift.astype(ridge.dtype)
        self._ridge = ridge
        return lift

    def _times(self, columns: slice, right: Reals) -> Reals:
        """Return these rows of (h + ridge · I) · right."""
        return self._h[:, columns] @ right + self._ridge[:, None, None] * right[:, columns]

    def ordered(self, weights: Reals) -> Reals:
        """Return weights [g, m, k] in the metric's order, [g, k, m]."""
        turned = weights.transpose(0, 2, 1)[self._groups, self._order]
        return np.ascontiguousarray(turned, self._h.dtype)

    def restored(self, ordered: Reals) -> Reals:
        """Return [g, k, m] in the metric's order as weights [g, m, k]."""
        restored = np.empty_like(ordered)
        restored[self._groups, self._order] = ordered
        return restored.transpose(0, 2, 1)

    def solved(self, right: Reals) -> Reals:
        """Return (h + ridge · I)⁻¹ · right, [g, k, m]: R by blocks from below, then Rᵀ from above."""
        x, r, columns = right.copy(), self._factor(), right.shape[1]
        for start in reversed(range(0, columns, BLOCK)):
            end = min(start + BLOCK, columns)
            x[:, start:end] -= r[:, start:end, end:] @ x[:, end:]
            for at in reversed(range(start, end)):
                x[:, at] /= r[:, at, at, None]
                x[:, start:at] -= r[:, start:at, at, None] * x[:, at, None]
        for start in range(0, columns, BLOCK):
            end = min(start + BLOCK, columns)
            x[:, start:end] -= r[:, :start, start:end].transpose(0, 2, 1) @ x[:, :start]
            for at in range(start, end):
                x[:, at] /= r[:, at, at, None]
                x[:, at + 1 : end] -= r[:, at, at + 1 : end, None] * x[:, at, None]
        return x

    def objective(self, q: Reals, target: Reals, scales: Reals) -> Reals:
        """Return the objective of each output channel, [g, m]; scales are [g, m], all positive."""
        difference = q * scales[:, None] - target
        return np.einsum("gkm,gkm->gm", self._times(ALL, difference), difference)

    def scale_fit(self, q: Reals, target: Reals) -> tuple[Reals, Reals]:
        """Return q·H·qᵀ and q·H·tᵀ, each [g, m]: their quotient is the scale that fits the integers best."""
        projected = self._times(ALL, q)
        return np.einsum("gkm,gkm->gm", projected, q), np.einsum("gkm,gkm->gm", projected, target)

    def feedback(self, target: Reals, scales: Reals) -> Reals:
        """Return integers [g, k, m] by error feedback."""
        q, rest, columns = np.empty_like(target), np.empty_like(target), target.shape[1]
        factor, per_scale = self._factor(), 1 / scales
        for start in range(0, columns, BLOCK):
            end = min(start + BLOCK, columns)
            within = factor[:, start:end, start:end]
            share = within / np.diagonal(within, axis1=1, axis2=2)[:, None]  # R[i, j] / R[j, j]
            owed = factor[:, :start, start:end].transpose(0, 2, 1) @ rest[:, :start]
            owed /= np.diagonal(within, axis1=1, axis2=2)[:, :, None]
            owed += target[:, start:end]
            for at in range(end - start):
                rounded, left = q[:, start + at], rest[:, start + at]
                np.multiply(owed[:, at], per_scale, out=rounded)
                self._round(rounded)
                np.multiply(rounded, scales, out=left)
                np.subtract(target[:, start + at], left, out=left)
                owed[:, at + 1 :] += share[:, at, at + 1 :, None] * left[:, None]
        return q

    def descend(self, q: Reals, target: Reals, scales: Reals, sweeps: int) -> Reals:
        """Return integers at least as good as `q`, after at most so many sweeps over all columns."""
        q, columns = q.copy(), q.shape[1]
        off = q * scales[:, None] - target
        for _ in range(sweeps):
            moved = False
            for start in range(0, columns, BLOCK):
                moved |= self._descend_block(q, off, scales, start, min(start + BLOCK, columns))
            if not moved:
                break
        return q

    def _descend_block(self, q: Reals, off: Reals, scales: Reals, start: int, end: int) -> bool:
        """Move the integers of some columns; `off` is s·q - t, and stays so."""
        slopes = self._times(slice(start, end), off)
        per_scale, moved = 1 / scales, False
        for at in range(end - start):
            h, old = self._h[:, start + at, start + at : end], q[:, start + at]
            wanted = slopes[:, at] * per_scale
            wanted /= h[:, :1] + self._ridge[:, None]
            np.subtract(old, wanted, out=wanted)
            self._round(wanted)
            wanted -= old
            if wanted.any():
                moved = True
                old += wanted
                wanted *= scales
                off[:, start + at] += wanted
                slopes[:, at + 1 :] += h[:, 1:, None] * wanted[:, None]
        return moved

    def _round(self, real: Reals) -> None:
        np.rint(real, out=real)
        np.minimum(real, self._limit, out=real)
        np.maximum(real, -self._limit, out=real)
