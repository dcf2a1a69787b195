"""From the float model and its samples to the quantized model: by recipe, by trial, or by search."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from edgec.calibrate.cache import NO_CACHE, RangeCache, range_key
from edgec.calibrate.ranges import Ranges
from edgec.calibrate.samples import SampleSet
from edgec.diagnostics import Diagnostic
from edgec.ir import DType, Model
from edgec.quantize.heads import Head
from edgec.recipes.alone import is_affordable
from edgec.recipes.costs import cheapest_first
from edgec.recipes.evaluate import (
    Evaluation,
    EvaluationData,
    Samples,
    calibration_positions,
    hold_out,
)
from edgec.recipes.gains import noise_of
from edgec.recipes.journal import FileJournal, Memory, NoJournal
from edgec.recipes.logits import Comparison
from edgec.recipes.metrics import Floats
from edgec.recipes.recipe import Recipe, Repair
from edgec.recipes.search import Search, SearchResult
from edgec.recipes.tune import MOST_RECIPES, NOTHING_OPEN, Open, Tuning, split, tune
from edgec.recipes.workbench import Interface, Progress, Workbench
from edgec.repair import Gain


@dataclass(frozen=True)
class Budget:
    """How much accuracy may be lost: `max_drop` in the metric's unit, see `metrics`."""

    max_drop: float
    island_types: tuple[DType, ...] = (DType.INT16, DType.FLOAT32)


@dataclass(frozen=True)
class Task:
    """What to quantize, with what, and how it is judged; `data` is labelled data, if there is some.

    `choices` are those of the recipe that measurements may change.
    """

    model: Model
    samples: SampleSet
    recipe: Recipe
    interface: Interface
    profile: str
    budget: Budget | None = None
    data: EvaluationData | None = None
    metric: str | None = None
    threads: int = 2
    cache: RangeCache = NO_CACHE
    choices: Open = NOTHING_OPEN


@dataclass(frozen=True, eq=False)
class Integers:
    """A quantized model and how it came to be.

    `evaluation` is what judged it, where something did: it runs when it is asked.
    """

    model: Model
    recipe: Recipe
    ranges: Ranges
    bench: Workbench
    calibration: Samples
    sample_name: Callable[[int], str]
    evaluation: Evaluation
    search: SearchResult | None = None
    tuning: Tuning | None = None
    gains: Mapping[Repair, tuple[Gain, ...]] = field(default_factory=dict[Repair, tuple[Gain, ...]])
    notes: tuple[Diagnostic, ...] = ()
    heads: tuple[Head, ...] = ()

    @property
    def float_nodes(self) -> tuple[str, ...]:
        """Names of all nodes that are float on purpose."""
        return (*self.recipe.float_nodes, *(name for head in self.heads for name in head.nodes))


def quantize_by_recipe(
    task: Task,
    progress: Progress = lambda what, done, total: None,
    say: Callable[[str], None] = lambda text: None,
) -> Integers:
    """Return the model quantized by the task's recipe, the best near it, or the cheapest within its budget.

    A quarter of the calibration samples is held out only where a search without the user's own data judges
    with them. What is best is judged that way, too, on some of the samples; the recipe found then takes its
    ranges from all.
    """
    tuning = None if task.budget is not None else _tune(task, progress)
    if tuning is not None:
        task = replace(task, recipe=tuning.recipe)
    judged = task.budget is not None
    calibration, held = hold_out(task.samples) if judged else (task.samples, None)
    data = task.data or held or EvaluationData(task.samples, None, "the calibration samples")
    evaluation = Evaluation(task.model, data, task.metric, task.threads)
    cached = _CachedRanges(task, judged)
    bench = Workbench(
        task.model,
        calibration,
        task.interface,
        profile=task.profile,
        threads=task.threads,
        progress=progress,
        known_ranges=cached,
    )
    recipe, search = task.recipe, None
    if task.budget is not None:
        search = _search(task, task.budget, bench, evaluation, say)
        recipe = search.best.recipe
    model, ranges = bench.quantize(recipe), bench.ranges(recipe)
    heads = tuple(bench.heads(bench.float_model(recipe).model, recipe, ranges))
    return Integers(
        model,
        recipe,
        ranges,
        bench,
        calibration,
        _names(task.samples, judged),
        evaluation,
        search,
        tuning,
        bench.repaired(recipe).gains,
        (*_notes(tuning), *cached.notes, *(head.note() for head in heads)),
        heads,
    )


def _names(samples: SampleSet, held_out: bool) -> Callable[[int], str]:
    """Return what names a calibration sample by its position among those that were not held out."""
    positions = calibration_positions(len(samples)) if held_out else range(len(samples))
    return lambda index: samples.name(positions[index])


def _notes(tuning: Tuning | None) -> tuple[Diagnostic, ...]:
    return () if tuning is None else (tuning.note(),)


def _tune(task: Task, progress: Progress) -> Tuning | None:
    """Return the best recipe near the task's; None where nothing is open or samples are too few to tell."""
    parts = split(task.samples) if task.choices else None
    if parts is None:
        return None
    memory = _memory(task)
    known = memory.recall()
    if known is not None:
        return known
    calibration, judges = parts
    bar = _ChoiceBar(progress)
    bench = Workbench(
        task.model,
        calibration,
        task.interface,
        profile=task.profile,
        threads=task.threads,
        progress=bar.inside,
    )
    compared = Comparison(task.model, judges, task.threads)

    def measure(recipe: Recipe) -> Floats:
        return noise_of(*compared.answers(bench.quantize(recipe)))

    bar.after(0, MOST_RECIPES)
    auto = is_affordable(task.model, len(calibration))
    tuning = tune(task.recipe, task.choices, measure, len(task.samples), bar.after, auto)
    memory.keep(tuning)
    return tuning


@dataclass(slots=True)
class _ChoiceBar:
    """One bar for all recipes that are tried, in hundredths of a recipe: rounding one may take a minute."""

    progress: Progress
    _tried: int = 0
    _total: int = 1
    _shown: int = -1

    def after(self, tried: int, total: int) -> None:
        """So many recipes of at most `total` are measured."""
        self._tried, self._total = tried, total
        self._show(100 * tried)

    def inside(self, what: str, done: int, total: int) -> None:
        """A recipe is being made."""
        share = {"shrink ranges": 45, "rounding": 95}.get(what)  # of what a recipe takes, nearly all
        if share is not None:
            self._show(100 * self._tried + share * done // max(total, 1))

    def _show(self, hundredths: int) -> None:
        if hundredths > self._shown:
            self._shown = hundredths
            self.progress("choose a recipe", hundredths, 100 * self._total)


def _memory(task: Task) -> Memory:
    """Return where the choice for this model, these samples and these options is kept."""
    if task.cache.folder is None:
        return Memory(None)
    settings = f"{task.recipe} {task.choices} {task.interface} {task.profile}"
    key = range_key(task.model, task.samples, "tune", settings)
    return Memory(task.cache.folder.parent / "tuned" / f"{key}.json")


def _search(
    task: Task, budget: Budget, bench: Workbench, evaluation: Evaluation, say: Callable[[str], None]
) -> SearchResult:
    kinds = cheapest_first(task.profile, budget.island_types)
    return Search(bench, evaluation, budget.max_drop, kinds, _journal(task, evaluation), say).run(task.recipe)


def _journal(task: Task, evaluation: Evaluation) -> FileJournal | NoJournal:
    """Return the journal of this search: another model, data, metric or version has another one."""
    if task.cache.folder is None:
        return NoJournal()
    digest = hashlib.sha256()
    for array in evaluation.reference:
        digest.update(array.tobytes())
    settings = f"{evaluation.metric.name} {task.interface} {task.profile} {digest.hexdigest()}"
    key = range_key(task.model, task.samples, "search", settings)
    return FileJournal(task.cache.folder.parent / "searches" / f"{key}.json")


class _CachedRanges:
    """Ranges that were calibrated before, for the workbench to ask first; says when it found some."""

    def __init__(self, task: Task, held_out: bool) -> None:
        self._task, self._held_out = task, held_out
        self.notes: list[Diagnostic] = []

    def __call__(self, model: Model, recipe: Recipe, make: Callable[[], Ranges]) -> Ranges:
        cache, samples = self._task.cache, self._task.samples
        if cache.folder is None:
            return make()
        plain = replace(recipe, int16_nodes=(), float_nodes=())
        settings = f"{self._held_out} {plain} {self._task.interface}"
        key = range_key(model, samples, recipe.calibrator, settings)
        found = cache.load(key, samples)
        if found is None:
            found = make()
            cache.store(key, found, samples)
        elif not self.notes:
            self.notes.append(cache.note(key, found))
        return found
