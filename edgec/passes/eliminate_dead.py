"""Removes nodes that nothing reads."""

from __future__ import annotations

from dataclasses import dataclass

from edgec.ir import Model
from edgec.passes.contract import PassResult
from edgec.rewrite import eliminate_unused


@dataclass(frozen=True)
class EliminateDead:
    """`y = f(x)` with y unread → nothing."""

    name: str = "eliminate_dead"

    def run(self, model: Model) -> PassResult:
        """Walk backwards once: a node's readers are gone before the node is looked at."""
        changed = [eliminate_unused(graph, list(graph)) for graph in model.graphs]
        return PassResult(model, any(changed))
