"""The cheapest recipe whose drop stays within a budget: cheapest first, and every step is measured.

    calibrators ──▶ repairs ──▶ islands of the cheaper element type ──▶ islands of the dearer one
     no cost         no cost     most sensitive nodes first: 1, 2, 4, ... nodes, then bisected

A step ends the search as soon as it is within the budget. What was measured before comes from the journal, so
a search that was interrupted goes on where it stopped, and its result is the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol

from edgec.ir import DType, Model
from edgec.recipes.evaluate import Evaluation, Score
from edgec.recipes.recipe import CALIBRATORS, Calibrator, Recipe, Repair
from edgec.recipes.sensitivity import IslandMaker, Sensitivity, sensitivities

Say = Callable[[str], None]

REPAIRS_BY_COST: tuple[Repair, ...] = ("equalize", "bias", "absorb", "rounding")
"""The order in which repairs are tried: the first three take a second, rounding goes through every layer."""


class Bench(Protocol):
    """Makes quantized forms of one float model."""

    @property
    def nodes(self) -> Sequence[str]:
        """Names of the nodes that become int8, in order of execution."""
        ...

    def quantize(self, recipe: Recipe) -> Model:
        """Return the model quantized by a recipe."""
        ...

    def measure(self, model: Model) -> tuple[int, float]:
        """Return the size of the artifact in bytes and its estimated cost."""
        ...

    def islands(self, recipe: Recipe) -> IslandMaker:
        """Return what makes single nodes int8, with the recipe's other choices."""
        ...


class Journal(Protocol):
    """Remembers trials by the digest of their recipe."""

    def get(self, digest: str) -> Trial | None:
        """Return a trial measured before."""
        ...

    def put(self, trial: Trial) -> None:
        """Remember a trial."""
        ...


@dataclass(frozen=True, slots=True)
class Trial:
    """One recipe, measured. `cost` is relative to other trials of the same search."""

    recipe: Recipe
    score: Score
    size_bytes: int
    cost: float

    @property
    def rank(self) -> tuple[float, float]:
        """Orders trials by accuracy: smaller drop first, then higher SQNR."""
        return self.score.drop, -self.score.worst_sqnr_db


@dataclass(frozen=True, slots=True)
class SearchResult:
    """All trials in the order they were made, the one to use, and who is to blame where it falls short."""

    trials: tuple[Trial, ...]
    best: Trial
    reached: bool
    budget: float
    blame: tuple[Sensitivity, ...] = ()

    @property
    def pareto(self) -> tuple[Trial, ...]:
        """The trials that no other beats in drop, size and cost at once; the cheapest first."""
        kept = [trial for trial in self.trials if not any(_beats(other, trial) for other in self.trials)]
        return tuple(sorted(kept, key=lambda trial: (trial.cost, trial.size_bytes, trial.rank)))


class Search:
    """One search. Calibrators that lose are not tried again; a repair stays only if it helps."""

    def __init__(
        self,
        bench: Bench,
        evaluation: Evaluation,
        budget: float,
        island_types: Sequence[DType],
        journal: Journal,
        say: Say = lambda text: None,
    ) -> None:
        self._bench, self._evaluation, self._budget = bench, evaluation, budget
        self._island_types, self._journal, self._say = island_types, journal, say
        self._trials: dict[str, Trial] = {}

    def run(self, start: Recipe) -> SearchResult:
        """Search from a recipe; its own choices are tried first."""
        for step in (self._calibrators, self._repairs, *map(self._islands, self._island_types)):
            best = step(self._best or self._try(start))
            if self._is_enough(best):
                return self._result(best)
        assert self._best is not None
        return self._result(self._best)

    @property
    def _best(self) -> Trial | None:
        return min(self._trials.values(), key=lambda trial: trial.rank, default=None)

    def _result(self, best: Trial) -> SearchResult:
        reached = self._is_enough(best)
        blame = () if reached else tuple(self._sensitivities[:5])
        return SearchResult(tuple(self._trials.values()), best, reached, self._budget, blame)

    def _calibrators(self, best: Trial) -> Trial:
        rest: list[Calibrator] = [name for name in CALIBRATORS if name != best.recipe.calibrator]
        for name in sorted(rest, key=lambda name: name == "auto"):  # the one that costs most time comes last
            if self._is_enough(best):
                break
            best = min(best, self._try(replace(best.recipe, calibrator=name)), key=lambda trial: trial.rank)
        return best

    def _repairs(self, best: Trial) -> Trial:
        missing: list[Repair] = [name for name in REPAIRS_BY_COST if name not in best.recipe.repairs]
        for name in missing:
            if self._is_enough(best):
                break
            best = min(best, self._try(best.recipe.with_repair(name)), key=lambda trial: trial.rank)
        return best

    def _islands(self, kind: DType) -> Callable[[Trial], Trial]:
        def step(best: Trial) -> Trial:
            base = best.recipe
            order = [item.node for item in self._sensitivities]
            failed, count = 0, 1
            while count <= len(order):
                trial = self._try(_with_islands(base, kind, order[:count]))
                if self._is_enough(trial):
                    return self._fewest(base, kind, order, failed, trial)
                failed, count = count, len(order) if count < len(order) < 2 * count else 2 * count
            return self._best or best

        return step

    def _fewest(self, base: Recipe, kind: DType, order: list[str], failed: int, enough: Trial) -> Trial:
        """Bisect between a number of islands that is too small and one that is enough."""
        high = len(_islands_of(enough.recipe, kind)) - len(_islands_of(base, kind))
        while high - failed > 1:
            middle = (failed + high) // 2
            trial = self._try(_with_islands(base, kind, order[:middle]))
            if self._is_enough(trial):
                high, enough = middle, trial
            else:
                failed = middle
        return enough

    @cached_property
    def _sensitivities(self) -> list[Sensitivity]:
        best = self._best
        assert best is not None
        self._say("measuring the sensitivity of every node")
        recipe = replace(best.recipe, int16_nodes=(), float_nodes=())
        return sensitivities(self._bench.islands(recipe), self._bench.nodes, self._evaluation)

    def _try(self, recipe: Recipe) -> Trial:
        known = self._trials.get(recipe.digest) or self._journal.get(recipe.digest)
        if known is None:
            model = self._bench.quantize(recipe)
            known = Trial(recipe, self._evaluation.score(model), *self._bench.measure(model))
            self._journal.put(known)
        self._trials[recipe.digest] = known
        self._say(f"{recipe}: {known.score.drop:.3g}")
        return known

    def _is_enough(self, trial: Trial) -> bool:
        return trial.score.drop <= self._budget


def _with_islands(recipe: Recipe, kind: DType, nodes: Sequence[str]) -> Recipe:
    if kind is DType.INT16:
        return replace(recipe, int16_nodes=tuple(dict.fromkeys((*recipe.int16_nodes, *nodes))))
    others = tuple(node for node in recipe.int16_nodes if node not in nodes)
    merged = tuple(dict.fromkeys((*recipe.float_nodes, *nodes)))
    return replace(recipe, int16_nodes=others, float_nodes=merged)


def _islands_of(recipe: Recipe, kind: DType) -> tuple[str, ...]:
    return recipe.int16_nodes if kind is DType.INT16 else recipe.float_nodes


def _beats(other: Trial, trial: Trial) -> bool:
    """Whether `other` is at least as good in everything, and better in something (or was there first)."""
    ours = (trial.score.drop, trial.size_bytes, trial.cost)
    theirs = (other.score.drop, other.size_bytes, other.cost)
    return other is not trial and theirs != ours and all(a <= b for a, b in zip(theirs, ours, strict=True))
