"""`edgec compare`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from edgec.cli.exits import EXIT_GATE, exits
from edgec.cli.values import PATH


@click.command("compare", short_help="Compare two reports or benchmark results.")
@click.argument("old", type=PATH)
@click.argument("new", type=PATH)
@click.option(
    "--fail-above",
    metavar="PERCENT",
    default="5%",
    show_default=True,
    help="Exit 3 when a metric got worse by more.",
)
@click.option("--markdown", type=PATH, help="Also write the table as Markdown.")
@exits
def compare_command(old: Path, new: Path, fail_above: str, markdown: Path | None) -> None:
    """Compare two compile reports, or two benchmark results of edgec-runtime (.json)."""
    from edgec.atomic_write import write_text
    from edgec.reports.compare import compare, parse_percent
    from edgec.reports.console import comparison_table
    from edgec.terminal import output

    comparison = compare(old, new, parse_percent(fail_above))
    with output() as console:
        console.print(comparison_table(comparison))
    if markdown is not None:
        write_text(markdown, comparison.to_markdown())
    if comparison.regressions:
        sys.exit(EXIT_GATE)
