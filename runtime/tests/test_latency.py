"""Statistics against hand-worked values and NumPy, and each reason for noise."""

from __future__ import annotations

import numpy as np
import pytest

from edgec_runtime.device import Conditions
from edgec_runtime.latency import latency_stats, noise

CALM = Conditions("performance", 1500.0, 50.0, (), 0.1)


def codes(
    runs: list[float], before: Conditions = CALM, after: Conditions = CALM, busy: float = 1.0
) -> list[str]:
    return [reason.code for reason in noise(latency_stats(runs), before, after, busy)]


def test_figures_by_hand():
    """1..5: median 3; p90 at rank 0.9 × 4 = 3.6, so 4.6; p99 at 3.96, so 4.96; variance 10 / 4."""
    stats = latency_stats([5, 1, 4, 2, 3])
    assert (stats.min, stats.median, stats.mean, stats.max, stats.runs) == (1, 3, 3, 5, 5)
    assert (stats.p90, stats.p99, stats.stdev) == pytest.approx((4.6, 4.96, 2.5**0.5))


def test_percentiles_are_numpys():
    values = np.random.default_rng(0).gamma(2.0, 3.0, 997)
    stats = latency_stats(list(values))
    expected = np.percentile(values, [0, 50, 90, 99, 100])
    assert (stats.min, stats.median, stats.p90, stats.p99, stats.max) == pytest.approx(
        tuple(expected), rel=1e-12
    )
    assert stats.stdev == pytest.approx(np.std(values, ddof=1), rel=1e-12)


def test_one_run_has_no_deviation():
    stats = latency_stats([2.5])
    assert (stats.median, stats.stdev, stats.runs, stats.median_ci95) == (2.5, 0.0, 1, (2.5, 2.5))


def test_the_interval_holds_the_true_median_about_95_times_of_100():
    """1000 samples of 101 from an exponential, whose median is ln 2; 1000 trials are sure to 1.4 points."""
    generator = np.random.default_rng(2)
    hits = 0
    for _ in range(1000):
        low, high = latency_stats(list(generator.exponential(1.0, 101))).median_ci95
        hits += low <= np.log(2) <= high
    assert 930 <= hits <= 985


def test_steady_runs_on_a_calm_machine_are_not_noisy():
    assert codes(list(np.random.default_rng(0).normal(10, 0.2, 200))) == []


def test_spread_is_flagged():
    """Every fifth run takes twice as long: p90 is 20, the median 10."""
    assert codes([10.0, 10.0, 10.0, 10.0, 20.0] * 20) == ["spread"]


def test_drift_is_flagged():
    """The last quarter is 15 % slower: medians of two measurements would differ by more than 10 %."""
    assert codes([10.0] * 75 + [11.5] * 25) == ["drift"]


def test_a_small_drift_is_not():
    assert codes([10.0] * 50 + [10.5] * 50) == []


@pytest.mark.parametrize(
    ("before", "after", "busy", "code"),
    [
        (CALM, CALM, 0.7, "preempted"),
        (Conditions("ondemand", None, None, None, None), CALM, 1.0, "governor"),
        (CALM, Conditions("performance", 1500.0, 62.5, (), 0.1), 1.0, "warming"),
        (CALM, Conditions("performance", 600.0, 50.0, ("throttled now",), 0.1), 1.0, "throttled"),
        (CALM, Conditions("performance", 600.0, 50.0, ("throttling has occurred",), 0.1), 1.0, "throttled"),
    ],
)
def test_the_machine_is_judged_too(before: Conditions, after: Conditions, busy: float, code: str):
    assert codes([10.0] * 50, before, after, busy) == [code]


def test_old_throttling_is_not_held_against_this_run():
    """The bits for "has occurred" stay set until reboot."""
    old = Conditions("performance", 1500.0, 50.0, ("under-voltage has occurred",), 0.1)
    assert codes([10.0] * 50, old, old) == []
