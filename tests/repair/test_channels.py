"""Channel statistics: the right numbers, whatever the order of samples."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest

from edgec.diagnostics import CompileError
from edgec.ir import Array
from edgec.repair.channels import collect_channel_statistics
from tests.quantize.small_graphs import run_float, samples
from tests.repair.nets import mixed


def test_they_are_what_numpy_finds_in_the_same_tensors() -> None:
    """Of an inner tensor (made the output here) and of the input, by last axis over everything else."""
    model = mixed()
    drawn = samples(model, 5)
    found = collect_channel_statistics(model, drawn)
    joined = next(node.result for node in model.graph if node.result.name == "joined")
    model.graph.set_outputs([joined])
    model.outputs[:] = model.outputs[:1]
    seen = np.stack([run_float(model, sample)[0][0] for sample in drawn]).astype(np.float64)
    rows = seen.reshape(-1, 8)
    stats = found["joined"]
    np.testing.assert_allclose(stats.low, rows.min(axis=0))
    np.testing.assert_allclose(stats.high, rows.max(axis=0))
    np.testing.assert_allclose(stats.mean, rows.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(stats.second_moment, (rows**2).mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(stats.nonzero, (rows != 0).mean(axis=0), rtol=1e-6)
    np.testing.assert_array_equal(stats.active, (seen != 0).any(axis=(1, 2)).sum(axis=0))
    active = np.maximum(stats.active, 1)
    np.testing.assert_allclose(stats.usual_high, seen.max(axis=(1, 2)).sum(axis=0) / active, rtol=1e-6)
    np.testing.assert_allclose(stats.usual_low, seen.min(axis=(1, 2)).sum(axis=0) / active, rtol=1e-6)
    np.testing.assert_allclose(stats.coherent, (seen.mean(axis=(1, 2)) ** 2).mean(axis=0), rtol=1e-6)
    assert (stats.count, stats.samples) == (5 * 64, 5)
    inputs = np.stack([sample["x"] for sample in drawn]).reshape(-1, 3)
    np.testing.assert_allclose(found["x"].mean, inputs.mean(axis=0), rtol=1e-5)


def test_the_order_of_samples_changes_not_one_bit() -> None:
    """Naive float64 sums would differ in their last bits, and so would the weights made from them."""
    model = mixed()
    drawn = samples(model, 30)
    first = collect_channel_statistics(model, drawn)
    second = collect_channel_statistics(model, drawn[::-1], threads=2)
    for name, stats in first.items():
        for item in fields(stats):
            assert np.array_equal(getattr(stats, item.name), getattr(second[name], item.name)), name


def test_scaled_statistics_are_those_of_the_scaled_tensor() -> None:
    """Moments take the square of the factor."""
    stats = collect_channel_statistics(mixed(), samples(mixed(), 3))["stem"]
    factors = np.linspace(0.5, 2, 8)
    scaled = stats.scaled(factors)
    np.testing.assert_allclose(scaled.high, stats.high * factors)
    np.testing.assert_allclose(scaled.variance, stats.variance * factors**2)
    np.testing.assert_allclose(scaled.usual_high, stats.usual_high * factors)
    np.testing.assert_array_equal(scaled.nonzero, stats.nonzero)


def test_no_samples_is_an_error() -> None:
    nothing: list[dict[str, Array]] = []
    with pytest.raises(CompileError, match="gave no samples"):
        collect_channel_statistics(mixed(), nothing)
