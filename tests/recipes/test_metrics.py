"""Metrics say what they promise, on numbers small enough to check by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edgec.diagnostics import CompileError
from edgec.recipes.metrics import find_metric, sqnr_db

SCORES = np.asarray([[3, 1, 2], [1, 3, 2], [2, 1, 3], [3, 2, 1]], np.float32)  # top classes 0, 1, 2, 0
LABELS = np.asarray([0, 1, 2, 1])


@pytest.mark.parametrize(
    ("name", "labels", "why"),
    [
        ("top1", [0, 1, 2, 3], "labels reach from 0 to 3, the model's 3 classes from 0 to 2"),
        ("top1", [-1, 1, 2, 0], "labels reach from -1 to 2"),
        ("top3", [0, 1, 2, 0], "the model has only 3 classes"),
    ],
)
def test_labels_have_to_be_classes(name: str, labels: list[int], why: str) -> None:
    """A label that no output stands for is never right, and among the best three of three each is."""
    with pytest.raises(CompileError, match=f"E0614 metric {name}: .*{why}"):
        find_metric(name, [SCORES], labels=True).value([SCORES], [SCORES], np.array(labels))


def test_top1_counts_right_answers() -> None:
    """Three of four are right: 75 percent; losing one more is a drop of 25 points."""
    metric = find_metric("top1", [SCORES], labels=True)
    assert metric.value([SCORES], [SCORES], LABELS) == 75
    assert metric.drop(50, 75) == 25


def test_top2_looks_at_the_two_largest() -> None:
    """The last sample's label is its second class."""
    assert find_metric("top2", [SCORES], labels=True).value([SCORES], [SCORES], LABELS) == 100


def test_ties_go_to_the_lower_index() -> None:
    """A model that says the same for all classes names the first, as argmax does on a device."""
    flat = np.zeros((4, 3), np.float32)
    assert find_metric("top1", [flat], labels=True).value([flat], [flat], LABELS) == 25


def test_agreement_compares_with_float() -> None:
    """One of four samples has another top class: agreement 75, a drop of 25 against float's 100."""
    ours = SCORES.copy()
    ours[0] = [1, 2, 3]
    metric = find_metric(None, [SCORES], labels=False)
    assert metric.name == "agreement"
    assert metric.value([ours], [SCORES], None) == 75
    assert metric.drop(75, 100) == 25


def test_error_is_relative_to_the_output() -> None:
    """An error of 1 % of every element is 40 dB, and 1 on the metric's scale."""
    image = np.full((2, 4, 4, 3), 10, np.float64)
    metric = find_metric(None, [image], labels=False)
    assert metric.name == "error"
    assert metric.value([image * 1.01], [image], None) == pytest.approx(1.0)
    assert sqnr_db([image * 1.01], [image]) == [pytest.approx(40.0)]


def test_the_worst_output_counts() -> None:
    """A dead output is not averaged away by a good one."""
    good, dead = np.ones((2, 5, 5)), np.ones((2, 5, 5))
    assert find_metric("error", [good, dead], labels=False).value([good, dead * 0], [good, dead], None) == 100


def test_equal_and_dead_outputs_have_infinite_figures() -> None:
    """No noise at all is infinitely good; noise where float says zero is infinitely bad."""
    zeros, ones = np.zeros((1, 4)), np.ones((1, 4))
    assert sqnr_db([zeros], [zeros]) == [math.inf]
    assert sqnr_db([ones], [zeros]) == [-math.inf]
    assert find_metric("error", [zeros], labels=False).value([ones], [zeros], None) == math.inf


def test_mse_grows_in_percent() -> None:
    """Float is off by 1 everywhere, int8 by 2: four times the squared error is 300 % more."""
    labels = np.zeros((3, 2, 2))
    metric = find_metric("mse", [labels], labels=True)
    ours, floats = metric.value([labels + 2], [], labels), metric.value([labels + 1], [], labels)
    assert (ours, floats) == (4, 1)
    assert metric.drop(ours, floats) == 300


def test_labels_that_do_not_fit_are_named() -> None:
    """One-hot labels for top-1, and outputs without class scores, are refused with the reason."""
    with pytest.raises(CompileError, match=r"E0614 metric top1: .*labels are float64\[n, 3\]"):
        find_metric("top1", [SCORES], labels=True).value([SCORES], [SCORES], np.eye(4, 3))
    image = np.zeros((4, 8, 8, 3), np.float32)
    with pytest.raises(CompileError, match="0 outputs are a row of class scores"):
        find_metric("top1", [image], labels=True).value([image], [image], LABELS)


@pytest.mark.parametrize(
    ("name", "labels", "text"),
    [
        ("magic", True, "'magic' is no metric"),
        ("top0", True, "is no metric"),
        ("top1", False, "needs labels"),
        ("magic", False, "'magic' is no metric"),
        ("no_such_module_x:f", True, "ModuleNotFoundError"),
        ("math:pi", True, "is not a function"),
    ],
)
def test_unknown_metric_is_refused(name: str, labels: bool, text: str) -> None:
    """The message says what is wrong with the name and what the choices are."""
    with pytest.raises(CompileError, match=text):
        find_metric(name, [SCORES], labels=labels)


def test_own_metric_is_called() -> None:
    """A user's function gets the outputs and the labels; what it returns is the figure."""
    metric = find_metric("tests.recipes.test_metrics:first_row_sum", [SCORES], labels=True)
    assert metric.value([SCORES], [SCORES], LABELS) == 6
    assert metric.drop(0.25, 0.75) == 0.5


def first_row_sum(outputs: list[np.ndarray], labels: np.ndarray) -> float:
    """A metric for the test above."""
    assert len(labels) == len(outputs[0])
    return float(outputs[0][0].sum())


def test_own_metric_that_fails_is_named() -> None:
    """Whatever a user's function raises becomes a message, not a traceback."""
    metric = find_metric("tests.recipes.test_metrics:broken", [SCORES], labels=True)
    with pytest.raises(CompileError, match="it failed: ZeroDivisionError"):
        metric.value([SCORES], [SCORES], LABELS)


def broken(outputs: list[np.ndarray], labels: np.ndarray) -> float:
    """A metric for the test above."""
    return 1 / 0
