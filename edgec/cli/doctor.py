"""`edgec doctor`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from edgec.cli.exits import EXIT_GATE, exits
from edgec.cli.values import PATH


@click.command("doctor", short_help="Find and mend faults of a TFLite file.")
@click.argument("model", type=PATH)
@click.option("--fix", is_flag=True, help="Write a mended copy.")
@click.option("-o", "--output", type=PATH, help="Where; default MODEL.fixed.tflite.")
@exits
def doctor_command(model: Path, fix: bool, output: Path | None) -> None:
    """Find known faults of a TFLite file, and mend them with --fix (exit 3 while it is not healthy)."""
    from edgec.doctor import examine, mend

    diagnosis = examine(model)
    for finding in diagnosis.findings:
        cure = f"--fix: {finding.mended}" if finding.mended else "Cannot be mended."
        click.echo(f"{finding} {cure}")
    if fix:
        target = output or model.with_suffix(".fixed.tflite")
        diagnosis = mend(model, target)
        click.echo(f"wrote {target}")
    if diagnosis.refusal:
        click.echo(f"LiteRT refuses it: {diagnosis.refusal}")
    if not diagnosis.is_healthy:
        sys.exit(EXIT_GATE)
    click.echo("healthy")
