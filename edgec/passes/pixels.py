"""Pixels as cameras give them, and as a source model wants them.

    source    x_c = (p_c - mean_c) / std_c        channels in the source's order, blue first or red first
    device    r   = scale * (q - zero_point)      q: uint8, 0..255, red first; one scale for all channels

`scale` and `zero_point` are those of the emitted input, so r is what its integers stand for. Where all
channels have one mean, a whole number, and one std, r is x itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from edgec.ir import Array, ImageLayout

Floats = npt.NDArray[np.float64]
Reals = npt.NDArray[np.float32]

LARGEST = 255
_SAME = 1e-9


@dataclass(frozen=True)
class PixelInput:
    """An image input of the source: its axes, and how its channels are normalized, in its own order.

    `mean` and `std` have a number for each channel, in pixel units. `blue_first` says that the source wants
    BGR.
    """

    name: str
    layout: ImageLayout
    mean: tuple[float, ...]
    std: tuple[float, ...]
    blue_first: bool = False

    @property
    def channels(self) -> int:
        """Numbers a pixel has."""
        return len(self.mean)

    @property
    def axis(self) -> int:
        """The source's channel axis."""
        return 1 if self.layout == "nchw" else 3

    @property
    def order(self) -> tuple[int, ...]:
        """For each channel of the source, the device's; it is its own inverse."""
        forward = tuple(range(self.channels))
        return forward[::-1] if self.blue_first else forward

    @cached_property
    def scale(self) -> float:
        """Of the emitted input: a pixel step of the source, on average where its channels differ."""
        return float(1 / np.mean(self.std))

    @cached_property
    def zero_point(self) -> int:
        """Of the emitted input, as uint8: the pixel nearest to the mean."""
        return int(np.clip(np.rint(np.mean(self.mean)), 0, LARGEST))

    @cached_property
    def factor(self) -> Floats:
        """x_c = factor_c * r + shift_c."""
        found = 1 / (np.asarray(self.std, np.float64) * self.scale)
        return np.where(np.abs(found - 1) < _SAME, 1.0, found)

    @cached_property
    def shift(self) -> Floats:
        """x_c = factor_c * r + shift_c."""
        return (self.zero_point - np.asarray(self.mean, np.float64)) / np.asarray(self.std, np.float64)

    @property
    def slip(self) -> float:
        """How far x = 0 is from the pixel `zero_point`, in steps, for the channel where it is farthest."""
        return float(np.abs(self.zero_point - np.asarray(self.mean, np.float64)).max())

    @property
    def is_plain(self) -> bool:
        """Whether r is x: then the input's scale and zero point are the whole preprocessing."""
        return not self.blue_first and not self.slip and bool((self.factor == 1).all())

    @property
    def range(self) -> tuple[float, float]:
        """Least and largest r."""
        return -self.scale * self.zero_point, self.scale * (LARGEST - self.zero_point)

    def pixels(self, x: Array) -> Floats:
        """Return the pixels (the source's axes, the device's order of colors) that became x; not rounded."""
        exact = x.astype(np.float64) * self._along(self.std) + self._along(self.mean)
        return np.flip(exact, self.axis) if self.blue_first else exact

    def on_device(self, pixels: Array) -> Reals:
        """Return r for pixels: rounded to whole steps and cut to 0..255."""
        steps = np.clip(np.rint(pixels), 0, LARGEST) - self.zero_point
        return (steps.astype(np.float32) * np.float32(self.scale)).astype(np.float32)

    def in_source(self, r: Array) -> Reals:
        """Return x for r, by the arithmetic that the source's own preprocessing has."""
        pixels = np.rint(r.astype(np.float32) / np.float32(self.scale)) + np.float32(self.zero_point)
        pixels = np.flip(pixels, self.axis) if self.blue_first else pixels
        mean, std = (self._along(numbers).astype(np.float32) for numbers in (self.mean, self.std))
        return (pixels - mean) / std

    def _along(self, numbers: tuple[float, ...]) -> Floats:
        shape = [1, 1, 1, 1]
        shape[self.axis] = -1
        return np.asarray(numbers, np.float64).reshape(shape)
