"""Local rewrites: a rule looks at one node and replaces its results, or says why it does not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from edgec.ir import Graph, Node, Value
from edgec.ops import Builder


@dataclass(frozen=True, slots=True)
class NoMatch:
    """A rule did not fire; the reason is what `--explain` shows."""

    reason: str


def no_match(reason: str) -> NoMatch:
    """Return why a rule does not fire: `return no_match("weights are not constant")`."""
    return NoMatch(reason)


class Rule(Protocol):
    """`kinds` are the node kinds it looks at; `apply` returns one replacement for each result."""

    @property
    def name(self) -> str:
        """Verb and subject: `fuse_activation`."""
        ...

    @property
    def kinds(self) -> tuple[str, ...]:
        """The root kinds of the pattern."""
        ...

    def apply(self, node: Node, build: Builder) -> Sequence[Value] | NoMatch:
        """Build the replacement before `node` and return it; no edits where it does not match."""
        ...


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a rule did not fire at a node."""

    rule: str
    node: str
    reason: str


def apply_rules(graph: Graph, rules: Sequence[Rule], explanations: list[Explanation] | None = None) -> bool:
    """Apply rules until none fires; returns whether anything changed.

    Nodes wait in a worklist in execution order. A rewrite puts its new nodes, their users and their
    producers back in line, so the work is linear in the number of nodes plus rewrites.
    """
    by_kind: dict[str, list[Rule]] = {}
    for rule in rules:
        for kind in rule.kinds:
            by_kind.setdefault(kind, []).append(rule)
    waiting: dict[Node, None] = dict.fromkeys(reversed(list(graph)))
    modified = False
    while waiting:
        node, _ = waiting.popitem()
        if node.graph is not graph:
            continue
        for rule in by_kind.get(node.kind, ()):
            neighbours = _rewrite(graph, node, rule, explanations)
            if neighbours is not None:
                modified = True
                waiting.update(dict.fromkeys(reversed(neighbours)))
                break
    return modified


def _rewrite(
    graph: Graph, node: Node, rule: Rule, explanations: list[Explanation] | None
) -> list[Node] | None:
    """Try one rule; return the nodes to look at again, or None where it did not fire."""
    build = Builder(graph, before=node, source=node.source or node.results[0].name)
    outcome = rule.apply(node, build)
    if isinstance(outcome, NoMatch):
        if explanations is not None:
            explanations.append(Explanation(rule.name, node.results[0].name, outcome.reason))
        return None
    producers = _producers(node)
    graph.replace_node(node, outcome)
    eliminate_unused(graph, producers)
    touched = [*build.made, *(value.producer for value in outcome if value.producer is not None)]
    again = [*touched, *(user for value in outcome for user in value.users)]
    again += [maker for item in touched for maker in _producers(item)]
    return [item for item in dict.fromkeys([*again, *producers]) if item.graph is graph]


def _producers(node: Node) -> list[Node]:
    return [v.producer for v in node.operands if v is not None and v.producer is not None]


def eliminate_unused(graph: Graph, candidates: Sequence[Node]) -> bool:
    """Remove the candidates that nothing reads, and then what only they read.

    A node without results stays: its effect on a variable is what it is for.
    """
    pending = list(candidates)
    removed = False
    while pending:
        node = pending.pop()
        if node.graph is not graph or any(not result.is_unused for result in node.results):
            continue
        if not node.results:
            continue
        pending += _producers(node)
        graph.remove(node)
        removed = True
    return removed
