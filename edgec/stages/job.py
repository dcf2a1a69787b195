"""What every stage shares, and what stages hand on to each other."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edgec.calibrate.pixels import NO_PIXELS, RawPixels
from edgec.diagnostics import Diagnostics
from edgec.ir import Array, Model
from edgec.kernels import Partitions
from edgec.options import CompileOptions
from edgec.progress import Stopwatch
from edgec.reports.model import Quantization, Verification

if TYPE_CHECKING:
    from edgec.recipes.apply import Integers
    from edgec.recipes.recipe import Recipe


@dataclass(frozen=True)
class Job:
    """What every stage shares: the choices, the messages, the clock, and source inputs that got a value."""

    options: CompileOptions
    diagnostics: Diagnostics
    clock: Stopwatch
    fixed_inputs: dict[str, Array] = field(default_factory=dict[str, Array])
    pixels: RawPixels = NO_PIXELS


@dataclass(frozen=True)
class Checked:
    """What running the emitted model showed."""

    verification: Verification | None
    partitions: Partitions | None


@dataclass(frozen=True)
class Quantized:
    """The model in its precision, what the report says of that, and how its integers came to be."""

    model: Model
    described: Quantization | None
    integers: Integers | None = None

    @property
    def recipe(self) -> Recipe | None:
        """The recipe of a model that was calibrated."""
        return None if self.integers is None else self.integers.recipe
