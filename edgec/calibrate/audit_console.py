"""What the terminal shows of an audit: verdict, facts, and for each reason what to do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from edgec.calibrate.audit import Audit, InputFacts
from edgec.calibrate.problems import CONVERTED, IGNORED, counted, shape_text
from edgec.calibrate.verdict import Grade
from edgec.reports.escape import visible

_STYLES = {Grade.GOOD: "bold green", Grade.USABLE: "bold yellow", Grade.POOR: "bold red"}
_LISTED = 6


def print_audit(console: Console, audit: Audit) -> None:
    """Print an audit on one screen."""
    console.print(audit_view(audit))


def audit_view(audit: Audit) -> RenderableType:
    """Return an audit as a headline, aligned facts, channels, outliers and advice."""
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column(overflow="fold")
    for name, value in _facts(audit):
        facts.add_row(Text(name), Text(visible(value)))
    parts: list[RenderableType] = [_headline(audit), facts, _channels(audit.inputs)]
    if audit.outliers:
        parts.append(_outliers(audit))
    return Group(*parts, _reasons(audit))


def _headline(audit: Audit) -> Text:
    grade = audit.verdict.grade
    text = f" {counted(audit.count, 'sample')} from {visible(audit.source)}"
    return Text.assemble((str(grade).upper(), _STYLES[grade]), text)


def _reasons(audit: Audit) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for reason in audit.verdict.reasons:
        table.add_row(Text(reason.grade, style=_STYLES[reason.grade]), Text(visible(reason.what)))
        table.add_row("", Text(visible(reason.advice), style="dim"))
    return table


def _facts(audit: Audit) -> Iterator[tuple[str, str]]:
    yield "read as", audit.how
    for item in audit.inputs:
        yield "input", f"{item.name} {item.dtype}{shape_text(item.shape)}"
    for note in audit.notes:
        if note.code in (CONVERTED, IGNORED):
            yield "note", f"{note.what}."
    yield "equal", _groups(audit.equal)
    yield "similar", _groups(audit.similar)
    yield "constant", _listed(audit.constant) or "none"
    found = audit.stability
    if found.tensors:
        worst = f", worst {found.worst:.0%} at {found.worst_tensor}"
        yield (
            "two halves",
            f"ranges of {found.tensors} tensors differ by {found.median:.0%} at the median{worst}",
        )


def _groups(groups: Sequence[Sequence[str]]) -> str:
    if not groups:
        return "none"
    shown = "; ".join(map(_listed, groups[:_LISTED]))
    return shown + (f"; and {len(groups) - _LISTED} more groups" if len(groups) > _LISTED else "")


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more


def _channels(inputs: Sequence[InputFacts]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("channel")
    for name in ("min", "max", "mean", "std"):
        table.add_column(name, justify="right")
    for item in inputs:
        for index, channel in enumerate(item.channels):
            label = item.name if len(item.channels) == 1 else f"{item.name} {index}"
            numbers = (channel.low, channel.high, channel.mean, channel.std)
            table.add_row(Text(visible(label)), *(f"{number:.4g}" for number in numbers))
    return table


def _outliers(audit: Audit) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("outlier", overflow="fold")
    table.add_column("tensors", justify="right")
    table.add_column("worst", overflow="fold")
    table.add_column("narrower without it", justify="right")
    for row in audit.outliers[:_LISTED]:
        names = Text(visible(row.sample)), str(row.tensors), Text(visible(row.worst))
        table.add_row(*names, f"{row.shrink:.0%}")
    return table
