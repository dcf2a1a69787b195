"""Feedback and descent against exhaustive search and plain rounding."""

from __future__ import annotations

from itertools import product

import numpy as np

from edgec.quantize.parameters import Floats
from edgec.repair.rounding.integers import BLOCK, Metric
from edgec.repair.rounding.moments import Reals


def correlated(groups: int, columns: int, seed: int = 0) -> Floats:
    """Second moments of inputs that are mostly one common signal."""
    rng = np.random.default_rng(seed)
    common = rng.normal(size=(groups, 4 * columns + 8, 1))
    x = common + 0.4 * rng.normal(size=(groups, 4 * columns + 8, columns))
    return x.transpose(0, 2, 1) @ x / x.shape[1]


def solve(h: Reals, target: Reals, scales: Reals, limit: int, sweeps: int) -> tuple[Reals, Reals]:
    """Integers [g, m, k] after feedback and descent, and the objective."""
    metric = Metric(h, limit)
    ordered = metric.ordered(target)
    q = metric.descend(metric.feedback(ordered, scales), ordered, scales, sweeps)
    return metric.restored(q), metric.objective(q, ordered, scales)


def objective(h: Reals, q: Reals, target: Reals, scales: Reals) -> Reals:
    """The objective as its definition says."""
    difference = q * scales[..., None] - target
    return np.einsum("gmk,gkl,gml->gm", difference, h, difference)


def test_uncorrelated_columns_are_rounded_to_nearest() -> None:
    """With a diagonal metric nothing can be compensated; beyond the limit integers saturate."""
    target = np.array([[[0.4, -1.6, 2.4, 9.0]]])
    q, _ = solve(np.diag([1.0, 3.0, 2.0, 0.5])[None], target, np.ones((1, 1)), 3, 4)
    np.testing.assert_array_equal(q, [[[0, -2, 2, 3]]])


def test_two_equal_columns_share_the_error() -> None:
    """0.4 + 0.4 on the same input is 0.8: one of the two becomes 1, where nearest gives 0 + 0."""
    h = np.ones((1, 2, 2)) + 1e-6 * np.eye(2)
    q, _ = solve(h, np.full((1, 1, 2), 0.4), np.ones((1, 1)), 7, 4)
    assert q.sum() == 1


def test_objective_is_what_its_definition_says() -> None:
    """The order that columns take inside does not show outside."""
    rng = np.random.default_rng(1)
    h, target, scales = correlated(2, 5), rng.normal(size=(2, 3, 5)), rng.uniform(0.2, 0.4, (2, 3))
    q, found = solve(h, target, scales, 7, 2)
    np.testing.assert_allclose(found, objective(h, q, target, scales), rtol=1e-9)


def test_close_to_exhaustive_search() -> None:
    """Over 40 problems of 4 columns in [-2, 2]: the median is the optimum, the total within a third of it."""
    rng = np.random.default_rng(2)
    every = np.array(list(product(range(-2, 3), repeat=4)), np.float64)
    found, least, plain = [], [], []
    for seed in range(40):
        h, target = correlated(1, 4, seed), rng.uniform(-1.8, 1.8, (1, 1, 4))
        found.append(solve(h, target, np.ones((1, 1)), 2, 4)[1][0, 0])
        difference = every - target[0]
        least.append(np.einsum("nk,kl,nl->n", difference, h[0], difference).min())
        plain.append(objective(h, np.rint(target), target, np.ones((1, 1)))[0, 0])
    assert np.median(np.array(found) / np.array(least)) < 1 + 1e-9
    assert sum(found) < 1.34 * sum(least)
    assert sum(found) < 0.5 * sum(plain)


def test_descent_ends_where_no_single_step_is_better() -> None:
    """Every ±1 move within the limits makes the objective larger, across more columns than one block."""
    columns, limit = BLOCK + 7, 3
    rng = np.random.default_rng(3)
    h, target = correlated(1, columns), rng.uniform(-3, 3, (1, 2, columns))
    scales = np.ones((1, 2))
    q, least = solve(h, target, scales, limit, 100)
    for column in range(columns):
        for step in (-1, 1):
            moved = q.copy()
            moved[:, :, column] += step
            allowed = np.abs(moved[:, :, column]) <= limit
            worse = objective(h, moved, target, scales) >= least - 1e-9
            assert (worse | ~allowed).all()


def test_descent_never_makes_feedback_worse() -> None:
    """And feedback alone is far below nearest: of the inputs' power, 1.16 each, 0.16 is not common to all.

    Error feedback leaves about 0.16 of 1.16, a seventh; it may be twice that, as h is a sample.
    """
    rng = np.random.default_rng(4)
    h, target = correlated(3, 70), rng.normal(size=(3, 200, 70))
    scales = np.abs(target).max(axis=2) / 7
    metric = Metric(h, 7)
    ordered = metric.ordered(target)
    fed = metric.feedback(ordered, scales)
    before = metric.objective(fed, ordered, scales)
    after = metric.objective(metric.descend(fed, ordered, scales, 3), ordered, scales)
    nearest = objective(h, np.rint(target / scales[..., None]), target, scales)
    assert (after <= before + 1e-12).all()
    assert before.sum() < 2 / 7 * nearest.sum()


def test_scale_fit_is_the_least_squares_scale() -> None:
    """product / power has no derivative left: a little more or less is worse."""
    rng = np.random.default_rng(5)
    h, target = correlated(1, 6), rng.normal(size=(1, 2, 6))
    metric = Metric(h, 7)
    ordered = metric.ordered(target)
    q = metric.feedback(ordered, np.full((1, 2), 0.4))
    power, product_ = metric.scale_fit(q, ordered)
    best = product_ / power
    for factor in (0.99, 1.01):
        assert (metric.objective(q, ordered, best) < metric.objective(q, ordered, best * factor)).all()


def test_solved_is_the_solution() -> None:
    """(h + ridge · I) · solved = right, across more columns than one block; without the ridge it is not."""
    columns, rng = 2 * BLOCK + 5, np.random.default_rng(6)
    h, right = correlated(2, columns), rng.normal(size=(2, 3, columns))
    ridge = np.array([0.5, 2.0])
    metric = Metric(h, 7).with_ridge(ridge)
    found = metric.restored(metric.solved(metric.ordered(right)))
    damped = h + ridge[:, None, None] * np.eye(columns)
    np.testing.assert_allclose(found @ damped, right, atol=1e-9)
    assert np.abs(found @ h - right).max() > 0.01


def test_a_ridge_counts_in_every_step() -> None:
    """A metric with a ridge is the metric of the sum, integer by integer."""
    rng = np.random.default_rng(7)
    h, target, scales = correlated(2, 40), rng.normal(size=(2, 5, 40)), rng.uniform(0.2, 0.4, (2, 5))
    damped = Metric(h, 7).with_ridge(0.3), Metric(h + 0.3 * np.eye(40), 7)
    found = []
    for metric in damped:
        ordered = metric.ordered(target)
        q = metric.descend(metric.feedback(ordered, scales), ordered, scales, 2)
        found.append((q, metric.objective(q, ordered, scales), *metric.scale_fit(q, ordered)))
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9)


def test_a_variance_below_zero_is_roundoff() -> None:
    """Two groups: float32 sums made one of them indefinite; the other's integers stay what they are alone."""
    h = np.array([[[2.0, 1.0], [1.0, 2.0]], [[-1.5e-9, 0.0], [0.0, 6.4e-8]]], np.float32)
    target, scales = np.full((2, 1, 2), 0.4, np.float32), np.ones((2, 1), np.float32)
    metric = Metric(h, 7).with_ridge(np.array([1e-3, 6e-10], np.float32))
    both = metric.restored(metric.feedback(metric.ordered(target), scales))
    alone = Metric(h[:1], 7).with_ridge(np.array([1e-3], np.float32))
    first = alone.restored(alone.feedback(alone.ordered(target[:1]), scales[:1]))
    np.testing.assert_array_equal(both[0], first[0])
    np.testing.assert_array_equal(both[1], [[0, 0]])  # nothing correlates these: to nearest


def test_float32_finds_what_float64_finds() -> None:
    """It moves an integer only where two are about equally good: the objective stays within 0.1 %."""
    rng = np.random.default_rng(8)
    h, target = correlated(1, 200), rng.normal(size=(1, 20, 200))
    scales = np.full((1, 20), 0.4)
    exact, wide = solve(h, target, scales, 7, 2)
    narrow, _ = solve(h.astype(np.float32), target.astype(np.float32), scales.astype(np.float32), 7, 2)
    assert (exact != narrow).mean() < 0.02
    np.testing.assert_allclose(objective(h, narrow, target, scales).sum(), wide.sum(), rtol=1e-3)
