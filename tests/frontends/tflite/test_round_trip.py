"""What edgec writes, it reads: every case of every op kind."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest

from edgec.emit import emit
from edgec.ir import Array, Attributes, DType, Graph, Model, Port, TensorType, Value
from edgec.ops import Builder, OpSpec, all_ops
from edgec.ops.spec import Case
from tests.support.ir_graphs import kinds
from tests.support.tflite_files import assert_same_numbers, imported

CASES = [
    pytest.param(spec, case, id=f"{spec.name}-{case.name}")
    for spec in all_ops().values()
    for case in spec.cases
]
REWRITTEN = {"reshape", "strided_slice", "slice", "shape", "fill", "range"}
"""Kinds whose spelling the importer settles anew; their numbers are compared alone."""


def build(spec: OpSpec, case: Case) -> tuple[Model, list[Array]]:
    generator = np.random.default_rng(0)
    graph = Graph()
    builder = Builder(graph)
    operands: list[Value | None] = []
    feeds: list[Array] = []
    drawn = any(isinstance(item, tuple) for item in case.operands)
    for index, item in enumerate(case.operands):
        array = np.asarray(generator.standard_normal(item), np.float32) if isinstance(item, tuple) else item
        if isinstance(item, tuple) or (not drawn and index == 0):
            feeds.append(np.asarray(array))
            operands.append(graph.add_input(f"x{index}", TensorType(feeds[-1].shape, DType.of(feeds[-1]))))
        elif item is None:
            operands.append(None)
        else:
            operands.append(builder.constant(np.asarray(array)))
    graph.set_outputs(builder.node(spec.name, operands, case.attributes).results)
    ports = [[Port(v.name, v.shape, v.dtype) for v in values] for values in (graph.inputs, graph.outputs)]
    return Model(graph, *ports), feeds


def rounded(attributes: Attributes) -> list[object]:
    """Return the attributes as a file holds them: numbers in float32."""
    values = [getattr(attributes, item.name) for item in fields(attributes)]
    return [float(np.float32(value)) if isinstance(value, float) else value for value in values]


@pytest.mark.parametrize(("spec", "case"), CASES)
def test_an_emitted_node_is_read_back(spec: OpSpec, case: Case) -> None:
    """Kind, attributes, types and names survive; the kernel then computes the same bits."""
    model, feeds = build(spec, case)
    raw = emit(model).to_bytes()
    again = assert_same_numbers(raw, feeds)
    assert [port.name for port in again.inputs] == [port.name for port in model.inputs]
    assert [port.name for port in again.outputs] == [port.name for port in model.outputs]
    assert [v.type for v in again.graph.outputs] == [v.type for v in model.graph.outputs]
    if spec.name not in REWRITTEN:
        assert kinds(again) == [spec.name]
        (node,), (original,) = list(again.graph), list(model.graph)
        assert rounded(node.attributes) == rounded(original.attributes)
        assert [v.name for v in node.results] == [v.name for v in original.results]


def test_emitting_what_was_read_gives_the_same_bytes() -> None:
    """One more round changes nothing: reading loses nothing that writing knows."""
    spec = all_ops()["conv_2d"]
    raw = emit(build(spec, spec.cases[1])[0]).to_bytes()
    assert emit(imported(raw)).to_bytes() == raw
