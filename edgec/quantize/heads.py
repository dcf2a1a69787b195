"""Output heads whose parts cannot share a scale: boxes of 0..640 pixels beside scores of 0..1.

    boxes ──┐                          boxes ─ dequantize ─┐
    scores ─┴ concat ─ reshape ─▶ y    scores ─ dequantize ┴ concat ─ reshape ─▶ y      (float32)

A quantized output has one scale, which rounds every score to 0 or 1. Joined in float behind the last integer
node, each part keeps its own scale; what is float then only moves data.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edgec.diagnostics import Diagnostic, Severity
from edgec.ir import Graph, Node, Value
from edgec.ops import spec_of
from edgec.ops.spec import Constraint
from edgec.quantize import problems
from edgec.quantize.known_ranges import known_ranges
from edgec.quantize.names import where
from edgec.quantize.roles import is_real

UNLIKE = 128.0
"""A part that fills less than 1/128 of the scale it has to share keeps two of its 256 levels."""

Range = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Head:
    """Nodes to keep in float, the outputs they make, and the two parts that differ most.

    `nodes` are names of results, so that each means one node.
    """

    nodes: tuple[str, ...]
    outputs: tuple[str, ...]
    join: Node
    small: tuple[str, Range]
    large: tuple[str, Range]

    def note(self) -> Diagnostic:
        """Say what was done and why."""
        (small, (a, b)), (large, (c, d)) = self.small, self.large
        return Diagnostic(
            problems.UNLIKE_HEAD,
            where(self.join),
            f"joins '{small}' ({a:.3g} to {b:.3g}) and '{large}' ({c:.3g} to {d:.3g}) in float32",
            "One int8 scale for both would leave the smaller part a few of its 256 levels.",
            "`--output-type int8` forces one scale; separate outputs in the source model avoid the choice.",
            Severity.WARNING,
        )


def find_heads(graph: Graph, ranges: Mapping[str, Range]) -> list[Head]:
    """Return the heads of a float graph whose parts have unlike ranges; nothing is changed."""
    known = known_ranges(graph, ranges)
    found: list[Head] = []
    taken: set[Node] = set()
    for node in graph:
        parts = {value.name: known[value.name] for value in _parts(node) if value.name in known}
        if len(parts) < 2 or node in taken:
            continue
        small, large = min(parts.items(), key=_width), max(parts.items(), key=_width)
        behind = _way_out(node)
        if behind is None or _width(small) * UNLIKE > _width(large):
            continue
        taken.update(behind)
        outputs = tuple(r.name for n in behind for r in n.results if r.is_graph_output)
        found.append(Head(tuple(n.results[0].name for n in behind), outputs, node, small, large))
    return found


def _parts(node: Node) -> list[Value]:
    """Return the activations that a node joins; nothing for a node with one or none."""
    if spec_of(node).quant.constraint is not Constraint.SAME_SCALE:
        return []
    parts = [
        value for value in node.operands if value is not None and is_real(value) and not value.is_constant
    ]
    return list(dict.fromkeys(parts)) if len(set(parts)) > 1 else []


def _way_out(join: Node) -> list[Node] | None:
    """Return the join and all nodes behind it, if they only move data on to outputs; else None."""
    behind = [join]
    for node in behind:
        for result in node.results:
            for user in result.users:
                if spec_of(user).quant.constraint is not Constraint.SAME_SCALE:
                    return None
                if user not in behind:
                    behind.append(user)
    return behind


def _width(part: tuple[str, Range]) -> float:
    low, high = part[1]
    return max(high, 0.0) - min(low, 0.0)
