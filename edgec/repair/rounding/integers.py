"""Integers for one layer: error feedback through Cholesky factors, then coordinate descent.

The objective is quadratic, `(s·q - t) · H · (s·q - t)ᵀ` for each output channel, with integers q in
[-limit, limit], the channel's scale s and a real target t.

    feedback   rounds column after column; each takes over the error of those before it. With H = R·Rᵀ and R
               upper triangular, the objective is Σ_j (Σ_{i≤j} d[i]·R[i, j])² for d = t - s·q, so column j
               rounds t[j] + Σ_{i<j} d[i]·R[i, j] / R[j, j]
               (the integers of Frantar et al., "GPTQ", 2022, arXiv:2210.17323, without inverting H; columns
               of largest power first)
    descent    moves one integer at a time to its exact minimum, all others fixed, until nothing moves

All output channels move together; columns in blocks, so that most of the work is matrix products. Arrays are
[groups, columns, outputs] here, so that what one step reads lies together, columns in the metric's own order.
"""

from __future__ import annotations

import numpy as np

from edgec.quantize.parameters import Floats

BLOCK = 32


class Metric:
    """`h` [g, k, k], symmetric and positive definite, with its columns ordered and factorized."""

    def __init__(self, h: Floats, limit: int) -> None:
        self._order = np.argsort(-np.diagonal(h, axis1=1, axis2=2), axis=1, kind="stable")
        self._limit = limit
        rows = np.take_along_axis(h, self._order[:, :, None], 1)
        self._h = np.take_along_axis(rows, self._order[:, None, :], 2)
        self._r = np.linalg.cholesky(self._h[:, ::-1, ::-1])[:, ::-1, ::-1]

    def ordered(self, weights: Floats) -> Floats:
        """Return weights [g, m, k] in the metric's order, [g, k, m]."""
        return np.take_along_axis(weights.transpose(0, 2, 1), self._order[:, :, None], 1)

    def restored(self, ordered: Floats) -> Floats:
        """Return [g, k, m] in the metric's order as weights [g, m, k]."""
        restored = np.empty_like(ordered)
        np.put_along_axis(restored, self._order[:, :, None], ordered, 1)
        return restored.transpose(0, 2, 1)

    def objective(self, q: Floats, target: Floats, scales: Floats) -> Floats:
        """Return the objective of each output channel, [g, m]; scales are [g, m], all positive."""
        difference = q * scales[:, None] - target
        return np.einsum("gkm,gkm->gm", self._h @ difference, difference)

    def scale_fit(self, q: Floats, target: Floats) -> tuple[Floats, Floats]:
        """Return q·H·qᵀ and q·H·tᵀ, each [g, m]: their quotient is the scale that fits the integers best."""
        projected = self._h @ q
        return np.einsum("gkm,gkm->gm", projected, q), np.einsum("gkm,gkm->gm", projected, target)

    def feedback(self, target: Floats, scales: Floats) -> Floats:
        """Return integers [g, k, m] by error feedback."""
        q, rest, columns = np.empty_like(target), np.empty_like(target), target.shape[1]
        for start in range(0, columns, BLOCK):
            end = min(start + BLOCK, columns)
            owed = self._r[:, :start, start:end].transpose(0, 2, 1) @ rest[:, :start]
            for at in range(start, end):
                r = self._r[:, at, at:end]
                wanted = target[:, at] + owed[:, at - start] / r[:, :1]
                q[:, at] = self._rounded(wanted / scales)
                rest[:, at] = target[:, at] - q[:, at] * scales
                owed[:, at - start + 1 :] += r[:, 1:, None] * rest[:, at, None]
        return q

    def descend(self, q: Floats, target: Floats, scales: Floats, sweeps: int) -> Floats:
        """Return integers at least as good as `q`, after at most so many sweeps over all columns."""
        q, columns = q.copy(), q.shape[1]
        for _ in range(sweeps):
            moved = False
            for start in range(0, columns, BLOCK):
                moved |= self._descend_block(q, target, scales, start, min(start + BLOCK, columns))
            if not moved:
                break
        return q

    def _descend_block(self, q: Floats, target: Floats, scales: Floats, start: int, end: int) -> bool:
        slopes = self._h[:, start:end] @ (q * scales[:, None] - target)
        moved = False
        for at in range(end - start):
            h = self._h[:, start + at, start:end]
            old = q[:, start + at]
            move = self._rounded(old - slopes[:, at] / (h[:, at, None] * scales)) - old
            if move.any():
                moved = True
                slopes += h[:, :, None] * (move * scales)[:, None]
                q[:, start + at] += move
        return moved

    def _rounded(self, real: Floats) -> Floats:
        np.rint(real, out=real)
        np.minimum(real, self._limit, out=real)
        return np.maximum(real, -self._limit, out=real)
