"""Models of before opset 7 are read in the words of their time."""

from __future__ import annotations

import numpy as np
from onnx import helper

from tests.support.onnx_models import graph_model, import_model, run_ours

X = np.random.default_rng(0).standard_normal((2, 3, 4, 5)).astype(np.float32)


def test_axis_of_broadcasting_is_honoured() -> None:
    """Add of opset 6 lays [C] along `axis=1`; in opset 7 it would broadcast along the last axis."""
    bias = np.array([1, 2, 3], np.float32)
    node = helper.make_node("Add", ["x", "b"], ["y"], axis=1, broadcast=1)
    model = graph_model([node], {"x": X}, ["y"], constants={"b": bias}, opset=6)
    np.testing.assert_array_equal(run_ours(model, {"x": X})[0], X + bias.reshape(3, 1, 1))


def test_one_slope_a_channel() -> None:
    """PRelu of opset 6 takes slopes [C] for the channels."""
    slope = np.array([0.1, 0.2, 0.3], np.float32)
    node = helper.make_node("PRelu", ["x", "s"], ["y"])
    model = graph_model([node], {"x": X}, ["y"], constants={"s": slope}, opset=6)
    expected = np.where(X < 0, X * slope.reshape(3, 1, 1), X)
    np.testing.assert_allclose(run_ours(model, {"x": X})[0], expected, rtol=1e-6)


def test_report_keeps_the_opset_of_the_file() -> None:
    """What the user reads is the file's own opset, not the one it was brought to."""
    from edgec.frontends.onnx import load_onnx

    node = helper.make_node("Relu", ["x"], ["y"])
    source = load_onnx(graph_model([node], {"x": X}, ["y"], opset=6))
    assert (source.opset, source.lowered_opset) == (6, 7)
    assert import_model(graph_model([node], {"x": X}, ["y"], opset=6)).outputs[0].name == "y"
