"""`edgec inspect`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from edgec.cli.exits import exits
from edgec.cli.values import PATH, InputShape


@click.command("inspect", short_help="Show what a model is and what it costs.")
@click.argument("model", type=PATH)
@click.option("--json", "json_path", metavar="PATH|-", help="Write all facts as JSON; - prints nothing else.")
@click.option("--html", type=PATH, help="Draw the graph as a self-contained page.")
@click.option("--input-shape", "input_shapes", type=InputShape(), multiple=True, help="Pin open dimensions.")
@click.option("--signature", metavar="NAME", help="TFLite and SavedModel: which signature.")
@exits
def inspect_command(
    model: Path,
    json_path: str | None,
    html: Path | None,
    input_shapes: tuple[Any, ...],
    signature: str | None,
) -> None:
    """Show what MODEL (any format) is, what it costs, and what blocks which board; compiles nothing."""
    from edgec.atomic_write import check_writable, write_text
    from edgec.inspection import inspect_model
    from edgec.inspection.console import print_inspection
    from edgec.inspection.html import render_html
    from edgec.terminal import Bars, error_console, output, print_diagnostics

    files = [html, Path(json_path) if json_path not in (None, "-") else None]
    for path in files:
        if path is not None:
            check_writable(path)
    with Bars(error_console()) as bars:
        bars.start("inspect")
        found = inspect_model(model, input_shapes=dict(input_shapes), signature=signature)
    if html is not None:
        write_text(html, render_html(found))
    if files[1] is not None:
        write_text(files[1], found.to_json())
    if json_path == "-":
        click.echo(found.to_json(), nl=False)
        return
    with output() as console:
        print_inspection(console, found)
    print_diagnostics(found.diagnostics)
