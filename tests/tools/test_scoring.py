"""Scores of quantized models: right figures for cases that can be computed by hand."""

from __future__ import annotations

import math
import os
import signal

import numpy as np
import pytest
from scoring import Score, dequantized, in_child, quantized, samples_of, score


def test_sqnr_is_pooled_over_samples_not_averaged() -> None:
    """A quiet sample with a relative error of 1 hardly counts beside a loud one that is exact."""
    expected = [[np.array([10.0])], [np.array([0.1])]]
    results = [[np.array([10.0])], [np.array([0.2])]]
    (figure,) = score(expected, results).sqnr_db
    assert figure == pytest.approx(10 * math.log10((100 + 0.01) / 0.01))


def test_every_output_has_a_figure_and_the_median_is_over_them() -> None:
    """Noise of a tenth, a hundredth and a thousandth of the signal: 20, 40 and 60 dB."""
    expected = [[np.array([1.0]), np.array([1.0]), np.array([1.0])]]
    results = [[np.array([1.1]), np.array([1.01]), np.array([1.001])]]
    found = score(expected, results)
    assert found.sqnr_db == pytest.approx((20, 40, 60))
    assert found.median_db == pytest.approx(40)


def test_an_output_of_zeros_has_no_figure() -> None:
    """There is no signal to compare noise with, and the median leaves it out."""
    found = score([[np.zeros(3), np.ones(3)]], [[np.full(3, 0.5), np.full(3, 1.1)]])
    assert found.sqnr_db[0] is None
    assert found.median_db == pytest.approx(20)
    assert math.isnan(Score((None,)).median_db)


def test_top1_counts_labels_and_agreement_counts_float_answers() -> None:
    """Float is right twice of three; the result agrees with float once, and with the labels twice."""
    expected = [[np.array([[0.9, 0.1]])], [np.array([[0.9, 0.1]])], [np.array([[0.2, 0.8]])]]
    results = [[np.array([[0.6, 0.4]])], [np.array([[0.4, 0.6]])], [np.array([[0.9, 0.1]])]]
    labels = np.array([0, 1, 1])
    found = score(expected, results, classes=0, labels=labels)
    assert found.top1 == pytest.approx(2 / 3)
    assert found.agreement == pytest.approx(1 / 3)
    assert score(expected, expected, classes=0, labels=labels).top1 == pytest.approx(2 / 3)


def test_shapes_may_differ_by_axes_of_one() -> None:
    """Another tool's file may keep a batch axis that the source does not have."""
    found = score([[np.array([1.0, 2.0])]], [[np.array([[1.0, 2.0]])]], classes=0)
    assert found.sqnr_db == (math.inf,)
    assert found.agreement == 1.0


def test_fewer_results_than_samples_is_an_error() -> None:
    """A model that stops early must not look good on what it did."""
    with pytest.raises(ValueError):
        score([[np.ones(1)], [np.ones(1)]], [[np.ones(1)]])


def test_quantized_rounds_and_saturates() -> None:
    """Steps of 0.5 around zero point 10: 0.26 is nearer to one step, 1000 is beyond the last integer."""
    tensor = quantized(np.array([0.0, 0.26, -1.0, 1000.0]), 0.5, 10, np.int8)
    assert tensor.dtype == np.int8
    assert tensor.tolist() == [10, 11, 8, 127]
    assert dequantized(tensor, 0.5, 10).tolist() == [0.0, 0.5, -1.0, 58.5]


def test_a_scale_of_zero_means_not_quantized() -> None:
    """LiteRT reports (0.0, 0) for float tensors, and for integers that stand for themselves."""
    assert quantized(np.array([1.5]), 0.0, 0, np.float32).tolist() == [1.5]
    assert dequantized(np.array([7], np.int32), 0.0, 0).tolist() == [7]


def test_samples_keep_a_leading_axis() -> None:
    """Inputs are divided together: sample 1 has row 1 of each."""
    second = samples_of([np.arange(6).reshape(3, 2), np.arange(3)])[1]
    assert [part.tolist() for part in second] == [[[2, 3]], [1]]


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # fork beside threads, from Python 3.12
def test_a_child_returns_its_value_its_error_or_the_signal_that_ended_it() -> None:
    """A file that ends LiteRT must not end the benchmark."""

    def fails() -> int:
        raise RuntimeError("no\nkernel")

    assert in_child(lambda: 7) == 7
    assert in_child(fails) == "no kernel"
    assert in_child(lambda: os.kill(os.getpid(), signal.SIGKILL)) == "signal 9"
