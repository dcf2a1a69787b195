"""Samples as the device feeds them, when the model takes raw pixels.

samples of the source (normalized) ──PixelInput──▶ r = scale * (pixel - zero_point), whole pixels
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from edgec.calibrate import problems
from edgec.calibrate.preprocess import HOW_TO_SAY, Preprocess
from edgec.calibrate.samples import Array, InputSpec, Sample, SampleDescription, SampleSet, channel_axis
from edgec.diagnostics import CompileError, Diagnostic
from edgec.passes.pixels import LARGEST, Floats, PixelInput

RAW_PIXELS = "E0617"  # raw pixels are asked for, and the model or what is stated does not allow it

BEYOND = 1.0
"""Pixels beyond 0..255 that are let pass: sharp resizing in float overshoots."""

_WHOLE = 0.02


class Samples(Protocol):
    """Samples that can be counted and gone through again and again."""

    def __len__(self) -> int:
        """Return how many there are."""
        ...

    def __iter__(self) -> Iterator[Mapping[str, Array]]:
        """Start again from the first."""
        ...


class Oracle(Protocol):
    """Runs the source model."""

    def run(self, inputs: Mapping[str, Array]) -> list[Array]:
        """Return every output."""
        ...


@dataclass(frozen=True)
class RawPixels:
    """The image inputs of a model that takes raw pixels, and what was stated about their images."""

    inputs: tuple[PixelInput, ...] = ()
    settings: Preprocess = field(default_factory=Preprocess)

    @staticmethod
    def of(inputs: Sequence[InputSpec], stated: Preprocess | None, samples: SampleSet | None) -> RawPixels:
        """Return those of a model by what was stated, on its own or along with the samples; E0617."""
        settings = (stated or Preprocess()).over(None if samples is None else samples.preprocess)
        return RawPixels(pixel_inputs(inputs, settings), settings)

    def fed(self, samples: SampleSet) -> SampleSet:
        """Return the samples as the device feeds them."""
        return as_pixels(samples, self.inputs)

    def fed_again(self, samples: Samples) -> Samples:
        """Return evaluation samples as the device feeds them."""
        return FedSamples(samples, PixelFeed(self.inputs)) if self.inputs else samples

    def cut(self, sample: Mapping[str, Array]) -> Mapping[str, Array]:
        """Return a random sample as the device could feed it."""
        return PixelFeed(self.inputs, strict=False).sample(sample, "a random sample")

    def behind(self, source: Oracle) -> Oracle:
        """Return the source model behind its preprocessing."""
        return PreprocessedSource(source, self.inputs) if self.inputs else source


def pixel_inputs(inputs: Sequence[InputSpec], settings: Preprocess) -> tuple[PixelInput, ...]:
    """Return how the pixels of every image input become what the source wants.

    An image has 4 axes of which one holds 1 or 3 channels. Raises `CompileError` E0617 where no input is one,
    or where nobody stated mean or std: a guess would be built into the model.
    """
    if not settings.normalizes:
        what = "nothing states how pixels become inputs"
        why = "What the model does to raw pixels is fixed when it is compiled."
        step = "Add --mean and --std in pixel units; --mean 0 --std 1 for a model of pixels in 0..255."
        raise problems.fail(RAW_PIXELS, "--raw-pixels", what, why, step)
    images = [(spec, axis) for spec in inputs if (axis := channel_axis(spec)) is not None]
    images = [(spec, axis) for spec, axis in images if spec.shape[axis] in (1, 3) and spec.dtype.kind == "f"]
    if not images:
        listing = ", ".join(map(str, inputs))
        why = "An image has 4 axes, 1 or 3 channels and a known layout, and is of floats."
        raise problems.fail(
            RAW_PIXELS, "--raw-pixels", f"no input is an image: {listing}", why, "Leave it out."
        )
    return tuple(_pixel_input(spec, axis, settings) for spec, axis in images)


def _pixel_input(spec: InputSpec, axis: int, settings: Preprocess) -> PixelInput:
    channels = spec.shape[axis]
    if settings.color is not None and (settings.color == "gray") != (channels == 1):
        what = f'color = "{settings.color}", but {spec} has {channels} channels'
        raise problems.fail(problems.PREPROCESS, "--raw-pixels", what, next_step=HOW_TO_SAY)
    settings.check_channels(channels, "--raw-pixels")
    mean, std = (
        numbers if len(numbers) == channels else numbers * channels
        for numbers in (settings.mean or (0.0,), settings.std or (1.0,))
    )
    return PixelInput(spec.name, "nchw" if axis == 1 else "nhwc", mean, std, settings.color == "bgr")


def as_pixels(samples: SampleSet, inputs: Sequence[PixelInput]) -> SampleSet:
    """Return the samples as the device feeds them; E0317 for values that no pixel gives (when it is read).

    Random numbers are cut to what pixels give. Its notes are those of feeding pixels.
    """
    reader = PixelReader(samples, PixelFeed(tuple(inputs), strict=samples.describe().source != "random"))
    first = next(iter(samples), None)
    notes = [] if first is None else [note for each in inputs if (note := _parts(each, first)) is not None]
    return SampleSet(reader, samples.inputs, notes, samples.preprocess)


@dataclass(frozen=True)
class PixelFeed:
    """Turns samples of the source into what the device feeds; `strict` refuses what no pixel gives."""

    inputs: tuple[PixelInput, ...]
    strict: bool = True

    def sample(self, sample: Mapping[str, Array], name: str) -> Sample:
        """Return one sample; `name` is for messages."""
        return {**sample, **{each.name: self._array(each, sample[each.name], name) for each in self.inputs}}

    def _array(self, pixels: PixelInput, values: Array, name: str) -> Array:
        found = pixels.pixels(values)
        if self.strict and (found.min() < -BEYOND or found.max() > LARGEST + BEYOND):
            raise CompileError(_beyond(pixels, values, found, name))
        return pixels.on_device(found)


def _beyond(pixels: PixelInput, values: Array, found: Floats, name: str) -> Diagnostic:
    what = (
        f"values {values.min():.4g}..{values.max():.4g} of input '{pixels.name}' would be pixels "
        f"{found.min():.4g}..{found.max():.4g} by the stated mean and std"
    )
    why = "Pixels are 0..255: the samples were normalized in another way than stated."
    return Diagnostic(problems.PIXELS, name, what, why, "Correct --mean and --std, or give images.")


def _parts(pixels: PixelInput, sample: Mapping[str, Array]) -> Diagnostic | None:
    found = pixels.pixels(sample[pixels.name])
    off = np.abs(found - np.rint(found))
    if np.mean(off > _WHOLE) < _WHOLE:
        return None
    what = f"values of input '{pixels.name}' stand for pixels with fractions: rounded, as on the device"
    return problems.note(problems.PARTS, "--raw-pixels", what)


@dataclass(frozen=True)
class PixelReader:
    """Another set's samples as the device feeds them."""

    samples_of: SampleSet
    feed: PixelFeed

    @property
    def description(self) -> SampleDescription:
        """Where the samples come from."""
        found = self.samples_of.describe()
        return SampleDescription(found.source, found.count, f"{found.how}, as raw pixels")

    @property
    def repeatable(self) -> bool:
        """The set itself compares its passes."""
        return True

    def name(self, index: int) -> str:
        """Return the name of a sample."""
        return self.samples_of.name(index)

    def samples(self) -> Iterator[Sample]:
        """Yield the samples from the first on."""
        for index, sample in enumerate(self.samples_of):
            yield self.feed.sample(sample, self.name(index))

    def identity(self) -> str:
        """Return what tells the other set, and how it is changed."""
        return f"{self.samples_of.identity}\n{self.feed!r}"


@dataclass(frozen=True)
class FedSamples:
    """Evaluation samples as the device feeds them."""

    samples_of: Samples
    feed: PixelFeed

    def __len__(self) -> int:
        return len(self.samples_of)

    def __iter__(self) -> Iterator[Mapping[str, Array]]:
        for index, sample in enumerate(self.samples_of):
            yield self.feed.sample(sample, f"evaluation sample {index}")


@dataclass(frozen=True)
class PreprocessedSource:
    """The source model behind its own preprocessing: it takes what the device feeds."""

    source: Oracle
    inputs: Sequence[PixelInput]

    def run(self, inputs: Mapping[str, Array]) -> list[Array]:
        """Normalize the pixels as stated and return the source's outputs."""
        images = {each.name: each.in_source(inputs[each.name]) for each in self.inputs}
        return self.source.run({**inputs, **images})


NO_PIXELS = RawPixels()
