"""The best of a few recipes, where the user left the choice open: each is measured on held-out samples.

    samples ─┬─ two of three ──▶ calibrate, repair ──▶ int8 ─┐
             └─ every third ──▶ float, int8 ────────────────┴─▶ noise at the outputs ─▶ keep or drop

    recipe ─▶ calibrators ─▶ equalized channels ─▶ rounding or bias alone ─▶ the best

A figure on few samples is partly luck. A calibrator that clips has to win by more than its own uncertainty, a
repair by the figure alone: what it does is right on average. No output may lose what the others win.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

import numpy as np

from edgec.calibrate.samples import SampleSet
from edgec.diagnostics import Diagnostic, Severity
from edgec.recipes.evaluate import Samples, Selection, in_memory
from edgec.recipes.metrics import Floats, Outputs
from edgec.recipes.recipe import Calibrator, Recipe

CHOSEN = "W0618"

CALIBRATORS: tuple[Calibrator, ...] = ("mse", "percentile", "average")
"""What is tried beside min/max. `auto` and `entropy` take longest and won least on the models we measured."""

CERTAINTY = 2.0
"""Standard errors by which a calibrator that clips has to be better: unseen samples may reach further."""
LEAST_SAMPLES_TO_CLIP = 32
"""What fewer samples show once may be common elsewhere: a rare face is all that a detector is for."""
LEAST_GAIN_DB = 0.05
MOST_LOSS_DB = 0.5
"""What the worst output may lose where the mean of all outputs gains."""

LEAST_SAMPLES = 8
"""Fewer leave nothing to judge with that would not be missed for calibration."""
MOST_SAMPLES, MOST_BYTES = 160, 96 << 20
"""Choosing looks at so many samples, spread over the set; the recipe chosen is applied to all of them."""
JUDGE_EVERY = 3
MOST_RECIPES = 5 + len(CALIBRATORS)

Progress = Callable[[int, int], None]
Measure = Callable[[Recipe], Floats]
"""Returns the noise of a model quantized by a recipe, as `noise_of`, on samples that did not calibrate it."""


@dataclass(frozen=True, slots=True)
class Open:
    """The choices that the user left open."""

    calibrator: bool = False
    repairs: bool = False

    def __bool__(self) -> bool:
        return self.calibrator or self.repairs


NOTHING_OPEN = Open()


@dataclass(frozen=True, slots=True)
class Tried:
    """One recipe and how much less noise it makes at the outputs than the first, in dB."""

    recipe: Recipe
    gain_db: float


@dataclass(frozen=True, slots=True)
class Tuning:
    """All recipes tried, the first of them is where it started; the one to use; samples that judged."""

    tried: tuple[Tried, ...]
    recipe: Recipe
    judges: int

    def note(self) -> Diagnostic:
        """Say what was chosen."""
        first = self.tried[0].recipe
        gain = next(item.gain_db for item in self.tried if item.recipe == self.recipe)
        why = f"Its outputs have {gain:.1f} dB less noise than those of {first}"
        if self.recipe == first:
            why = "No other has surely less noise at the outputs"
        why += f", on {self.judges} held-out samples."
        what = f"chose {self.recipe} among {len(self.tried)} recipes"
        step = "`--calibrator minmax --repair bias` compiles without trying."
        return Diagnostic(CHOSEN, "quantization", what, why, step, Severity.NOTE)


def split(samples: SampleSet) -> tuple[Samples, Samples] | None:
    """Return samples to calibrate with and samples to judge with, in memory; None where they are too few."""
    count = len(samples)
    if count < LEAST_SAMPLES:
        return None
    size = sum(int(np.prod(spec.shape)) * spec.dtype.itemsize for spec in samples.inputs)
    wanted = min(count, MOST_SAMPLES, max(MOST_BYTES // max(size, 1), LEAST_SAMPLES))
    chosen = [index * count // wanted for index in range(wanted)]
    judges = set(chosen[JUDGE_EVERY - 1 :: JUDGE_EVERY])
    rest = set(chosen) - judges
    calibration, held = Selection(samples, rest.__contains__), Selection(samples, judges.__contains__)
    return in_memory(calibration), in_memory(held)


def tune(
    start: Recipe,
    choices: Open,
    measure: Measure,
    samples: int,
    progress: Progress = lambda done, total: None,
) -> Tuning:
    """Return the best of a few recipes around `start`: those that differ in the open choices alone.

    Args:
        start: the recipe to beat.
        choices: what may differ.
        measure: quantizes by a recipe and returns the noise that held-out samples show, as `noise_of`.
        samples: how many there are in all.
        progress: called after every recipe with its number and how many there can be.
    """
    contest = _Contest(measure, lambda done: progress(done, MOST_RECIPES))
    contest.enter([start])
    if choices.repairs:
        contest.enter([replace(start, repairs=()), _rounded(start)])
    if choices.calibrator and start.precision == "int8" and samples >= LEAST_SAMPLES_TO_CLIP:
        contest.enter([replace(contest.best, calibrator=name) for name in CALIBRATORS], CERTAINTY)
    if choices.repairs and start.precision == "int8":
        contest.enter([contest.best.with_repair("equalize")])
    if choices.repairs and "rounding" in contest.best.repairs:
        contest.enter([contest.best.without_repair("rounding").with_repair("bias")])
    return Tuning(tuple(contest.tried), contest.best, contest.judges)


def _rounded(recipe: Recipe) -> Recipe:
    """Return the recipe with rounding, which corrects biases itself."""
    return recipe.without_repair("bias").with_repair("rounding")


@dataclass(slots=True)
class _Contest:
    """Recipes one after the other, each against the best so far."""

    measure: Measure
    progress: Callable[[int], None]
    tried: list[Tried] = field(default_factory=list[Tried])
    _best: tuple[Recipe, Floats] | None = None
    _first: Floats = field(default_factory=lambda: np.zeros((0, 0)))

    @property
    def best(self) -> Recipe:
        """The recipe that won so far."""
        assert self._best is not None
        return self._best[0]

    @property
    def judges(self) -> int:
        """The number of samples that every recipe was measured with."""
        return len(self._first)

    def enter(self, recipes: Iterable[Recipe], certainty: float = 0.0) -> None:
        """Try recipes that are new; the best of those that surely beat what was there takes its place."""
        before = self._best
        for recipe in recipes:
            if any(recipe == item.recipe for item in self.tried):
                continue
            noise = self.measure(recipe)
            if self._best is None or before is None:
                self._best, self._first = (recipe, noise), noise
            elif (
                is_better(noise, before[1], certainty)
                and is_better(noise, self._best[1])
                and _loss(noise, self._first) <= MOST_LOSS_DB
            ):
                self._best = recipe, noise
            self.tried.append(Tried(recipe, float(_gains(noise, self._first).mean())))
            self.progress(len(self.tried))


def noise_of(outputs: Outputs, reference: Outputs) -> Floats:
    """Return the squared error of every sample and output, [samples, outputs]."""
    columns: list[Floats] = []
    for ours, floats in zip(outputs, reference, strict=True):
        wide = floats.astype(np.float64)
        with np.errstate(invalid="ignore"):  # infinite outputs give NaN, which is better than nothing
            noise = np.square(ours.astype(np.float64) - wide).reshape(len(wide), -1).mean(axis=1)
        columns.append(noise / (float(np.square(wide).mean()) or 1.0) + 1e-12)
    return np.stack(columns, axis=1)


def is_better(noise: Floats, before: Floats, certainty: float = 0.0) -> bool:
    """Whether there is less noise than before, by more than so many standard errors.

    The gain is the mean over outputs of the ratio of all noise, in dB; its error is a jackknife's
    (Efron and Stein 1981, "The jackknife estimate of variance").
    """
    gain = float(_gains(noise, before).mean())
    count = len(noise)
    rest = [
        float(_gains(np.delete(noise, one, axis=0), np.delete(before, one, axis=0)).mean())
        for one in range(count)
    ]
    error = float(np.sqrt((count - 1) * np.var(rest)))
    return gain > max(LEAST_GAIN_DB, certainty * error)


def _gains(noise: Floats, before: Floats) -> Floats:
    """Return by how much the noise of each output fell, in dB."""
    return 10 * np.log10(before.sum(axis=0) / noise.sum(axis=0))


def _loss(noise: Floats, before: Floats) -> float:
    return float(-_gains(noise, before).min())
