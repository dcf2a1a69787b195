"""Diagnostics → reasons: one line for each rule that is broken, however many nodes break it.

node 'a' (gather)  'i' is int64  ┐
node 'b' (gather)  'k' is int64  ┴─▶  gather: … is int64 (2×)
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from edgec.diagnostics import Diagnostic, Severity
from edgec.inspection.model import Reason
from edgec.quantize.problems import NO_INT8_KERNEL

_NODE = re.compile(r"(?:node|operator(?: \d+)?) '(.*)' \(([^()]*)\)\Z", re.DOTALL)
_QUOTED = re.compile(r"'[^']*'")
_RULE = re.compile(r"Target '[^']*' uses [^.]*\. (.+)", re.DOTALL)
_MOST_STATES = 3
"""More states than this of one profile rule are told by the rule itself."""


@dataclass(frozen=True, slots=True)
class _Finding:
    code: str
    place: str
    kind: str
    state: str
    rule: str

    @property
    def general(self) -> str:
        """The state without tensor names, which differ from node to node."""
        return _QUOTED.sub("…", self.state)


def reasons_of(diagnostics: Iterable[Diagnostic]) -> tuple[Reason, ...]:
    """Return the errors grouped by code, op kind and state, in order of first appearance."""
    by_code: dict[str, list[_Finding]] = {}
    for item in diagnostics:
        if item.severity is Severity.ERROR:
            by_code.setdefault(item.code, []).append(_finding(item))
    return tuple(reason for found in by_code.values() for reason in _grouped(found))


def place_of(where: str) -> tuple[str, str]:
    """Return a node's name and kind from a diagnostic's `where`; for other places the text itself and ""."""
    found = _NODE.match(where)
    return (found[1], found[2]) if found else (where, "")


def _finding(item: Diagnostic) -> _Finding:
    place, kind = place_of(item.where)
    rule = _RULE.match(item.why)
    state = item.why if item.code == NO_INT8_KERNEL else item.what
    return _Finding(item.code, place, kind, state.rstrip("."), rule[1].rstrip(".") if rule else "")


def _grouped(found: Sequence[_Finding]) -> list[Reason]:
    groups: dict[tuple[str, str], list[_Finding]] = {}
    for item in found:
        groups.setdefault((item.kind, item.general), []).append(item)
    if len(groups) <= _MOST_STATES or not all(item.rule for item in found):
        return [_reason(members, _state(members)) for members in groups.values()]
    by_rule: dict[str, list[_Finding]] = {}
    for item in found:
        by_rule.setdefault(item.rule, []).append(item)
    return [_reason(members, f"{_kinds(members)}: {rule}") for rule, members in by_rule.items()]


def _reason(found: Sequence[_Finding], text: str) -> Reason:
    return Reason(found[0].code, text, tuple(item.place for item in found))


def _state(found: Sequence[_Finding]) -> str:
    """Name the tensor where there is one place; a place that is no node says itself what it is."""
    first = found[0]
    subject = first.kind or (first.place if len(found) == 1 else "")
    text = first.state if len(found) == 1 else first.general
    return f"{subject}: {text}" if subject else text


def _kinds(found: Sequence[_Finding]) -> str:
    return ", ".join(dict.fromkeys(item.kind for item in found))
