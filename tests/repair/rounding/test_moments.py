"""Errors computed from moments are the errors of the samples themselves."""

from __future__ import annotations

import numpy as np

from edgec.repair.rounding.moments import Moments


def drawn(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Columns with a mean, residuals that depend on them, and a change of weights."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(2, 50, 4)) + 3
    r = 0.1 * x @ rng.normal(size=(2, 4, 3)) + rng.normal(size=(2, 50, 3)) - 1
    return x, r, rng.normal(size=(2, 3, 4))


def test_error_and_offset_are_those_of_the_positions() -> None:
    """error is the variance of D·x + r over positions, offset its mean."""
    x, r, change = drawn()
    moments = Moments(2, 3, 4)
    moments.add(x[:, :20], r[:, :20])
    moments.add(x[:, 20:], r[:, 20:])
    covariance = moments.covariance()
    outputs = x @ change.transpose(0, 2, 1) + r
    np.testing.assert_allclose(covariance.error(change), outputs.var(axis=1), rtol=1e-9)
    np.testing.assert_allclose(covariance.offset(change), outputs.mean(axis=1), rtol=1e-9)


def test_merged_moments_are_those_of_all_positions() -> None:
    """Two halves give what one pass gives, and stay what they were."""
    x, r, change = drawn()
    whole, first, second = Moments(2, 3, 4), Moments(2, 3, 4), Moments(2, 3, 4)
    whole.add(x, r)
    first.add(x[:, :20], r[:, :20])
    second.add(x[:, 20:], r[:, 20:])
    before = first.covariance().error(change)
    merged = first.merged(second)
    assert merged.count == 50
    np.testing.assert_allclose(
        merged.covariance().error(change), whole.covariance().error(change), rtol=1e-12
    )
    np.testing.assert_array_equal(first.covariance().error(change), before)


def test_joined_positions_of_some_groups_add_the_same() -> None:
    """[x | r | 1], group by group, gives the sums that x and r give together, and counts positions once."""
    x, r, change = drawn()
    apart, whole = Moments(2, 3, 4), Moments(2, 3, 4)
    whole.add(x, r)
    joined = np.concatenate([x, r, np.ones((2, 50, 1))], axis=2)
    apart.add_joined(joined[:1], 0)
    apart.add_joined(joined[1:], 1)
    assert apart.count == whole.count == 50
    expected, found = whole.covariance(), apart.covariance()
    np.testing.assert_allclose(found.error(change), expected.error(change), rtol=1e-12)
    np.testing.assert_allclose(found.offset(change), expected.offset(change), rtol=1e-12)
