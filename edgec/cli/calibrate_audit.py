"""`edgec calibrate-audit`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from edgec.cli.choices import preprocess
from edgec.cli.exits import EXIT_GATE, exits
from edgec.cli.options import image_options
from edgec.cli.values import PATH, InputShape


@click.command("calibrate-audit", short_help="Judge calibration samples.")
@click.argument("data", metavar="DATA")
@click.option("--model", type=PATH, help="The model that the samples are for: checks them against it.")
@click.option("--calibration-samples", type=click.IntRange(min=1), help="Use at most so many samples.")
@image_options
@click.option("--input-shape", "input_shapes", type=InputShape(), multiple=True, help="Pin open dimensions.")
@exits
def audit_command(data: str, model: Path | None, calibration_samples: int | None, **choices: Any) -> None:
    """Say what calibration samples are worth: outliers, repeats, too few, wrong layout or normalization."""
    from edgec.calibrate.audit_console import print_audit
    from edgec.stages import audit_samples
    from edgec.terminal import Bars, error_console, output

    shapes = dict(choices["input_shapes"])
    with Bars(error_console()) as bars:
        found = audit_samples(data, model, shapes, preprocess(choices), calibration_samples, bars)
    with output() as console:
        print_audit(console, found)
    if found.verdict.grade == "poor":
        sys.exit(EXIT_GATE)
