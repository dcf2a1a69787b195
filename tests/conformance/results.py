"""What a run showed, summed up: per operator, per reason, and the two figures.

as shipped   passed / eligible
frozen       (passed + passed once settings are initializers) / eligible
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.conformance.cases import Suite
from tests.conformance.freeze import freeze
from tests.conformance.judge import Verdict
from tests.conformance.pool import Job, judge_all

OUTCOMES = ("pass", "frozen", "refused", "wrong", "crash")


@dataclass
class Results:
    """Verdicts by test name: as shipped, and of the refused ones those tried again with frozen settings."""

    shipped: dict[str, Verdict] = field(default_factory=dict[str, Verdict])
    frozen: dict[str, Verdict] = field(default_factory=dict[str, Verdict])

    def add(self, verdict: Verdict) -> None:
        """Keep a verdict."""
        (self.frozen if verdict.frozen else self.shipped)[verdict.name] = verdict

    @property
    def bad(self) -> list[Verdict]:
        """Wrong numbers and crashes, which nothing excuses, of both rounds."""
        both = (*self.shipped.values(), *self.frozen.values())
        return sorted(
            (v for v in both if v.outcome in ("wrong", "crash")), key=lambda v: (v.operator, v.name)
        )

    @property
    def refused(self) -> list[Verdict]:
        """Every refusal as shipped."""
        found = (v for v in self.shipped.values() if v.outcome == "refused")
        return sorted(found, key=lambda v: (v.operator, v.name))

    def passes_frozen(self, name: str) -> bool:
        """Whether a test passes once its settings are frozen."""
        return name in self.frozen and self.frozen[name].outcome == "pass"

    def outcome(self, verdict: Verdict) -> str:
        """Return the column of the table a test as shipped belongs to."""
        return "frozen" if self.passes_frozen(verdict.name) else verdict.outcome

    @property
    def share_shipped(self) -> float:
        """Fraction of tests that pass as they are."""
        return self._count("pass") / max(1, len(self.shipped))

    @property
    def share_frozen(self) -> float:
        """Fraction of tests that pass as they are or with frozen settings."""
        return (self._count("pass") + self._count("frozen")) / max(1, len(self.shipped))

    def _count(self, column: str) -> int:
        return sum(self.outcome(verdict) == column for verdict in self.shipped.values())

    def by_operator(self) -> dict[str, Counter[str]]:
        """Return the number of tests in each column, by operator."""
        table: dict[str, Counter[str]] = {}
        for verdict in sorted(self.shipped.values(), key=lambda v: v.operator):
            table.setdefault(verdict.operator, Counter())[self.outcome(verdict)] += 1
        return table

    def by_problem(self) -> list[tuple[str, list[Verdict]]]:
        """Return (outcome and reason, verdicts) of what is wrong, each reason once."""
        groups: dict[str, list[Verdict]] = {}
        for verdict in self.bad:
            groups.setdefault(f"{verdict.outcome}: {verdict.reason}", []).append(verdict)
        return list(groups.items())

    def by_reason(self) -> list[tuple[str, str, list[Verdict]]]:
        """Return (operator, reason, refusals) with the most frequent first."""
        groups: dict[tuple[str, str], list[Verdict]] = {}
        for verdict in self.refused:
            groups.setdefault((verdict.operator, f"{verdict.code} {verdict.reason}"), []).append(verdict)
        ordered = sorted(groups.items(), key=lambda item: (-len(item[1]), item[0]))
        return [(operator, reason, found) for (operator, reason), found in ordered]


def run(suite: Suite, names: list[str], *, workers: int = 2, retry: bool = True) -> Iterator[Verdict]:
    """Judge tests as shipped, then the refused ones again with frozen settings."""
    refused: list[str] = []
    for verdict in judge_all((Job(suite.cases[name]) for name in names), workers=workers):
        if verdict.outcome == "refused":
            refused.append(verdict.name)
        yield verdict
    frozen = [freeze(suite.cases[name], suite.signatures.get(name)) for name in sorted(refused)]
    again = [Job(case, frozen=True) for case in frozen if case.frozen]
    if retry and again:
        yield from judge_all(again, workers=workers)
