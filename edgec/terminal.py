"""What a person at a terminal sees: bars and diagnostics on standard error, results on standard output.

In a pipe there are no bars, no colors and no lines broken to a width.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from edgec.diagnostics import Diagnostic, Severity

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

_LISTED = 12
_NO_WIDTH = 10_000
_BAR_WIDTH = 56  # of bar, percentage and time, with their gaps
_STYLES = {Severity.ERROR: "bold red", Severity.WARNING: "bold yellow", Severity.NOTE: "dim"}


class Bars:
    """One line a stage while it runs; a bar with time left where the number of steps is known."""

    def __init__(self, console: Console) -> None:
        from rich.progress import (
            BarColumn,
            Progress,
            SpinnerColumn,
            TaskProgressColumn,
            TextColumn,
            TimeRemainingColumn,
        )

        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
        self._bars: RichProgress = Progress(
            *columns, TimeRemainingColumn(), console=console, transient=True, disable=not console.is_terminal
        )
        self._task: TaskID | None = None
        self._stage = ""

    def __enter__(self) -> Bars:
        self._bars.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bars.stop()

    def start(self, stage: str, total: int | None = None) -> None:
        """Show a stage; without a total the bar pulses."""
        self._stage = stage
        self._task = self._bars.add_task(stage, total=total)

    def advance(self, done: int) -> None:
        """Move the bar of the current stage."""
        if self._task is not None:
            self._bars.update(self._task, completed=done)

    def describe(self, what: str) -> None:
        """Say what the current stage is at; what is too long for a line is cut."""
        from rich.markup import escape

        if self._task is not None:
            room = max(self._bars.console.width - _BAR_WIDTH, 0)
            text = f"{self._stage}: {what}"
            self._bars.update(
                self._task, description=escape(text if len(text) <= room else text[:room] + "…")
            )

    def refresh(self) -> None:
        """Draw now; otherwise bars are drawn ten times a second."""
        self._bars.refresh()

    def finish(self) -> None:
        """Remove the current stage."""
        if self._task is not None:
            self._bars.remove_task(self._task)
            self._task = None


def error_console() -> Console:
    """Return a console on standard error."""
    from rich.console import Console

    return Console(stderr=True, highlight=False)


@contextmanager
def output() -> Iterator[Console]:
    """Give a console for results: a terminal's own width, or whole lines in a pipe."""
    from rich.console import Console

    console = Console(highlight=False)
    if console.is_terminal:
        yield console
        return
    kept = io.StringIO()
    yield Console(file=kept, width=_NO_WIDTH, highlight=False)
    for line in kept.getvalue().splitlines():
        click.echo(line.rstrip())


def print_diagnostics(diagnostics: Iterable[Diagnostic], console: Console | None = None) -> None:
    """Print messages, worst first; places with the same message are listed under it once.

    Names in messages come from models and files: they are shown as plain text, never as markup.
    """
    from rich.text import Text

    console = console or error_console()
    groups: dict[tuple[str, ...], list[Diagnostic]] = {}
    for item in diagnostics:
        groups.setdefault((item.severity, item.code, item.what, item.why, item.next_step), []).append(item)
    for severity in Severity:
        for group in groups.values():
            if group[0].severity is severity:
                label = Text(f"{severity} ", style=_STYLES[severity])
                console.print(Text.assemble(label, _merged(group)), soft_wrap=not console.is_terminal)


def _merged(group: list[Diagnostic]) -> str:
    from edgec.reports.escape import visible

    if len(group) == 1:
        return visible(str(group[0]))
    lines = [visible(str(replace(group[0], where=f"in {len(group)} places")))]
    lines += [f"  {visible(item.where)}" for item in group[:_LISTED]]
    lines += [f"  … and {len(group) - _LISTED} more"] if len(group) > _LISTED else []
    return "\n".join(lines)
