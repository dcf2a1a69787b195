"""The graph keeps order, uses, outputs and names true through every edit."""

from __future__ import annotations

import numpy as np
import pytest

from edgec.ir import Graph, Node, TensorType, Value, format_graph

FLOATS = TensorType((2,))


def node(kind: str, *operands: Value | None) -> Node:
    return Node(kind, operands, [Value(f"{kind}_result", FLOATS)])


@pytest.fixture
def graph() -> Graph:
    """x → abs → neg → exp → return"""
    graph = Graph()
    value = graph.add_input("x", FLOATS)
    for kind in ("abs", "neg", "exp"):
        value = graph.insert(node(kind, value)).result
    graph.set_outputs([value])
    return graph


def kinds(graph: Graph) -> list[str]:
    return [item.kind for item in graph]


def named(graph: Graph, kind: str) -> Node:
    return next(item for item in graph if item.kind == kind)


def test_nodes_stand_in_execution_order_both_ways(graph: Graph) -> None:
    assert kinds(graph) == ["abs", "neg", "exp"]
    assert [item.kind for item in reversed(graph)] == ["exp", "neg", "abs"]
    assert len(graph) == 3
    assert graph.last is named(graph, "exp")
    assert [item.kind for item in graph.nodes_after(named(graph, "abs"))] == ["neg", "exp"]
    assert len(graph.nodes_after(None)) == 3


def test_insert_before_a_node_and_before_the_first(graph: Graph) -> None:
    (x,) = graph.inputs
    graph.insert(node("sin", x), before=named(graph, "neg"))
    graph.insert(node("cos", x), before=named(graph, "abs"))
    assert kinds(graph) == ["cos", "abs", "sin", "neg", "exp"]
    assert x.users == (named(graph, "abs"), named(graph, "sin"), named(graph, "cos"))


def test_node_belongs_to_one_graph(graph: Graph) -> None:
    with pytest.raises(ValueError, match="is in a graph already"):
        Graph().insert(named(graph, "neg"))


def test_node_that_is_read_cannot_be_removed(graph: Graph) -> None:
    for kind in ("neg", "exp"):  # read by a node, returned by the graph
        with pytest.raises(ValueError, match="is still used"):
            graph.remove(named(graph, kind))


def test_removed_node_reads_nothing(graph: Graph) -> None:
    last, inner = named(graph, "exp"), named(graph, "neg")
    graph.set_outputs([inner.result])
    graph.remove(last)
    assert kinds(graph) == ["abs", "neg"]
    assert inner.result.uses == ()
    assert inner.result.is_graph_output
    assert last.graph is None
    graph.insert(last)
    assert kinds(graph) == ["abs", "neg", "exp"]


def test_iteration_survives_edits_at_the_node_at_hand(graph: Graph) -> None:
    seen: list[str] = []
    for item in graph:
        seen.append(item.kind)
        if item.kind == "neg":
            graph.replace_node(item, [item.operand(0)])
    assert seen == ["abs", "neg", "exp"]
    assert kinds(graph) == ["abs", "exp"]


def test_replace_node_moves_all_uses(graph: Graph) -> None:
    absolute, negative = named(graph, "abs"), named(graph, "neg")
    graph.replace_node(negative, [absolute.result])
    assert absolute.result.uses == ((named(graph, "exp"), 0),)
    assert negative.result.is_unused


def test_node_may_read_a_value_twice() -> None:
    graph = Graph()
    x, y = (graph.add_input(name, FLOATS) for name in ("x", "y"))
    product = graph.insert(node("mul", x, x))
    assert x.uses == ((product, 0), (product, 1))
    assert x.users == (product,)
    assert not x.has_single_use()
    graph.set_operand(product, 1, y)
    assert x.has_single_use()
    assert y.uses == ((product, 1),)


def test_optional_operands_grow_the_list() -> None:
    graph = Graph()
    x, bias = (graph.add_input(name, FLOATS) for name in ("x", "bias"))
    item = graph.insert(node("fully_connected", x))
    assert item.optional_operand(2) is None
    graph.set_operand(item, 2, bias)
    assert item.operands == (x, None, bias)
    with pytest.raises(ValueError, match="has no operand 1"):
        item.operand(1)
    graph.set_operand(item, 2, None)
    assert bias.is_unused


def test_value_that_is_returned_has_no_single_use(graph: Graph) -> None:
    inner = named(graph, "neg").result
    assert inner.has_single_use()
    graph.set_outputs([*graph.outputs, inner])
    assert not inner.has_single_use()
    graph.set_outputs(graph.outputs[:1])
    assert inner.has_single_use()


def test_output_returned_twice_counts_twice(graph: Graph) -> None:
    (y,) = graph.outputs
    graph.set_outputs([y, y])
    graph.set_outputs([y])
    assert y.is_graph_output
    graph.set_outputs([])
    assert not y.is_graph_output


def test_replacement_of_an_output_takes_over_its_name(graph: Graph) -> None:
    (old,) = graph.outputs
    new = graph.insert(node("sin", named(graph, "neg").result)).result
    graph.replace_uses(old, new)
    assert graph.outputs == (new,)
    assert (new.name, old.name) == ("exp_result", "sin_result")


def test_graph_input_and_constant_keep_their_names_as_outputs(graph: Graph) -> None:
    """A signature names inputs too, and a constant may be shared."""
    (x,), (old,) = graph.inputs, graph.outputs
    graph.replace_uses(old, x)
    assert graph.outputs == (x,)
    assert x.name == "x"
    constant = graph.constant(np.zeros(2, np.float32), "zeros")
    graph.replace_uses(x, constant)
    assert graph.outputs[0].name == "zeros"


def test_replacing_a_value_by_itself_changes_nothing(graph: Graph) -> None:
    before = format_graph(graph)
    inner = named(graph, "neg").result
    graph.replace_uses(inner, inner)
    assert format_graph(graph) == before


def test_names_are_unique_and_counted_for_each_stem() -> None:
    graph = Graph()
    assert [graph.unique_name(stem) for stem in ("a", "a", "b", "a", "", "")] == [
        "a",
        "a_1",
        "b",
        "a_2",
        "value",
        "value_1",
    ]
    assert graph.unique_name("a_1") == "a_1_1"


def test_constants_are_listed_once_in_order_of_use() -> None:
    graph = Graph()
    x = graph.add_input("x", FLOATS)
    first, second = (graph.constant(np.ones(2, np.float32), name) for name in ("first", "second"))
    unused = graph.constant(np.ones(2, np.float32), "unused")
    graph.insert(node("mul", graph.insert(node("add", x, second)).result, first))
    graph.insert(node("sub", x, second))
    assert graph.constants() == [second, first]
    assert unused not in graph.constants()
    assert first.constant().tolist() == [1, 1]
    with pytest.raises(ValueError, match="'x' is not a constant"):
        x.constant()


def test_text_shows_types_small_constants_and_results(graph: Graph) -> None:
    scale = graph.constant(np.array([0.5, 2.0], np.float32))
    graph.insert(node("mul", graph.inputs[0], scale), before=named(graph, "abs"))
    assert format_graph(graph) == "\n".join(
        [
            "graph main(%x: float32[2]) {",
            "  %mul_result: float32[2] = mul(%x, float32[2] [0.5, 2.0])",
            "  %abs_result: float32[2] = abs(%x)",
            "  %neg_result: float32[2] = neg(%abs_result)",
            "  %exp_result: float32[2] = exp(%neg_result)",
            "  return %exp_result",
            "}",
        ]
    )
