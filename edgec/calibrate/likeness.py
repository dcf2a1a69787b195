"""Samples that are alike: equal ones by content hash, similar images by the signs of their gradients.

image ─▶ mean of the channels ─▶ 8 x 9 block means ─▶ is each brighter than its right neighbour? ─▶ 64 bits
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from edgec.calibrate.samples import Array, InputSpec, Sample, channel_axis

NEAR_BITS = 4
"""Two of 64 signs that may differ on each side between pictures of one scene; unrelated ones differ in 32."""

_ROWS, _COLUMNS = 8, 9
_FLAT = 0.01  # of the image's range: a step that is none
_LEAST_STEPS = 48  # of 64
_BLOCK = 512  # rows of the table of distances at a time


@dataclass(slots=True)
class Likeness:
    """Collects fingerprints, 24 bytes a sample, and groups the samples in the end."""

    inputs: Sequence[InputSpec]
    _digests: list[bytes] = field(default_factory=list[bytes])
    _prints: list[int | None] = field(default_factory=list[int | None])

    def add(self, sample: Sample) -> None:
        """Take the fingerprints of one sample."""
        digest = hashlib.sha256()
        for spec in self.inputs:
            digest.update(np.ascontiguousarray(sample[spec.name]).data)
        self._digests.append(digest.digest()[:16])
        self._prints.append(_fingerprint(self.inputs[0], sample[self.inputs[0].name]))

    def equal(self) -> list[list[int]]:
        """Return groups of samples with the same bytes, each in order."""
        groups: dict[bytes, list[int]] = {}
        for index, digest in enumerate(self._digests):
            groups.setdefault(digest, []).append(index)
        return [group for group in groups.values() if len(group) > 1]

    def similar(self) -> list[list[int]]:
        """Return groups of images that look alike but are not equal."""
        first: dict[bytes, int] = {}
        for index, digest in enumerate(self._digests):
            first.setdefault(digest, index)
        known = [index for index in first.values() if self._prints[index] is not None]
        prints = np.array([self._prints[index] for index in known], np.uint64)
        parent = list(range(len(known)))
        for start in range(0, len(known), _BLOCK):
            distances = np.bitwise_count(prints[start : start + _BLOCK, None] ^ prints[None, :])
            for row, column in np.argwhere(distances <= NEAR_BITS):
                if start + row < column:
                    parent[_root(parent, int(column))] = _root(parent, int(start + row))
        groups: dict[int, list[int]] = {}
        for position, index in enumerate(known):
            groups.setdefault(_root(parent, position), []).append(index)
        return [group for group in groups.values() if len(group) > 1]


def _root(parent: list[int], index: int) -> int:
    while parent[index] != index:
        parent[index] = parent[parent[index]]
        index = parent[index]
    return index


def _fingerprint(spec: InputSpec, values: Array) -> int | None:
    """Return 64 bits of an image, or None for what is no image or shows nothing."""
    axis = channel_axis(spec)
    if axis is None or values.shape[0] != 1:
        return None
    grey: npt.NDArray[np.float64] = np.asarray(values[0], np.float64).mean(axis=axis - 1)
    if min(grey.shape) < _COLUMNS or np.ptp(grey) == 0:
        return None
    rows = np.linspace(0, grey.shape[0], _ROWS + 1).astype(int)[:-1]
    columns = np.linspace(0, grey.shape[1], _COLUMNS + 1).astype(int)[:-1]
    sums = np.add.reduceat(np.add.reduceat(grey, rows, axis=0), columns, axis=1)
    counts = np.diff([*rows, grey.shape[0]])[:, None] * np.diff([*columns, grey.shape[1]])[None, :]
    steps = np.diff(sums / counts, axis=1).reshape(-1)
    if np.count_nonzero(np.abs(steps) > _FLAT * np.ptp(grey)) < _LEAST_STEPS:
        return None  # a figure on a plain ground: most signs say nothing, so all such images look alike
    bits = steps > 0
    return int.from_bytes(np.packbits(bits).tobytes(), "big")
