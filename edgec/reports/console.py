"""What the terminal shows: the result of a compile on one screen, and the table of a comparison.

Names are printed as plain text: neither terminal escapes nor rich's `[markup]` in them take effect.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from edgec.reports import words
from edgec.reports.compare import Comparison, Verdict
from edgec.reports.escape import visible
from edgec.reports.model import Report

_LISTED = 6  # outputs; detection models have a dozen
_STATES = {"OK": "bold green", "POOR": "bold yellow", "FAILED": "bold red"}
_STYLES = {Verdict.BETTER: "green", Verdict.WORSE: "yellow", Verdict.MISSING: "yellow"}


def print_summary(console: Console, report: Report, files: Mapping[str, Path]) -> None:
    """Print the result of a compile; `files` are the written files by role (model, manifest, report)."""
    console.print(summary(report, files))


def summary(report: Report, files: Mapping[str, Path]) -> RenderableType:
    """Return the result of a compile as one headline and aligned lines of facts."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in _facts(report):
        grid.add_row(Text(name), Text(visible(value)))
    for role, path in files.items():
        grid.add_row(Text(role), Text(visible(str(path)), style="bold"))
    return Group(_headline(report), grid, *_trials(report))


def _trials(report: Report) -> Iterator[RenderableType]:
    """Yield the recipes of a search that none beats in drop, size and cost at once, the cheapest first."""
    trials = report.quantization.trials if report.quantization else ()
    if not trials:
        return
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", title="Recipes, the cheapest first")
    table.add_column("recipe")
    for title in ("drop", "SQNR", "size", "cost"):
        table.add_column(title, justify="right")
    for trial, cost in words.relative_costs(trials):
        numbers = (f"{trial.drop:.3g}", words.decibels(trial.sqnr_db), words.size(trial.size_bytes), cost)
        table.add_row(Text(trial.recipe), *numbers)
    yield table


def _headline(report: Report) -> Text:
    state = words.state(report)
    return Text.assemble((state, _STATES[state]), " ", visible(words.headline(report)))


def _facts(report: Report) -> Iterator[tuple[str, str]]:
    change = words.size_change(report)
    yield "size", words.size(report.size_bytes) + (f", {change}" if change else "")
    if report.arena_bytes is not None:
        yield "arena", words.size(report.arena_bytes)
    for info in report.inputs:
        if info.pixels is not None:
            yield "input", f"{info.name}: {words.pixel_feed(info.pixels)}"
    yield (
        "work",
        f"{words.count(report.macs)} multiply-accumulates, {words.count(report.parameters)} parameters",
    )
    yield "runs as", words.partitions(report.partitions)
    if report.quantization and report.quantization.candidates:
        yield "recipe", words.chosen_recipe(report.quantization.candidates)
    outputs = report.verification.outputs if report.verification else ()
    for output in outputs[:_LISTED]:
        yield visible(output.name), f"{words.decibels(output.sqnr_db)}, {words.verdict(output)}"
    if len(outputs) > _LISTED:
        yield "", f"… and {words.plural(len(outputs) - _LISTED, 'more output')}, in the report"
    if report.accuracy is not None:
        yield "accuracy", words.accuracy(report.accuracy)
    for gate in report.gates:
        yield "budget", f"{words.gate(gate)}, {'met' if gate.passed else 'NOT MET'}"
    for cause in report.explanation.causes if report.explanation else ():
        gain = "" if cause.gain_db is None else f" ({cause.gain_db:+.1f} dB without it)"
        yield "cause", f"{cause.kind}, {cause.where}: {cause.what}{gain}"
    if report.pruning:
        yield "pruned", f"{words.percent(report.pruning.achieved)} of the weights"
    yield "took", words.seconds(sum(report.timings.values()))


def comparison_table(comparison: Comparison) -> RenderableType:
    """Return the comparison as a table with its headline and notes."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("metric")
    for name in (comparison.old, comparison.new, "change"):
        table.add_column(Text(visible(name)), justify="right")
    table.add_column("verdict")
    table.add_column("", style="dim")
    for row in comparison.rows:
        style = "bold red" if row.regression else _STYLES.get(row.verdict, "")
        cells = (row.metric, row.old, row.new, row.change_text)
        table.add_row(
            *(Text(visible(cell)) for cell in cells), Text(row.verdict, style=style), Text(visible(row.note))
        )
    notes = (Text(visible(note), style="dim") for note in comparison.notes)
    state, style = ("FAILED", "bold red") if comparison.regressions else ("OK", "bold green")
    return Group(table, *notes, Text.assemble((state, style), " ", visible(comparison.headline())))
