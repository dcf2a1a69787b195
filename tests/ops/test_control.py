"""if and while: what they infer, and what the IR verifier holds about the graphs they run."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from edgec.emit import emit
from edgec.ir import DYNAMIC, DType, Graph, Model, Port, TensorType, Value
from edgec.kernels import KernelSet, Runner
from edgec.ops import Builder, InferenceError
from edgec.ops.control import IfAttributes, WhileAttributes, called_graphs
from edgec.ops.infer import common_type, fits
from edgec.ops.verify_ir import BrokenInvariantError, verify_ir
from edgec.passes.eliminate_dead import EliminateDead
from edgec.passes.fold_constants import FoldConstants
from edgec.passes.separate_outputs import SeparateOutputs

X = TensorType((3,))
COUNT = TensorType((), DType.INT32)
FLAG = TensorType((), DType.BOOL)


def subgraph(name: str, types: list[TensorType], body: Callable[..., list[Value]]) -> Graph:
    graph = Graph(name)
    inputs = [graph.add_input(f"{name}_{index}", type) for index, type in enumerate(types)]
    graph.set_outputs(body(Builder(graph), *inputs))
    return graph


def counting_model() -> Model:
    """Return a model that doubles x five times: states count and x."""
    graph = Graph()
    x = graph.add_input("x", X)
    build = Builder(graph)
    attributes = WhileAttributes(1, 2, (COUNT, X))
    results = build.node("while", [build.constant(0), x], attributes).results
    graph.set_outputs([results[1]])
    five = subgraph("cond", [COUNT, X], lambda b, i, x: [b.op("less", [i, b.constant(5)])])
    twice = subgraph(
        "body", [COUNT, X], lambda b, i, x: [b.op("add", [i, b.constant(1)]), b.op("add", [x, x])]
    )
    return Model(graph, [Port("x", (3,), DType.FLOAT32)], [Port("y", (3,), DType.FLOAT32)], [five, twice])


def test_while_runs_its_graphs() -> None:
    """Subgraphs are written behind the main graph; 2^5 = 32."""
    model = counting_model()
    verify_ir(model)
    assert called_graphs(model.graph.outputs[0].producer or pytest.fail()) == {"cond": 1, "body": 2}
    for kernels in KernelSet:
        (y,) = Runner(emit(model).to_bytes(), kernels=kernels).run([np.float32([1, 2, 3])])
        np.testing.assert_array_equal(y, [32, 64, 96])


def test_control_flow_is_not_folded() -> None:
    """A loop over constants stays: the folding runner sees one node without its graphs."""
    model = counting_model()
    (loop,) = model.graph
    model.graph.set_operand(loop, 1, model.graph.constant(np.zeros(3, np.float32)))
    assert not FoldConstants().run(model).modified


@pytest.mark.parametrize("damage", ["index", "results", "operands"])
def test_verifier_sees_graphs_that_do_not_fit(damage: str) -> None:
    """Numbers and types of what goes in and comes out of a graph are the node's."""
    model = counting_model()
    if damage == "index":
        model.subgraphs.pop()
    elif damage == "results":
        model.subgraphs[1].set_outputs(model.subgraphs[1].outputs[:1])
    else:
        model.subgraphs[0].inputs.pop()
    with pytest.raises(BrokenInvariantError, match="there is no subgraph 2" if damage == "index" else "for"):
        verify_ir(model)


def test_inference_demands_fitting_operands() -> None:
    """A condition is one bool; a state starts as its type says."""
    build = Builder(Graph())
    numbers = build.constant(np.zeros(3, np.float32))
    with pytest.raises(InferenceError, match="not one bool"):
        build.node("if", [numbers], IfAttributes(1, 2, (X,)))
    with pytest.raises(InferenceError, match="1 operands for 2 states"):
        build.node("while", [numbers], WhileAttributes(1, 2, (X, X)))
    with pytest.raises(InferenceError, match=r"state 0 is float32\[4\] but starts as float32\[3\]"):
        build.node("while", [numbers], WhileAttributes(1, 2, (TensorType((4,)),)))


def test_types_fit_where_the_wanted_one_is_open() -> None:
    """DYNAMIC accepts any size; the common type of two is open where they differ."""
    open_type = TensorType((DYNAMIC, 3))
    assert fits(TensorType((2, 3)), open_type)
    assert not fits(open_type, TensorType((2, 3)))
    assert not fits(TensorType((2, 3), DType.INT32), open_type)
    assert common_type([TensorType((2, 3)), TensorType((4, 3))]) == open_type
    with pytest.raises(InferenceError, match="differ in more than the size"):
        common_type([TensorType((2, 3)), TensorType((3,))])


def test_states_in_other_places_are_copied() -> None:
    """Only the input of the same number may be handed back as it is; a tensor is returned once."""
    graph = subgraph("body", [X, X, X], lambda b, p, q, r: [q, p, r])
    model = Model(Graph(), subgraphs=[graph])
    assert SeparateOutputs().run(model).modified
    kinds = [value.producer.kind if value.producer else "input" for value in graph.outputs]
    assert kinds == ["reshape", "reshape", "input"]
    assert not SeparateOutputs().run(model).modified


def test_copies_of_open_shapes() -> None:
    """A reshape needs to know the shape, a slice to the end does not."""
    graph = subgraph("body", [TensorType((DYNAMIC, DYNAMIC)), X], lambda b, p, q: [q, p])
    SeparateOutputs().run(Model(Graph(), subgraphs=[graph]))
    assert [value.producer.kind if value.producer else "" for value in graph.outputs] == ["reshape", "slice"]
    assert graph.outputs[1].shape == (DYNAMIC, DYNAMIC)


def test_graphs_of_dead_nodes_go_with_them() -> None:
    """What nothing runs is not written, and the graphs that stay are numbered anew."""
    model = counting_model()
    unused = subgraph("unused", [X], lambda b, x: [b.op("neg", [x])])
    model.subgraphs.insert(0, unused)
    (loop,) = model.graph
    build = Builder(model.graph, before=loop)
    attributes = WhileAttributes(2, 3, (COUNT, X))
    state = build.node("while", [loop.operand(0), loop.operand(1)], attributes).results[1]
    model.graph.replace_uses(loop.results[1], state)
    assert EliminateDead().run(model).modified
    verify_ir(model)
    assert [graph.name for graph in model.subgraphs] == ["cond", "body"]
    (y,) = Runner(emit(model).to_bytes(), kernels=KernelSet.BUILTIN).run([np.float32([1, 2, 3])])
    np.testing.assert_array_equal(y, [32, 64, 96])
    assert not EliminateDead().run(model).modified
