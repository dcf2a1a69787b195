"""A kernel-library profile: the passes that suit a model to the library, and what it must not contain.

    early_passes ─▶ float IR ─ float_passes ─▶ integer_passes, calibrate, quantize ─▶ final_passes ─▶ emit
                                                                                           check_profile

A constraint is a function of a node. Its docstring is the rule, as errors and documentation show it; it
returns None where the node obeys, else the actual state in a few words.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

from edgec.diagnostics import Diagnostic
from edgec.ir import Model, Node
from edgec.passes.contract import RulePass


@dataclass(frozen=True)
class Constraint:
    """One checkable rule: its code, the function that tests a node, and what the reader can do."""

    code: str
    test: Callable[[Node], str | None]
    next_step: str

    @property
    def rule(self) -> str:
        """The rule as a sentence: the docstring of its test."""
        return " ".join((inspect.getdoc(self.test) or "").split())


@dataclass(frozen=True)
class Profile:
    """A kernel library. `library` is its name for people; `precisions` are those it has kernels for;
    `delegates` says whether it hands parts of the graph to XNNPACK.

    `early_passes` run on the front end's IR, for patterns that simplifying would hide. `float_passes` run on
    the float graph, `integer_passes` on one that is about to be quantized, both before calibration sees it.
    `final_passes` run on the graph as it will be emitted, float or quantized; they keep every value.
    """

    name: str
    library: str
    precisions: tuple[str, ...]
    early_passes: tuple[RulePass, ...]
    float_passes: tuple[RulePass, ...]
    final_passes: tuple[RulePass, ...]
    constraints: tuple[Constraint, ...]
    integer_passes: tuple[RulePass, ...] = ()
    delegates: bool = False


_MODULES = {"litert_xnnpack": "edgec.legalize.litert_xnnpack", "tflm": "edgec.legalize.tflm"}


def find_profile(name: str) -> Profile:
    """Return the profile of that name; KeyError for an unknown one (board files are validated before)."""
    profile = import_module(_MODULES[name]).PROFILE
    if not isinstance(profile, Profile):
        raise TypeError(f"{_MODULES[name]}.PROFILE is no Profile")
    return profile


def check_profile(model: Model, profile: Profile, target_name: str) -> list[Diagnostic]:
    """Return one diagnostic for every rule that a node of the model breaks: all of them, in node order."""
    return [
        _violation(node, constraint, state, profile, target_name)
        for graph in model.graphs
        for node in graph
        if node.operands  # what reads nothing (a variable's name) has no data that a kernel could refuse
        for constraint in profile.constraints
        if (state := constraint.test(node)) is not None
    ]


def _violation(
    node: Node, constraint: Constraint, state: str, profile: Profile, target_name: str
) -> Diagnostic:
    name = node.source or node.results[0].name
    return Diagnostic(
        constraint.code,
        f"node '{name}' ({node.kind})",
        state,
        f"Target '{target_name}' uses {profile.library}. {constraint.rule}",
        constraint.next_step,
    )
