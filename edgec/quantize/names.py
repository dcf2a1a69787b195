"""How a recipe names nodes: by the name the node has in the source model, or by the name of its result."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from difflib import get_close_matches

from edgec.diagnostics import Diagnostic
from edgec.ir import Graph, Node
from edgec.quantize import problems


def node_name(node: Node) -> str:
    """Return the node's name for people: its source name, else its first result's."""
    return node.source or node.results[0].name


def where(node: Node) -> str:
    """Return the start of a message about a node."""
    return f"node '{node_name(node)}' ({node.kind})"


def is_named(node: Node, names: Collection[str]) -> bool:
    """Whether names hold the node's source name (then all nodes it became are meant) or a result's name."""
    return node.source in names or any(result.name in names for result in node.results)


def unknown_names(graph: Graph, names: Iterable[str]) -> list[Diagnostic]:
    """Return one error for every name that no node of the graph answers to, with the nearest that exist."""
    known = dict.fromkeys(name for node in graph for name in (node.source, *(r.name for r in node.results)))
    found: list[Diagnostic] = []
    for name in names:
        if name in known:
            continue
        near = get_close_matches(name, filter(None, known), n=3)
        step = f"Nearest names: {', '.join(near)}." if near else "See `edgec inspect` for the names."
        what = "is not the name of a node or of its result"
        found.append(Diagnostic(problems.UNKNOWN_NODE, f"node '{name}'", what, next_step=step))
    return found
