"""Messages that help their reader: where, what, why, next step.

Code families, so that a message can be looked up and filtered:

    E01xx  the source model or its file      E05xx  output files
    E02xx  operators and attributes          E06xx  options and recipes
    E03xx  calibration and evaluation data   E07xx  verification and budgets
    E04xx  targets and profiles              W....  the same families, not fatal
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """How bad it is: only errors stop a compile."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One message. `where` names the node, file or option; `next_step` says what the reader can do."""

    code: str
    where: str
    what: str
    why: str = ""
    next_step: str = ""
    severity: Severity = Severity.ERROR

    def __str__(self) -> str:
        parts = [f"{self.code} {self.where}: {self.what}"]
        parts += [part for part in (self.why, self.next_step) if part]
        return " ".join(part if part.endswith((".", "?", "!", ":")) else part + "." for part in parts)

    def to_dict(self) -> dict[str, str]:
        """Return the message as JSON-ready fields (the report's `diagnostics[]`)."""
        return {
            "code": self.code,
            "severity": str(self.severity),
            "where": self.where,
            "what": self.what,
            "why": self.why,
            "next_step": self.next_step,
        }


class CompileError(Exception):
    """The model or its data cannot be compiled; carries every diagnostic found, not only the first."""

    def __init__(self, diagnostics: Diagnostic | Iterable[Diagnostic]) -> None:
        found = (diagnostics,) if isinstance(diagnostics, Diagnostic) else tuple(diagnostics)
        super().__init__("\n".join(str(diagnostic) for diagnostic in found))
        self.diagnostics = found


class Diagnostics:
    """Collects messages of one compile so that a stage can report all its failures before it stops."""

    def __init__(self) -> None:
        self._items: list[Diagnostic] = []

    def __iter__(self) -> Iterator[Diagnostic]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def add(self, diagnostic: Diagnostic) -> None:
        """Keep a message; exact repeats are dropped."""
        if diagnostic not in self._items:
            self._items.append(diagnostic)

    def extend(self, diagnostics: Iterable[Diagnostic]) -> None:
        """Keep several messages in order."""
        for diagnostic in diagnostics:
            self.add(diagnostic)

    @property
    def errors(self) -> tuple[Diagnostic, ...]:
        """The messages that stop a compile."""
        return tuple(item for item in self._items if item.severity is Severity.ERROR)

    def raise_if_errors(self) -> None:
        """Raise `CompileError` with all errors collected so far, if there are any."""
        if self.errors:
            raise CompileError(self.errors)
