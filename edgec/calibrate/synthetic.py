"""Random numbers in place of samples: an explicit choice, never a fallback."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from edgec.calibrate import problems
from edgec.calibrate.samples import Array, InputSpec, Sample, SampleDescription, SampleSet

_SMALL = 8  # integers below this are valid indices of nearly any table


@dataclass(frozen=True, slots=True)
class RandomReader:
    """Seeded random samples; sample i depends on the seed and i alone."""

    inputs: tuple[InputSpec, ...]
    count: int
    seed: int
    repeatable: bool = True

    @property
    def description(self) -> SampleDescription:
        """Where the samples come from."""
        how = f"RANDOM NUMBERS, NOT DATA: normal(0,1) floats, integers 0..{_SMALL - 1}, seed {self.seed}"
        return SampleDescription("random", self.count, how)

    def name(self, index: int) -> str:
        """Return the name of a sample."""
        return f"random sample {index}"

    def samples(self) -> Iterator[Sample]:
        """Yield the samples from the first on."""
        for index in range(self.count):
            generator = np.random.default_rng((self.seed, index))
            yield {spec.name: _draw(spec, generator) for spec in self.inputs}

    def identity(self) -> str:
        """Seed and count are in the description, which is part of every identity."""
        return "random"


def random_samples(inputs: Sequence[InputSpec], count: int, seed: int = 0) -> SampleSet:
    """Return `count` random samples, the same for the same seed (a whole number from 0)."""
    if count < 1 or seed < 0:
        what = f"count {count} and seed {seed}"
        raise problems.fail(problems.OPTION, "random calibration", what, "Count starts at 1, seed at 0.")
    for spec in inputs:
        if spec.dtype.kind not in "fiub":
            what = f"random numbers cannot feed {spec}"
            raise problems.fail(
                problems.DTYPE, "random calibration", what, next_step="Use an .npz of real samples."
            )
    warning = problems.warning(
        problems.RANDOM,
        "random calibration",
        "int8 ranges come from random numbers, not from data",
        "Accuracy on real input is unknown and usually poor.",
        "Give real samples with --calibration before shipping this model.",
    )
    return SampleSet(RandomReader(tuple(inputs), count, seed), inputs, [warning])


def _draw(spec: InputSpec, generator: np.random.Generator) -> Array:
    size = math.prod(spec.shape)
    if spec.dtype.kind == "f":
        values = generator.standard_normal(size, np.float32)
    else:
        values = generator.integers(0, 2 if spec.dtype.kind == "b" else _SMALL, size)
    return values.astype(spec.dtype).reshape(spec.shape)
