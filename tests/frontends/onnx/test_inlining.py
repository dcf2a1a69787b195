"""Operators without a lowering become the nodes of their ONNX function body."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
import pytest
from onnx import helper

from edgec.frontends.onnx import inlining
from edgec.frontends.onnx.inlining import expand_functions
from edgec.frontends.onnx.registry import Lowering, find_lowering
from edgec.ir import Array
from tests.support.onnx_models import graph_model, node_model, run_onnxruntime, run_ours


def _random(*shape: int) -> Array:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> Sequence[str]:
    """Hide the lowerings of these operators from the expansion."""
    hidden = ["MeanVarianceNormalization", "Celu", "LogSoftmax", "Softmax", "SoftmaxCrossEntropyLoss"]

    def find(op_type: str, opset: int) -> Lowering | None:
        return None if op_type in hidden else find_lowering(op_type, opset)

    monkeypatch.setattr(inlining, "find_lowering", find)
    return hidden


def _kinds(graph: onnx.GraphProto) -> set[str]:
    return {node.op_type for node in graph.node}


@pytest.mark.parametrize(
    ("op_type", "attributes"),
    [
        ("MeanVarianceNormalization", {}),
        ("Celu", {"alpha": 0.7}),
        ("LogSoftmax", {}),
        ("Softmax", {"axis": 1}),
    ],
)
def test_body_gives_the_same_numbers(
    op_type: str, attributes: dict[str, object], without: Sequence[str]
) -> None:
    """Bodies see attributes that are set and the defaults of those that are not (axes, axis)."""
    inputs = {"x": _random(2, 3, 4, 5)}
    proto = node_model(op_type, inputs, opset=18, **attributes)
    (expected,) = run_onnxruntime(proto, inputs)
    expanded = expand_functions(proto, 18)
    assert expanded is proto
    assert not _kinds(proto.graph) & set(without)
    (y,) = run_ours(proto, inputs)
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)


def test_bodies_that_call_others(without: Sequence[str]) -> None:
    """A loss is a log-softmax and more, and that one again other nodes."""
    inputs = {"x": _random(4, 3)}
    constants = {"labels": np.array([0, 2, 1, 1], np.int64)}
    proto = node_model("SoftmaxCrossEntropyLoss", inputs, constants=constants, opset=18)
    (expected,) = run_onnxruntime(proto, inputs)
    expand_functions(proto, 18)
    assert not _kinds(proto.graph) & set(without)
    (y,) = run_ours(proto, inputs)
    np.testing.assert_allclose(y, expected, rtol=1e-5)


def test_weights_stay_where_they_are(without: Sequence[str]) -> None:
    """Initializers, inputs and outputs are untouched, also large ones and those that are read by a body."""
    inputs = {"x": _random(2, 40)}
    nodes = [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("Softmax", ["h"], ["y"])]
    weights = _random(40, 30)
    proto = graph_model(nodes, inputs, ["y"], constants={"w": weights}, opset=18)
    before = [tensor.SerializeToString() for tensor in proto.graph.initializer]
    (expected,) = run_onnxruntime(proto, inputs)
    expand_functions(proto, 18)
    assert [tensor.SerializeToString() for tensor in proto.graph.initializer] == before
    assert [info.name for info in proto.graph.input] == ["x"]
    np.testing.assert_allclose(run_ours(proto, inputs)[0], expected, rtol=1e-4, atol=1e-5)


def test_nothing_to_do_changes_nothing() -> None:
    """Operators with a lowering stay, whatever their schema has."""
    proto = node_model("Softmax", {"x": _random(2, 3)}, opset=18)
    before = proto.SerializeToString()
    assert expand_functions(proto, 18).SerializeToString() == before


def test_what_has_no_body_is_left_to_the_importer() -> None:
    """Custom domains, unknown names and operators without a body stay as they are."""
    inputs = {"x": _random(2, 3)}
    nodes = [
        helper.make_node("Mystery", ["x"], ["a"], domain="acme"),
        helper.make_node("Softmax", ["a"], ["b"]),
    ]
    proto = graph_model(nodes, inputs, ["b"], opset=18)
    before = proto.SerializeToString()
    assert expand_functions(proto, 18).SerializeToString() == before


def test_body_that_does_not_fit_is_left_to_the_importer(without: Sequence[str]) -> None:
    """At opset 11 softmax has no body: the node stays, and others are expanded all the same."""
    inputs = {"x": _random(2, 3)}
    nodes = [
        helper.make_node("Softmax", ["x"], ["a"]),
        helper.make_node("MeanVarianceNormalization", ["a"], ["b"], axes=[1]),
    ]
    proto = graph_model(nodes, inputs, ["b"], opset=11)
    expand_functions(proto, 11)
    assert "Softmax" in _kinds(proto.graph)
