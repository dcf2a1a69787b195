"""The rule driver: to a fixpoint, with reasons, names kept, and nothing dead left behind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgec.ir import Graph, Node, TensorType, Value, format_graph
from edgec.ops import Builder
from edgec.rewrite import Explanation, NoMatch, Rule, apply_rules, eliminate_unused, no_match
from tests.support.ir_graphs import kinds, make_model


@dataclass(frozen=True)
class CancelNegation:
    """neg(neg(x)) → x"""

    name: str = "cancel_negation"
    kinds: tuple[str, ...] = ("neg",)

    def apply(self, node: Node, build: Builder) -> Sequence[Value] | NoMatch:
        inner = node.operand(0).producer
        if inner is None or inner.kind != "neg":
            return no_match("the operand is not made by neg")
        return [inner.operand(0)]


@dataclass(frozen=True)
class ExpandSquare:
    """square(x) → neg(x) * neg(x)"""

    name: str = "expand_square"
    kinds: tuple[str, ...] = ("square",)

    def apply(self, node: Node, build: Builder) -> Sequence[Value] | NoMatch:
        negated = build.op("neg", [node.operand(0)])
        return [build.op("mul", [negated, negated])]


def chain(graph: Graph, x: Value, *steps: str) -> Value:
    build = Builder(graph)
    for kind in steps:
        x = build.op(kind, [x])
    return x


def graph_of(*steps: str) -> Graph:
    return make_model(lambda b, x: chain(b.graph, x, *steps), (2, 3)).graph


def apply(graph: Graph, *rules: Rule) -> list[str]:
    apply_rules(graph, rules)
    return [node.kind for node in graph]


def test_rules_apply_until_none_fires() -> None:
    """Six negations are three pairs; each removal brings the next pair together."""
    graph = graph_of("abs", *["neg"] * 6, "exp")
    assert apply(graph, CancelNegation()) == ["abs", "exp"]


def test_driver_says_whether_anything_changed() -> None:
    graph = graph_of("abs", "neg", "neg", "exp")
    assert apply_rules(graph, [CancelNegation()])
    assert not apply_rules(graph, [CancelNegation()])


def test_new_nodes_are_matched_too() -> None:
    """The negation that `expand_square` makes meets the one before it."""
    graph = graph_of("neg", "square")
    assert apply(graph, ExpandSquare(), CancelNegation()) == ["mul"]


def test_what_only_the_replaced_node_read_is_removed() -> None:
    """The inner negation is dead after the rewrite; the abs before it is not."""
    graph = graph_of("abs", "neg", "neg")
    (output,) = graph.outputs
    assert apply(graph, CancelNegation()) == ["abs"]
    assert graph.outputs != (output,)


def test_other_readers_keep_what_they_read() -> None:
    def body(b: Builder, x: Value) -> list[Value]:
        inner = b.op("neg", [b.op("abs", [x])])
        return [b.op("exp", [b.op("neg", [inner])]), b.op("sin", [inner])]

    model = make_model(body, (2,))
    apply_rules(model.graph, [CancelNegation()])
    assert sorted(kinds(model)) == ["abs", "exp", "neg", "sin"]


def test_output_keeps_its_name() -> None:
    graph = graph_of("abs", "neg", "neg")
    name = graph.outputs[0].name
    apply_rules(graph, [CancelNegation()])
    assert [value.name for value in graph.outputs] == [name]
    assert graph.outputs[0].producer is not None
    assert graph.outputs[0].producer.kind == "abs"


def test_reasons_are_collected_for_each_node_that_did_not_match() -> None:
    graph = graph_of("neg")
    explanations: list[Explanation] = []
    apply_rules(graph, [CancelNegation()], explanations)
    (name,) = (value.name for value in graph.outputs)
    assert explanations == [Explanation("cancel_negation", name, "the operand is not made by neg")]


def test_first_rule_of_a_kind_wins() -> None:
    @dataclass(frozen=True)
    class ToAbs:
        name: str = "to_abs"
        kinds: tuple[str, ...] = ("square",)

        def apply(self, node: Node, build: Builder) -> Sequence[Value] | NoMatch:
            return [build.op("abs", [node.operand(0)])]

    assert apply(graph_of("square"), ToAbs(), ExpandSquare()) == ["abs"]


def test_new_nodes_stand_where_the_old_one_stood_and_keep_its_source() -> None:
    graph = Graph()
    x = graph.add_input("x", TensorType((2,)))
    middle = Builder(graph, source="block/square").op("square", [x])
    graph.set_outputs([chain(graph, middle, "exp")])
    apply_rules(graph, [ExpandSquare()])
    assert [(node.kind, node.source) for node in graph] == [
        ("neg", "block/square"),
        ("mul", "block/square"),
        ("exp", ""),
    ]


def test_long_chains_take_linear_work() -> None:
    """20000 negations: a quadratic driver would take minutes, this one is done at once."""
    graph = graph_of("abs", *["neg"] * 20_000)
    calls = 0

    @dataclass(frozen=True)
    class Counted:
        name: str = "counted"
        kinds: tuple[str, ...] = ("neg",)

        def apply(self, node: Node, build: Builder) -> Sequence[Value] | NoMatch:
            nonlocal calls
            calls += 1
            return CancelNegation().apply(node, build)

    assert apply(graph, Counted()) == ["abs"]
    assert calls < 100_000


def test_unused_nodes_go_with_what_only_they_read() -> None:
    def body(b: Builder, x: Value) -> Value:
        used = b.op("abs", [x])
        chain(b.graph, used, "neg", "exp")
        return b.op("sin", [used])

    model = make_model(body, (2,))
    nodes = list(model.graph)
    assert eliminate_unused(model.graph, nodes)
    assert kinds(model) == ["abs", "sin"]
    assert not eliminate_unused(model.graph, nodes)
    assert "neg" not in format_graph(model.graph)
