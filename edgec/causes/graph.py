"""Causes in single tensors: values too small for the least scale that kernels can work with."""

from __future__ import annotations

from collections.abc import Iterator

from edgec.causes.case import Case, Cause, Undo
from edgec.ir import Node
from edgec.ops import spec_of
from edgec.ops.spec import Constraint
from edgec.quantize.parameters import LEVELS

COARSE = 4.0
"""A scale this much above what the range asks for has cost two of eight bits."""

MIN_GAIN_DB = 0.5


def tiny_ranges(case: Case) -> Iterator[Cause]:
    """Tensors that span few steps of their scale: it is at its floor, or large weights keep kernels there.

    Undone by keeping them in float, and what reads them. Where such a tensor is an output nothing is left to
    undo: it has no number.
    """
    tiny = {node: levels for node in case.nodes() if (levels := _levels(case, node)) * COARSE < LEVELS}
    if not tiny:
        return
    gain = case.gain_of(Undo(float_nodes=_around(list(tiny))))
    if gain < MIN_GAIN_DB and not any(node.results[0].is_graph_output for node in tiny):
        return
    worst = min(tiny, key=lambda node: tiny[node])
    low, high = case.ranges[worst.results[0].name]
    levels = f"{tiny[worst]:.0f} of 256 levels"
    what = f"its values ({low:.3g} to {high:.3g}) have {levels} in the least scale that kernels take"
    what += f"; {len(tiny)} tensors are so" if len(tiny) > 1 else ""
    tried = "kept it in float, and what reads it"
    step = "Scale the weights in front up and those behind down, or give its nodes to a recipe's float_nodes."
    measured = gain if gain >= MIN_GAIN_DB else None
    where = f"tensor '{worst.results[0].name}'"
    yield Cause("tiny-range tensor", where, what, measured, tried, step)


def _levels(case: Case, node: Node) -> float:
    """Return how many levels a node's result uses; all of them where a neighbour or a kernel has a say."""
    result = node.results[0]
    scale = case.scales.get(result.name)
    if scale is None or result.name not in case.ranges:
        return LEVELS
    low, high = case.ranges[result.name]
    width = max(high, 0.0) - min(low, 0.0)
    free = all(spec_of(each).quant.constraint is Constraint.FREE for each in (node, *result.users))
    return width / scale if width and free else LEVELS


def _around(nodes: list[Node]) -> tuple[str, ...]:
    """Return names of nodes and of all that read them: between float nodes no scale is needed."""
    readers = [user for node in nodes for user in node.results[0].users]
    return tuple(dict.fromkeys(node.results[0].name for node in (*nodes, *readers)))
