"""Observers give the right range, and the same one for any order of samples."""

import math
import tracemalloc
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edgec.calibrate.extremes import ExactSums, Extremes
from edgec.calibrate.histogram import BINS, E_MIN, HALF, BinCounts, exponents_for
from edgec.calibrate.observers import OBSERVERS, percentile_observer
from edgec.diagnostics import CompileError

FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)
BATCHES = st.lists(hnp.arrays(np.float32, st.integers(0, 40), elements=FLOATS), min_size=1, max_size=8)
KINDS = st.sampled_from(sorted(OBSERVERS))


def observed(kind, batches):
    observer = OBSERVERS[kind]("t")
    for batch in batches:
        observer.update(batch)
    return observer


def outcome(observer):
    """Return the range, or the message of an observer that saw nothing."""
    try:
        return observer.range()
    except CompileError as error:
        return str(error)


@settings(deadline=None)  # the divergences of `entropy` take tens of milliseconds
@given(KINDS, BATCHES, st.randoms(use_true_random=False))
def test_order_of_samples_never_changes_the_range(kind, batches, random):
    """Any permutation of the samples, and any regrouping, gives the identical range."""
    shuffled = list(batches)
    random.shuffle(shuffled)
    together = np.concatenate(batches)
    assert outcome(observed(kind, batches)) == outcome(observed(kind, shuffled))
    if kind != "average":  # which asks what a sample is
        assert outcome(observed(kind, batches)) == outcome(observed(kind, [together]))


@settings(deadline=None)  # the divergences of `entropy` take tens of milliseconds
@given(KINDS, BATCHES, BATCHES)
def test_merging_equals_seeing_everything(kind, left, right):
    """Two halves merged either way equal one observer over all, so work can be spread over machines."""
    whole = outcome(observed(kind, left + right))
    for first, second in ((left, right), (right, left)):
        merged, other = observed(kind, first), observed(kind, second)
        before = outcome(other)
        merged.merge(other)
        assert outcome(merged) == whole
        assert outcome(other) == before  # the other observer stays as it was


def counted(rows, sizes):
    """Count rows one by one, so that bins are widened on the way."""
    found = BinCounts.empty(len(sizes))
    starts = np.cumsum([0, *sizes[:-1]])
    for row in rows:
        largest = [np.abs(row[s : s + n]).max(initial=0) for s, n in zip(starts, sizes, strict=True)]
        found.add(row[None], np.array(sizes), np.array(largest, np.float64))
    return found


@given(hnp.arrays(np.float32, st.tuples(st.integers(1, 6), st.just(12)), elements=FLOATS))
def test_histogram_counts_what_the_final_width_would_have_counted(rows):
    """Widening is exact: the counts equal those of all values at the final width, for each tensor alone."""
    sizes = [5, 0, 7]
    found = counted(rows, sizes)
    for tensor, part in enumerate((rows[:, :5], rows[:, 5:5], rows[:, 5:])):
        largest = np.array([np.abs(part).max(initial=0)], np.float64)
        assert found.exponents[tensor] == exponents_for(largest)[0]
        width = 2.0 ** int(found.exponents[tensor])
        bins = [math.trunc(float(value) / width) for value in part.reshape(-1)]  # float64: no underflow here
        expected = np.bincount(np.array(bins, int) + HALF - 1, minlength=BINS)
        assert np.array_equal(found.counts[tensor], expected)


@settings(deadline=None)
@given(hnp.arrays(np.float32, st.integers(1, 200), elements=FLOATS))
def test_ranges_stay_within_what_was_seen(values):
    """No observer invents a range; minmax is exact."""
    low, high = float(values.min()), float(values.max())
    assert observed("minmax", [values]).range() == (low, high)
    for kind in OBSERVERS:
        found = observed(kind, [values]).range()
        assert low <= found[0] <= found[1] <= high


def test_percentile_leaves_out_the_tails():
    """The cut is the exact percentile, up to one bin (1/1024 of the largest magnitude) outwards."""
    values = np.random.default_rng(3).standard_normal(200_000).astype(np.float32)
    observer = percentile_observer("t", 99.0)
    observer.update(values)
    low, high = observer.range()
    exact_low, exact_high = np.quantile(values, [0.01, 0.99])
    width = float(np.abs(values).max()) / 1024
    assert exact_low - width <= low <= exact_low and exact_high <= high <= exact_high + width


@settings(max_examples=50)
@given(hnp.arrays(np.float32, st.integers(1, 500), elements=FLOATS), st.sampled_from([90.0, 99.0, 100.0]))
def test_percentile_never_drops_more_than_its_share(values, percentile):
    """At most (100 - p) percent of the values lie outside on each side."""
    observer = percentile_observer("t", percentile)
    observer.update(values)
    low, high = observer.range()
    droppable = math.floor(values.size * (100 - percentile) / 100)
    assert np.count_nonzero(values < low) <= droppable and np.count_nonzero(values > high) <= droppable


def test_percentile_drops_exactly_its_share():
    """One percent of 100 values is one on each side: the two outliers go, all of the rest stays."""
    values = np.array([-64.0, *[0.0] * 98, 64.0], np.float32)
    observer = percentile_observer("t", 99.0)
    observer.update(values)
    low, high = observer.range()
    width = 64 / 1024  # 64 < 2**7 is held by bins of 2**(7 - 11)
    assert (low, high) == (-width, width)  # the outer edges of the bin around zero


def test_percentile_ignores_one_outlier_that_minmax_keeps():
    """One wild value among 100 000 must not stretch the range."""
    values = np.append(np.random.default_rng(1).uniform(-1, 1, 100_000), 50.0).astype(np.float32)
    assert observed("minmax", [values]).range()[1] == 50.0
    assert observed("percentile", [values]).range()[1] < 1.1  # one bin is 32/1024 wide


def int8_error(values, low, high):
    """Mean squared error of real int8 rounding with this range."""
    scale = (max(high, 0.0) - min(low, 0.0)) / 255
    zero = round(-128 - min(low, 0.0) / scale)
    quantized = np.clip(np.round(values / scale) + zero, -128, 127)
    return float(np.mean((values - (quantized - zero) * scale) ** 2))


@pytest.mark.parametrize("shape", ["laplace", "normal", "relu", "outlier", "uniform"])
def test_mse_is_close_to_the_best_clipping_range(shape):
    """Measured with real rounding, no range on a brute-force grid is more than 2 % better.

    The model takes rounding errors as uniform over a step, which is within a few percent of the truth.
    """
    random = np.random.default_rng(11)
    values = {
        "laplace": random.laplace(0, 1, 20_000),
        "normal": random.standard_normal(20_000),
        "relu": np.maximum(random.standard_normal(20_000), 0),
        "outlier": np.append(random.standard_normal(20_000), [-40.0, 60.0]),
        "uniform": random.uniform(-3, 1, 20_000),
    }[shape]
    found = int8_error(values, *observed("mse", [values]).range())
    low, high = values.min(), values.max()
    grid = np.linspace(0.1, 1, 46)  # 1 is min/max itself
    lows = grid if low < 0 else [1.0]
    best = min(int8_error(values, low * left, high * right) for left in lows for right in grid)
    assert found <= 1.02 * best


def test_mse_clips_heavy_tails_and_keeps_uniform_ranges():
    """Clipping pays only where few values fill much of the range: by the real int8 error, not the model's."""
    random = np.random.default_rng(5)
    heavy = random.standard_t(3, 100_000)
    low, high = observed("mse", [heavy]).range()
    assert int8_error(heavy, low, high) < 0.9 * int8_error(heavy, heavy.min(), heavy.max())
    flat = random.uniform(-1, 1, 100_000)
    low, high = observed("mse", [flat]).range()
    assert low < -0.99 and high > 0.99


@pytest.mark.parametrize("kind", sorted(OBSERVERS))
@pytest.mark.parametrize("value", [0.0, -0.0, 5.0, -5.0, 1e-42, 3e38, -3e38])
def test_constant_tensors(kind, value):
    """A tensor with one value has that value as its range; a negative zero counts as zero."""
    low, high = observed(kind, [np.full((2, 3), value, np.float32)]).range()
    assert low == high == float(np.float32(value))
    assert math.copysign(1, low) == (1.0 if value == 0 else math.copysign(1, value))


@pytest.mark.parametrize("kind", sorted(OBSERVERS))
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_name_the_tensor(kind, bad):
    """NaN must not vanish in a maximum."""
    observer = OBSERVERS[kind]("conv_1")
    with pytest.raises(CompileError, match="E0316 conv_1: holds NaN or infinity"):
        observer.update(np.array([1, bad, 2], np.float32))


@pytest.mark.parametrize("kind", sorted(OBSERVERS))
def test_nothing_seen_is_an_error(kind):
    """Empty tensors change nothing, and no range is made up."""
    observer = OBSERVERS[kind]("t")
    observer.update(np.zeros((0, 4), np.float32))
    with pytest.raises(CompileError, match="E0316 t: has no values"):
        observer.range()


@pytest.mark.parametrize("dtype", [np.float16, np.float64, np.int8, np.int64, np.bool_])
def test_dtypes_count_alike(dtype):
    """The same numbers give the same range in any dtype."""
    values = np.array([0, 1, 1, 0, 1])
    for kind in OBSERVERS:
        assert (
            observed(kind, [values.astype(dtype)]).range()
            == observed(kind, [values.astype(np.float32)]).range()
        )


def test_settings_must_agree():
    """Percentiles that differ cannot be merged into one range, and impossible ones are refused."""
    with pytest.raises(ValueError, match="observers differ"):
        percentile_observer("t", 99.0).merge(percentile_observer("t", 99.9))
    with pytest.raises(CompileError, match="E0314"):
        percentile_observer("t", 100.5)


def test_memory_does_not_grow():
    """A histogram observer holds one small array, whatever it has seen, and works in blocks."""
    observer = OBSERVERS["mse"]("t")
    values = np.random.default_rng(0).standard_normal(2_000_000).astype(np.float32)
    observer.update(values)
    tracemalloc.start()
    for _ in range(3):
        observer.update(values)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2_500_000  # blocks of 65536 elements and the counts; the values alone are 8 MB


def test_smallest_width():
    """Zeros and subnormal numbers use the smallest width and can be widened from there."""
    assert list(exponents_for(np.array([0.0, 1e-45]))) == [E_MIN, E_MIN]
    observer = OBSERVERS["minmax"]()
    observer.update(np.array([1e-45, -1e-45], np.float32))
    assert observer.range()[0] < 0 < observer.range()[1]


def test_average_is_the_mean_of_each_sample_s_extremes():
    """Every sample counts alike and none counts more for coming first, as it does in a moving average."""
    samples = [np.array([-1.0, 3.0]), np.array([-3.0, 1.0, 2.0]), np.array([-2.0, 8.0])]
    assert observed("average", samples).range() == (-2.0, 13 / 3)


@given(st.lists(FLOATS, min_size=1, max_size=20), st.randoms(use_true_random=False))
def test_sums_are_exact(values, random):
    """So the order of samples cannot change the last bit; rational numbers say what is right."""
    shuffled = list(values)
    random.shuffle(shuffled)
    left, right = ExactSums(1), ExactSums(1)
    left.add(np.array(values, np.float32)[:, None])
    right.add(np.array(shuffled, np.float32)[:, None])
    total = sum(map(Fraction, values), Fraction(0))
    assert left.means(1)[0] == right.means(1)[0] == float(total)


def test_entropy_cuts_a_lone_outlier_and_keeps_what_is_full():
    """An outlier that leaves most int8 values unused costs more than it tells; a uniform tensor has none."""
    random = np.random.default_rng(2)
    outlier = np.append(random.standard_normal(50_000), 20.0).astype(np.float32)
    low, high = observed("entropy", [outlier]).range()
    assert 3.0 < high < 12.0 and low < 0
    flat = random.uniform(-1, 1, 50_000)
    low, high = observed("entropy", [flat]).range()
    assert low < -0.95 and high > 0.95


def test_extremes_remember_what_they_were_without_the_worst_sample():
    """For naming the sample that alone defines a range; merged halves agree with the whole."""
    highs = np.array([[1.0, 5.0], [9.0, 5.0], [3.0, 2.0]], np.float32)
    whole, first, last = Extremes(2), Extremes(2), Extremes(2)
    whole.add(-highs, highs)
    first.add(-highs[:1], highs[:1])
    last.add(-highs[1:], highs[1:])
    first.merge(last)
    for found in (whole, first):
        assert found.high.tolist() == [9.0, 5.0]
        assert found.others[1].tolist() == [3.0, 5.0]
        assert found.others[0].tolist() == [-3.0, -5.0]
        assert found.culprits[1].tolist() == [1, 0]
        assert found.samples == 3
