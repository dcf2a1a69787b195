"""What one layer reads on both paths, as moments: of the samples with even and of those with odd numbers.

    x_float, x of a sample ─▶ rows at some positions ─▶ a block of rows ─▶ x, r ─▶ sums
                              as stored                  of many samples

Rows stay as they are stored until a block of them is full. So nothing but what is looked at becomes real
numbers, and few large products take the place of many small ones.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from edgec.ir import Array, Value
from edgec.quantize.parameters import Floats
from edgec.repair.rounding.columns import Columns, Integers
from edgec.repair.rounding.layers import Layer
from edgec.repair.rounding.moments import Moments, Reals
from edgec.repair.rounding.replay import as_real

POSITIONS_PER_COLUMN, AMPLE_PER_COLUMN = 16, 64
LEAST_POSITIONS, AMPLE_POSITIONS = 1024, 2048
"""A layer's moments come from this many output positions, if the samples have them, drawn per sample.

A regression on 64 positions for each column is off by 1.6 % of what it leaves, on 16 by 6 %: small layers can
have the former, in large ones it would cost too much.
"""

BLOCK_BYTES = 8 * 2**20
"""Rows of both paths that wait for each half."""

CHUNK_BYTES = 2**20
"""Real numbers of one path that are made at once where there are many groups: what a core's cache holds."""


def observe(
    layer: Layer, weights: Floats, twin: Value, inputs: Iterable[tuple[Array, Array]], samples: int
) -> tuple[Moments, Moments]:
    """Return the moments of both halves of the samples.

    Args:
        layer: the float layer.
        weights: its weights [g, m, k].
        twin: the activation that it reads on the quantized path.
        inputs: what it reads on the float and on the quantized path, as stored, for every sample.
        samples: how many there are.
    """
    halves = _Half(layer, weights, twin), _Half(layer, weights, twin)
    ample = min(max(LEAST_POSITIONS, AMPLE_PER_COLUMN * layer.columns), AMPLE_POSITIONS)
    wanted = max(ample, POSITIONS_PER_COLUMN * layer.columns)
    form = twin.type.quantization
    zero = 0 if form is None else form.zero_point[0]
    columns: Columns | None = None
    for index, (expected, seen) in enumerate(inputs):
        if columns is None or columns.shape != seen.shape:
            columns = Columns(layer, seen.shape)
        at = _positions(columns.positions, math.ceil(wanted / samples), index)
        rows, truth = columns.at(seen, at, zero), columns.at(expected, at)
        halves[index % 2].add(rows, as_real(layer.data, truth))
    return halves[0].finished(), halves[1].finished()


def _positions(count: int, wanted: int, seed: int) -> Integers:
    """Return positions in rising order; a seed of its own for each sample, so that all places are seen."""
    if count <= wanted:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, wanted, replace=False))


class _Half:
    """Moments of some samples, and what of them is not added yet.

    That is rows of the quantized path [positions, taps, channels], and outputs [positions, g, m] of the float
    path: those take less room than its rows.
    """

    def __init__(self, layer: Layer, weights: Floats, twin: Value) -> None:
        self._twin, self._moments = twin, Moments(*weights.shape)
        self._weights = weights.astype(np.float32)
        split = self._weights.reshape(*weights.shape[:2], weights.shape[2] // layer.group_inputs, -1)
        self._taps = np.ascontiguousarray(split.transpose(2, 0, 1, 3))
        self._rows: list[Array] = []
        self._outputs: list[Reals] = []
        self._bytes = 0

    def add(self, rows: Array, truth: Reals) -> None:
        """Add one sample: its rows as stored on the quantized path, and as they are on the float path."""
        self._rows.append(rows)
        self._outputs.append(self._outputs_of(truth))
        self._bytes += self._rows[-1].nbytes + self._outputs[-1].nbytes
        if self._bytes >= BLOCK_BYTES:
            self._flush()

    def finished(self) -> Moments:
        """Return the moments of all samples."""
        if self._rows:
            self._flush()
        return self._moments

    def _outputs_of(self, rows: Reals) -> Reals:
        """Return what the layer computes without its bias, [positions, g, m]."""
        if len(self._weights) == 1:
            return (rows.reshape(len(rows), -1) @ self._weights[0].T)[:, None]
        return np.einsum("ptgi,tgmi->pgm", rows.reshape(*rows.shape[:2], len(self._weights), -1), self._taps)

    def _flush(self) -> None:
        rows, outputs = np.concatenate(self._rows), np.concatenate(self._outputs)
        self._rows, self._outputs, self._bytes = [], [], 0
        if len(self._weights) == 1:
            x = as_real(self._twin, rows).reshape(len(rows), -1)
            self._moments.add(x[None], (x @ self._weights[0].T - outputs[:, 0])[None])
        else:
            self._add_groups(rows.reshape(*rows.shape[:2], len(self._weights), -1), outputs)

    def _add_groups(self, rows: Array, outputs: Reals) -> None:
        groups, made, columns = self._weights.shape
        step = max(CHUNK_BYTES // (4 * rows[:, :, 0].size), 1)
        for first in range(0, groups, step):
            part = slice(first, min(first + step, groups))
            joined = np.empty((part.stop - first, len(rows), columns + made + 1), np.float32)
            x, r = joined[..., :columns], joined[..., columns:-1]
            x[...] = as_real(self._twin, rows[:, :, part]).transpose(2, 0, 1, 3).reshape(x.shape)
            np.subtract(
                x @ self._weights[part].transpose(0, 2, 1), outputs[:, part].transpose(1, 0, 2), out=r
            )
            joined[..., -1] = 1
            self._moments.add_joined(joined, first)
