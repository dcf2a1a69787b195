"""The pass contract: a frozen dataclass from model to model; fields are its options."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from edgec.ir import Model
from edgec.rewrite import Rule, apply_rules


@dataclass(frozen=True, slots=True)
class PassResult:
    """What a pass returns: the model (edited in place) and whether anything changed."""

    model: Model
    modified: bool


class Pass(Protocol):
    """One whole-graph step."""

    @property
    def name(self) -> str:
        """Verb and subject, as `--dump-ir` and reports show it."""
        ...

    def run(self, model: Model) -> PassResult:
        """Edit the model and say whether anything changed."""
        ...


@dataclass(frozen=True)
class RulePass:
    """A pass made of local rules, applied to a fixpoint in every graph of the model."""

    name: str
    rules: Sequence[Rule]

    def run(self, model: Model) -> PassResult:
        """Apply the rules in all graphs."""
        changed = [apply_rules(graph, self.rules) for graph in model.graphs]
        return PassResult(model, any(changed))
