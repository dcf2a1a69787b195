"""`edgec targets`."""

from __future__ import annotations

import click

from edgec.cli.exits import exits


@click.command("targets", short_help="List the boards.")
@exits
def targets_command() -> None:
    """List the boards that edgec compiles for."""
    from rich.table import Table

    from edgec.targets import targets_table
    from edgec.terminal import output

    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    for title in ("target", "kernels", "processor", "board"):
        table.add_column(title, no_wrap=title in ("target", "kernels"))
    for row in targets_table():
        table.add_row(row.target, row.profile, row.cpu, row.description)
    with output() as console:
        console.print(table)
