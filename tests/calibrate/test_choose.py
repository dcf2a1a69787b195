"""`auto` keeps what makes the output better beyond chance, within a bounded number of runs."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from edgec.calibrate import choose
from edgec.calibrate.choose import MAX_RUNS, is_better, pick_ranges
from edgec.calibrate.clipping import RULES, Range
from edgec.calibrate.statistics import Histograms, StatisticsCollector

NAMES = tuple("abcdefgh")


def heavy_tails(samples: int = 20) -> Histograms:
    """Eight tensors whose rules all differ: normal values and one large one in each sample."""
    random = np.random.default_rng(0)
    collector = StatisticsCollector(NAMES, [500] * len(NAMES))
    for index in range(samples):
        values = random.standard_normal((len(NAMES), 500)).astype(np.float32)
        values[:, 0] = 10 + index
        collector.add(values.min(1)[None], values.max(1)[None], values.reshape(1, -1))
    return Histograms({table.tensor: table for table in collector.tables()}, samples)


def rule_of(histograms: Histograms, ranges: Mapping[str, Range]) -> dict[str, str]:
    return {
        name: next((rule for rule in RULES if RULES[rule](histograms[name]) == found), "none")
        for name, found in ranges.items()
    }


class Model:
    """Scores ranges: each tensor has a rule that suits it; noise per sample as real models have it."""

    def __init__(self, histograms: Histograms, best: Mapping[str, str], noise: float = 0.0) -> None:
        self.histograms, self.best, self.noise = histograms, best, noise
        self.runs = 0

    def __call__(self, ranges: Mapping[str, Range]) -> list[float]:
        self.runs += 1
        random = np.random.default_rng(self.runs)
        found = rule_of(self.histograms, ranges)
        right = sum(found[name] == rule for name, rule in self.best.items())
        return list(30 + right + self.noise * random.standard_normal(16))


def test_without_a_score_auto_is_minmax() -> None:
    """The expected error of a tensor alone is no reason to clip it."""
    found = heavy_tails()
    assert pick_ranges(found, "auto", None) == pick_ranges(found, "minmax", None)


@pytest.mark.parametrize("rule", ["minmax", "percentile", "mse"])
def test_a_rule_that_suits_all_tensors_is_found(rule: str) -> None:
    found = heavy_tails()
    model = Model(found, dict.fromkeys(NAMES, rule))
    assert pick_ranges(found, "auto", model) == pick_ranges(found, rule, None)
    assert model.runs <= MAX_RUNS


def test_a_mixture_is_found_that_no_single_rule_reaches() -> None:
    """Half of the tensors want min/max, half mse: better than either for all."""
    found = heavy_tails()
    best = {name: "mse" if name in "acef" else "minmax" for name in NAMES}
    model = Model(found, best)
    assert rule_of(found, pick_ranges(found, "auto", model)) == best
    assert model.runs <= MAX_RUNS


def test_noise_is_not_taken_for_gain() -> None:
    """No rule is better, every run differs by chance: min/max stays."""
    found = heavy_tails()
    model = Model(found, {}, noise=2.0)
    assert pick_ranges(found, "auto", model) == pick_ranges(found, "minmax", None)


def test_the_search_is_deterministic() -> None:
    found = heavy_tails()
    best = {name: "mse" if name in "bdg" else "percentile" for name in NAMES}
    first, second = (pick_ranges(found, "auto", Model(found, best)) for _ in range(2))
    assert first == second


def test_few_samples_are_not_clipped_below_their_usual_extremes() -> None:
    """Four samples all reach 10 to 13: a rule that cuts at 4 would cut what every sample has."""
    found = heavy_tails(4)
    ranges = pick_ranges(found, "auto", Model(found, {}))  # any score will do: candidates are guarded
    candidates = choose._guarded(found, pick_ranges(found, "percentile", None), 8)
    for name in NAMES:
        assert candidates[name][1] >= found[name].mean_high == 11.5
        assert ranges[name][1] >= 11.5


def test_gains_have_to_be_more_than_chance() -> None:
    """The same mean with little and with much spread; one figure alone has to be large."""
    assert is_better(np.array([0.4, 0.5, 0.6, 0.5]))
    assert not is_better(np.array([5.0, -4.0, 3.0, -2.0]))
    assert not is_better(np.array([0.01, 0.01, 0.01]))
    assert is_better(np.array([0.6])) and not is_better(np.array([0.4]))
