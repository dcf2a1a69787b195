"""The search takes the cheapest way that is within the budget, and says so where there is none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from edgec.ir import DType, Graph, Model
from edgec.recipes.evaluate import Evaluation, Score
from edgec.recipes.journal import FileJournal, NoJournal
from edgec.recipes.recipe import Recipe
from edgec.recipes.search import Journal, Search, SearchResult, Trial
from edgec.recipes.sensitivity import sensitivities

NODES = ("a", "b", "c", "d", "e")
NOISE = {"a": 1.0, "b": 8.0, "c": 2.0, "d": 16.0, "e": 4.0}


@dataclass
class _Bench:
    """Drops follow a rule over recipes; what it makes carries the recipe in its graph's name."""

    drop: Callable[[Recipe], float]
    made: list[Recipe] = field(default_factory=list)
    nodes: tuple[str, ...] = NODES

    def quantize(self, recipe: Recipe) -> Model:
        self.made.append(recipe)
        return _model(self.drop(recipe))

    def measure(self, model: Model) -> tuple[int, float]:
        return 100, 1.0

    def islands(self, recipe: Recipe) -> _Bench:
        return self

    def only(self, node: str) -> Model:
        return _model(NOISE[node])


def _model(drop: float) -> Model:
    return Model(Graph(str(drop)), [], [])


class _Judge(Evaluation):
    """Reads the drop back from the name; a larger drop has a lower SQNR."""

    def __init__(self) -> None:
        pass

    def score(self, model: Model) -> Score:
        drop = float(model.graph.name)
        return Score(100 - drop, drop, (40 - drop,))


def _search(
    drop: Callable[[Recipe], float], budget: float, journal: Journal | None = None
) -> tuple[SearchResult, _Bench]:
    bench = _Bench(drop)
    kinds = (DType.INT16, DType.FLOAT32)
    search = Search(bench, _Judge(), budget, kinds, journal or NoJournal())
    return search.run(Recipe()), bench


def _by_islands(recipe: Recipe) -> float:
    return sum(NOISE[node] for node in NODES if node not in (*recipe.int16_nodes, *recipe.float_nodes))


def test_plain_int8_within_budget_is_taken_at_once() -> None:
    """Nothing else is tried where the first recipe is good enough."""
    result, bench = _search(lambda recipe: 0.5, 1.0)
    assert result.reached
    assert bench.made == [Recipe()]


def test_calibrators_come_before_repairs() -> None:
    """A better calibrator costs nothing, so no repair is tried once one of them is enough."""
    result, _ = _search(lambda recipe: 0.5 if recipe.calibrator == "mse" else 3.0, 1.0)
    assert result.best.recipe == Recipe(calibrator="mse")
    assert not any(trial.recipe.repairs for trial in result.trials)


def test_repairs_that_do_not_help_are_left_out() -> None:
    """Only equalizing and rounding help here; the result has these two and no third."""
    gain = {"equalize": 2.0, "absorb": -1.0, "rounding": 1.5, "bias": -0.5}
    result, _ = _search(lambda recipe: 4.0 - sum(gain[name] for name in recipe.repairs), 0.6)
    assert result.reached
    assert result.best.recipe.repairs == ("equalize", "rounding")


def test_islands_are_the_fewest_that_are_enough() -> None:
    """The noisiest nodes come first (d, b, e, ...), and three are needed to get from 31 to 3."""
    result, _ = _search(_by_islands, 3.0)
    assert result.best.recipe.int16_nodes == ("d", "b", "e")
    assert not result.best.recipe.float_nodes


def test_dearer_islands_come_last() -> None:
    """Where 16 bits are not enough, float islands follow."""

    def drop(recipe: Recipe) -> float:
        halved = sum(NOISE[node] / 2 for node in recipe.int16_nodes)
        return 31 - halved - sum(NOISE[node] for node in recipe.float_nodes)

    result, _ = _search(drop, 7.0)
    assert result.reached
    assert set(result.best.recipe.float_nodes) == {"d", "b"}
    assert not set(result.best.recipe.int16_nodes) & set(result.best.recipe.float_nodes)


def test_out_of_reach_names_the_guilty() -> None:
    """Without any way, the best recipe found comes back with the noisiest nodes and their shares."""
    result, _ = _search(lambda recipe: 9.0 + 0.01 * (not recipe.repairs), 1.0)
    assert not result.reached
    assert result.best.score.drop == 9.0
    assert [item.node for item in result.blame][:2] == ["d", "b"]


def test_interrupted_search_goes_on(tmp_path: Path) -> None:
    """A second run takes every trial from the journal and comes to the same result."""
    first, bench = _search(_by_islands, 3.0, FileJournal(tmp_path / "cache" / "journal.json"))
    assert len(bench.made) > 5
    second, again = _search(_by_islands, 3.0, FileJournal(tmp_path / "cache" / "journal.json"))
    assert again.made == []
    assert second.best == first.best
    assert second.trials == first.trials


def test_damaged_journal_counts_as_empty(tmp_path: Path) -> None:
    """Half a journal costs time, not the result."""
    path = tmp_path / "journal.json"
    _search(_by_islands, 3.0, FileJournal(path))
    path.write_text(path.read_text()[:-50])
    result, bench = _search(_by_islands, 3.0, FileJournal(path))
    assert result.best.recipe.int16_nodes == ("d", "b", "e")
    assert bench.made


def test_pareto_leaves_out_the_beaten() -> None:
    """Cheapest first; a trial that is worse in one thing and better in none is not shown."""

    def trial(name: str, drop: float, size: int, cost: float) -> Trial:
        return Trial(Recipe(float_nodes=(name,)), Score(0, drop, (0.0,)), size, cost)

    cheap, beaten, good = trial("cheap", 5, 100, 1), trial("beaten", 5, 100, 1.5), trial("good", 1, 150, 3)
    result = SearchResult((good, beaten, cheap), good, True, 2)
    assert result.pareto == (cheap, good)


def test_sensitivities_are_shares_of_the_noise() -> None:
    """SQNRs of 40 - x dB: the worst node comes first and the shares add up to one."""
    found = sensitivities(_Bench(_by_islands), NODES, _Judge())
    assert [item.node for item in found] == ["d", "b", "e", "c", "a"]
    assert abs(sum(item.share for item in found) - 1) < 1e-12
    assert abs(found[0].share / found[1].share - 10 ** ((16 - 8) / 10)) < 1e-9
