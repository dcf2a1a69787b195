"""Recipes are compared by what goes into a final softmax or sigmoid, down to what their results can show."""

from __future__ import annotations

import numpy as np
import pytest

from edgec.calibrate.ranges import collect_ranges
from edgec.ir import Array, DType, Graph, Model, Port, TensorType
from edgec.ops.builder import Builder
from edgec.quantize import quantize_int8
from edgec.recipes.logits import Comparison

LOGITS = np.array([[0.0, 1.0, -3.0, 30.0], [0.5, 0.25, 0.0, -1.0]], np.float32)
SAMPLES = [{"x": row[None]} for row in LOGITS]


def _model(*ends: str) -> Model:
    """Twice the input, and then functions one after the other."""
    graph = Graph()
    build = Builder(graph)
    value = build.op("mul", [graph.add_input("x", TensorType((1, 4))), graph.constant(np.float32(2), "two")])
    for kind in ends:
        value = build.reshape(value, (4, 1)) if kind == "reshape" else build.op(kind, [value])
    graph.set_outputs([value])
    ports = [Port("x", (1, 4), DType.FLOAT32)], [Port("y", value.shape, DType.FLOAT32)]
    return Model(graph, *ports)


def _log_softmax(logits: Array) -> Array:
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return np.maximum(shifted, -10.0)


@pytest.mark.parametrize("ends", [("softmax",), ("softmax", "reshape")])
def test_softmax_is_compared_by_what_it_reads(ends: tuple[str, ...]) -> None:
    """Up to a constant, which a softmax does not see, and not below exp(-10), which int8 does not show."""
    model = _model(*ends)
    ours, floats = Comparison(model, SAMPLES).answers(model)
    np.testing.assert_allclose(ours[0].reshape(2, 4), _log_softmax(2 * LOGITS), rtol=1e-6)
    np.testing.assert_array_equal(ours[0], floats[0])


def test_a_sigmoid_counts_where_it_is_not_saturated() -> None:
    """At 60 a sigmoid is 1, as at ln 1023, where a quarter of an int8 step is left: no error there shows."""
    model = _model("logistic")
    ours, _ = Comparison(model, SAMPLES).answers(model)
    np.testing.assert_allclose(
        ours[0].reshape(2, 4), np.clip(2 * LOGITS, -np.log(1023), np.log(1023)), rtol=1e-6
    )


def test_other_outputs_are_compared_as_they_are() -> None:
    """A relu has no limit to saturate at."""
    model = _model("relu")
    ours, _ = Comparison(model, SAMPLES).answers(model)
    np.testing.assert_allclose(ours[0].reshape(2, 4), np.maximum(2 * LOGITS, 0), rtol=1e-6)


def test_int8_is_read_in_front_of_its_softmax() -> None:
    """The int8 logits span -6..60 in 255 steps, so they are half a step (0.13) off at most."""
    model = _model("softmax")
    made = quantize_int8(model, collect_ranges(model, SAMPLES))
    ours, floats = Comparison(model, SAMPLES).answers(made)
    assert ours[0].dtype.kind == "f"
    assert 0 < np.abs(ours[0] - floats[0]).max() <= 2 * 66 / 255  # the largest logit's error counts twice


def test_a_form_without_the_function_is_compared_by_outputs() -> None:
    """Logits are held against logits only."""
    ours, floats = Comparison(_model("softmax"), SAMPLES).answers(_model("relu"))
    np.testing.assert_allclose(ours[0].reshape(2, 4), np.maximum(2 * LOGITS, 0), rtol=1e-6)
    assert floats[0].max() <= 1  # probabilities
