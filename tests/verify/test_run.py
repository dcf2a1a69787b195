"""How arrays go to the device and come back, and what counts as equal."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edgec.ir import DType, Port, Quantization, TensorType, Value
from edgec.reports.model import Tolerance
from edgec.verify.measures import OutputStatistics
from edgec.verify.run import from_device, to_device

QUANTIZED = Value("q", TensorType((1, 2), DType.INT8, Quantization.per_tensor(0.5, 3)))
REAL_PORT = Port("x", (1, 2), DType.FLOAT32)


def test_reals_are_quantized_and_saturate() -> None:
    """q = round(x / 0.5) + 3, half to even, within int8."""
    real = np.array([[0.25, 1000.0]], np.float32)
    assert to_device(real, REAL_PORT, QUANTIZED).tolist() == [[3, 127]]


def test_outputs_come_back_real() -> None:
    assert from_device(np.array([[3, 5]], np.int8), REAL_PORT, QUANTIZED).tolist() == [[0.0, 1.0]]


def test_integers_of_a_quantized_source_pass_through() -> None:
    """A uint8 source tensor and its int8 form on the device stand 128 apart; nothing is scaled."""
    port = Port("x", (1, 2), DType.UINT8)
    on_device = to_device(np.array([[0, 255]], np.uint8), port, QUANTIZED)
    assert on_device.tolist() == [[-128, 127]]
    assert from_device(on_device, port, QUANTIZED, real=False).tolist() == [[0, 255]]


def test_permuted_ports_are_permuted_both_ways() -> None:
    port = Port("x", (1, 2, 3, 4), DType.FLOAT32, (0, 2, 3, 1))
    value = Value("x", TensorType((1, 3, 4, 2)))
    array = np.arange(24, dtype=np.float32).reshape(1, 2, 3, 4)
    assert to_device(array, port, value).shape == (1, 3, 4, 2)
    np.testing.assert_array_equal(from_device(to_device(array, port, value), port, value), array)


def statistics(source: list[float], ours: list[float]) -> OutputStatistics:
    found = OutputStatistics("y")
    found.update(np.array(source, np.float32), np.array(ours, np.float32))
    return found


def test_sqnr_is_signal_over_noise_power() -> None:
    """Σ ref² = 100, Σ err² = 1: 20 dB."""
    assert statistics([6, 8], [6, 9]).sqnr_db == pytest.approx(20)


def test_exact_outputs_have_infinite_sqnr() -> None:
    assert statistics([1, 2], [1, 2]).sqnr_db == math.inf


def test_same_infinities_and_nans_are_equal() -> None:
    found = statistics([math.nan, math.inf, 1], [math.nan, math.inf, 1])
    assert (found.max_abs_error, found.sqnr_db) == (0, math.inf)


def test_nan_in_place_of_a_number_fails_every_tolerance() -> None:
    check = statistics([1, 2], [1, math.nan]).check(Tolerance(relative=1e6, absolute=1e6))
    assert not check.passed
    assert check.max_abs_error == math.inf


def test_a_sufficient_sqnr_passes_a_single_outlier() -> None:
    """One element in 100,000 off by 2e-4 of the peak is rounding; half of them off is a fault."""
    source = np.ones(100_000, np.float32)
    outlier, shifted = source.copy(), source.copy()
    outlier[0] += 2e-4
    shifted[::2] += 2e-4
    tolerance = Tolerance(relative=1e-4, sufficient_sqnr_db=90)
    for ours, passed in ((outlier, True), (shifted, False)):
        found = OutputStatistics("y")
        found.update(source, ours)
        assert found.check(tolerance).passed is passed


def test_tolerance_is_relative_to_the_largest_value() -> None:
    """An error of 0.5 beside a value of 1000 is within 1e-3 of the output, whatever its own element is."""
    found = statistics([1000, 0], [1000, 0.5])
    assert found.check(Tolerance(relative=1e-3)).passed
    assert not found.check(Tolerance(relative=1e-4)).passed
