"""Folding: what depends on constants alone is computed, unless the next run gives another result."""

from __future__ import annotations

import numpy as np

from edgec.emit import emit
from edgec.ir import Graph, Model, Port, TensorType
from edgec.kernels import Runner
from edgec.ops import Builder
from edgec.ops.cases import ramp
from edgec.ops.recurrent import SVDFAttributes
from edgec.passes.fold_constants import FoldConstants


def model_of(graph: Graph) -> Model:
    ports = [[Port(v.name, v.shape, v.dtype) for v in values] for values in (graph.inputs, graph.outputs)]
    return Model(graph, *ports)


def test_arithmetic_on_constants_is_computed() -> None:
    """1 + 2 is 3, and no node is left."""
    graph = Graph()
    build = Builder(graph)
    graph.set_outputs([build.op("add", [build.constant(1.0), build.constant(2.0)])])
    assert FoldConstants().run(model_of(graph)).modified
    assert not list(graph) and graph.outputs[0].constant() == 3.0


def test_a_node_that_remembers_is_not_computed() -> None:
    """SVDF over a constant: each run shifts its memory, so the second result differs from the first."""
    graph = Graph()
    build = Builder(graph)
    constants = [build.constant(np.asarray(data)) for data in (ramp(1, 3), ramp(8, 3), ramp(8, 5), ramp(4))]
    remembers = SVDFAttributes(states=(TensorType((1, 40)),), rank=2)
    x = graph.add_input("x", TensorType((1, 4)))
    graph.set_outputs([build.op("add", [x, build.op("svdf", constants, remembers)])])
    assert not FoldConstants().run(model_of(graph)).modified
    assert [node.kind for node in graph] == ["svdf", "add"]
    (kept,) = Runner(emit(model_of(graph)).to_bytes()).run([np.zeros((1, 4), np.float32)])
    assert np.isfinite(kept).all()
