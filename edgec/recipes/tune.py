"""The best of a few recipes, where the user left the choice open: each is measured on held-out samples.

    samples ─┬─ two of three ──▶ calibrate, repair ──▶ int8 ─┐
             └─ every third ──▶ float, int8 ────────────────┴─▶ noise at the outputs ─▶ keep or drop

    biases ─▶ rounding ─▶ calibrators ─▶ equalized channels ─▶ back to biases, or to nothing ─▶ the best

A figure on few samples is partly luck, so what is usual decides who has to prove what. Compensating rounding
helped, or cost nothing, on every network we measured: it stays unless it is surely worse. Equalized channels
and `auto`, which clips only where samples agree, win by the figure alone; other calibrators that clip have to
win surely. No output may lose what the others win.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from edgec.calibrate.samples import SampleSet
from edgec.diagnostics import Diagnostic, Severity
from edgec.recipes.evaluate import Samples, Selection, in_memory
from edgec.recipes.gains import CERTAINTY, CONVICTION, LEAST_GAIN_DB, gains, improves, is_better, is_worse
from edgec.recipes.metrics import Floats
from edgec.recipes.recipe import Calibrator, Recipe

CHOSEN = "W0618"

CALIBRATORS: tuple[Calibrator, ...] = ("mse", "percentile", "average")
"""What is tried beside min/max and `auto`; `entropy` won least on the models we measured."""

LEAST_SAMPLES_TO_CLIP = 32
"""What fewer samples show once may be common elsewhere: a rare face is all that a detector is for."""
LEAST_SAMPLES = 8
"""Fewer leave nothing to judge with that would not be missed for calibration."""
MOST_SAMPLES, MOST_BYTES = 160, 96 << 20
"""Choosing looks at so many samples, spread over the set; the recipe chosen is applied to all of them."""
JUDGE_EVERY = 3
MOST_RECIPES = 7 + len(CALIBRATORS)

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
        if self.recipe == first or gain < LEAST_GAIN_DB:
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
    auto: bool = True,
) -> Tuning:
    """Return the best of a few recipes around `start`: those that differ in the open choices alone.

    Args:
        start: the recipe to beat.
        choices: what may differ.
        measure: quantizes by a recipe and returns the noise that held-out samples show, as `noise_of`.
        samples: how many there are in all.
        progress: called after every recipe with its number and how many there can be.
        auto: whether the calibrator of this name is affordable.
    """
    contest = _Contest(measure, lambda done: progress(done, MOST_RECIPES))
    contest.begin(start)
    if choices.repairs:
        contest.prefer(_rounded(start))
    if choices.calibrator and start.precision == "int8" and samples >= LEAST_SAMPLES_TO_CLIP:
        if auto:
            contest.challenge([replace(contest.best, calibrator="auto")])
        _challenge_by_calibrators(contest, start)
    if choices.repairs and start.precision == "int8":
        contest.challenge([contest.best.with_repair("equalize")])
    if choices.repairs:
        plain = contest.best.without_repair("rounding")
        contest.challenge([plain.with_repair("bias"), plain.without_repair("bias")], CONVICTION)
    return Tuning(tuple(contest.tried), contest.best, contest.judges)


def _challenge_by_calibrators(contest: _Contest, start: Recipe) -> None:
    """Compare calibrators with the start's repairs, which cost no time; try what wins with the best's."""
    found = contest.winner(start, [replace(start, calibrator=name) for name in CALIBRATORS], CERTAINTY)
    if found != start:
        contest.challenge([replace(contest.best, calibrator=found.calibrator)], CERTAINTY)


def _rounded(recipe: Recipe) -> Recipe:
    """Return the recipe with rounding, which corrects biases itself."""
    return recipe.without_repair("bias").with_repair("rounding")


@dataclass(slots=True)
class _Contest:
    """Recipes one after the other, each measured once, and the best so far."""

    measure: Measure
    progress: Callable[[int], None]
    best: Recipe = field(default_factory=Recipe)
    _noise: dict[Recipe, Floats] = field(default_factory=dict[Recipe, Floats])
    _first: Recipe = field(default_factory=Recipe)

    @property
    def tried(self) -> list[Tried]:
        """All recipes and what each gained against the first."""
        first = self._noise[self._first]
        return [Tried(recipe, float(gains(noise, first).mean())) for recipe, noise in self._noise.items()]

    @property
    def judges(self) -> int:
        """The number of samples that every recipe was measured with."""
        return len(self._noise[self._first])

    def begin(self, recipe: Recipe) -> None:
        """Measure the recipe that the others are compared with."""
        self.best = self._first = recipe
        self.noise(recipe)

    def prefer(self, recipe: Recipe) -> None:
        """Take a recipe that is better as a rule, unless it is surely worse here."""
        if not is_worse(self.noise(recipe), self.noise(self.best)):
            self.best = recipe

    def challenge(self, recipes: Sequence[Recipe], certainty: float = 0.0) -> None:
        """Take the best of those that beat the best so far."""
        self.best = self.winner(self.best, recipes, certainty)

    def winner(self, holder: Recipe, recipes: Iterable[Recipe], certainty: float = 0.0) -> Recipe:
        """Return the best of those that beat the holder and make no output worse; else the holder."""
        before, best = self.noise(holder), holder
        for recipe in recipes:
            noise = self.noise(recipe)
            if improves(noise, before, certainty) and is_better(noise, self.noise(best)):
                best = recipe
        return best

    def noise(self, recipe: Recipe) -> Floats:
        """Return the noise that a recipe leaves, measured the first time it is asked for."""
        if recipe not in self._noise:
            self._noise[recipe] = self.measure(recipe)
            self.progress(len(self._noise))
        return self._noise[recipe]
