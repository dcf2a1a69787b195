"""The digits data set, split once and for all into training, calibration and held-out images.

Everything downstream sees the same 8-bit pixels: scikit-learn's grey levels 0..16 become
round(level * 255 / 16), which is what a PNG file can hold, and the model's input is that pixel / 255.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CLASSES = 10
CALIBRATION_PER_CLASS = 10
HELD_OUT_SHARE = 0.2  # of each class, rounded
GREY_LEVELS = 16  # scikit-learn's darkest pixel


@dataclass(frozen=True, slots=True)
class Split:
    """Some of the images: `pixels` uint8 [n,8,8], `labels` int64 [n], `indices` int64 [n] into the source."""

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]
    indices: NDArray[np.int64]

    def images(self) -> NDArray[np.float32]:
        """Return the model's input: float32 [n,1,8,8] in 0..1."""
        return self.pixels[:, None].astype(np.float32) / np.float32(255)


@dataclass(frozen=True, slots=True)
class Digits:
    """Three splits without a common image, each with every class in the source's proportions."""

    train: Split
    calibration: Split
    held_out: Split


def load_digits_split(seed: int) -> Digits:
    """Split scikit-learn's bundled digits (1797 images) class by class with a seeded shuffle."""
    from sklearn.datasets import load_digits  # pyright: ignore[reportMissingImports]  # extra [sample]

    levels, classes = load_digits(return_X_y=True)
    pixels = np.rint(levels.reshape(-1, 8, 8) * (255 / GREY_LEVELS)).astype(np.uint8)
    labels = classes.astype(np.int64)
    parts = _stratified_indices(labels, seed)
    return Digits(*(Split(pixels[part], labels[part], part) for part in parts))


def _stratified_indices(labels: NDArray[np.int64], seed: int) -> tuple[NDArray[np.int64], ...]:
    """Return the sorted source indices of training, calibration and held-out images."""
    generator = np.random.default_rng(seed)
    train, calibration, held_out = [], [], []
    for label in range(CLASSES):
        members = generator.permutation(np.flatnonzero(labels == label))
        held_out_end = CALIBRATION_PER_CLASS + round(len(members) * HELD_OUT_SHARE)
        calibration.append(members[:CALIBRATION_PER_CLASS])
        held_out.append(members[CALIBRATION_PER_CLASS:held_out_end])
        train.append(members[held_out_end:])
    return tuple(np.sort(np.concatenate(part)) for part in (train, calibration, held_out))
