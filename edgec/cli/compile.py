"""`edgec compile`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgec.cli.choices import compile_options
from edgec.cli.exits import EXIT_GATE, exits
from edgec.cli.files import Files, recipe_path
from edgec.cli.options import image_options, precision_flags, quantization_options
from edgec.cli.values import IO_TYPES, PATH, DynamicShape, InputShape, InputValue

if TYPE_CHECKING:
    from edgec.compile import Compiled
    from edgec.reports.model import Report

_COMPILE_EXAMPLES = """\b
Examples:
  edgec compile model.onnx --target rpi4
  edgec compile model.onnx --target rpi4 --int8 --calibration photos/
  edgec compile model.onnx --int8 --calibration data.npz --input-type float32
  edgec compile model.onnx --int8 --calibration photos/ --max-drop 1 --eval test.npz
  edgec compile model.onnx --int8 --calibration photos/ --mean 127.5 --std 127.5 --raw-pixels
  edgec compile model.onnx --input-shape 1,3,320,320 --report report.html

\b
Exit codes: 0 good, 1 bad input, 2 usage, 3 compiled but a gate is not met, 130 interrupted.
"""


@click.command(
    "compile", short_help="Compile a model to TFLite, verify and report.", epilog=_COMPILE_EXAMPLES
)
@click.argument("model", type=PATH)
@click.option("-o", "--output", type=PATH, help="Artifact. Default: MODEL.TARGET.PRECISION.tflite.")
@click.option(
    "--target", default="generic", show_default=True, help="A board of `edgec targets`, or a .toml."
)
@precision_flags
@click.option("--calibration", metavar="PATH", help="Images, wavs, .npz, .npy, module:function, or 'random'.")
@click.option("--calibration-samples", type=click.IntRange(min=1), help="Use at most so many samples.")
@quantization_options
@image_options
@click.option(
    "--io-layout",
    type=click.Choice(["channels-last", "source"]),
    default="channels-last",
    show_default=True,
    help="Axes of 4-D image inputs and outputs.",
)
@click.option(
    "--input-shape",
    "input_shapes",
    type=InputShape(),
    multiple=True,
    help="Pin symbolic dimensions (the batch is 1 unless said otherwise).",
)
@click.option(
    "--dynamic-shape",
    "dynamic_shapes",
    type=DynamicShape(),
    multiple=True,
    help="Leave dimensions open: NAME=batch,3,224,224; names and ? stay dynamic, numbers pin.",
)
@click.option(
    "--input-value",
    "input_values",
    type=InputValue(),
    multiple=True,
    help="Fix an input, e.g. sr=16000; branches that depend on it are decided now.",
)
@click.option("--signature", metavar="NAME", help="TFLite and SavedModel: which signature.")
@click.option(
    "--raw-pixels",
    is_flag=True,
    help="Image inputs take raw uint8 pixels, 0..255, RGB: mean, std and color become part of the model.",
)
@click.option("--input-type", type=IO_TYPES, help="Element type of inputs. Default with --int8: int8.")
@click.option("--output-type", type=IO_TYPES, help="Element type of outputs. Default with --int8: int8.")
@click.option("--float-islands", is_flag=True, help="With --int8: ops without int8 kernel stay float.")
@click.option("--prune", type=float, metavar="FRACTION", help="Set this share of the weights to zero.")
@click.option(
    "--report", "reports", type=PATH, multiple=True, help="Write .html, .json, .md or .xml (JUnit)."
)
@click.option("--no-verify", is_flag=True, help="Do not compare with the source model.")
@click.option("--verify-each", is_flag=True, help="Check the IR after every pass (for developers).")
@click.option("--dump-ir", metavar="STAGE", help="Print the IR after 'import', a pass, 'quantize', or 'all'.")
@click.option("-q", "--quiet", is_flag=True, help="Print errors only.")
@click.option("-v", "--verbose", is_flag=True, help="Print notes, too.")
@exits
def compile_command(
    model: Path, output: Path | None, reports: tuple[Path, ...], quiet: bool, verbose: bool, **choices: Any
) -> None:
    """Compile MODEL (ONNX, TFLite, Keras, SavedModel, PyTorch) to TFLite, verify and report."""
    from edgec.compile import compile, default_output
    from edgec.terminal import Bars, error_console

    options = compile_options({**choices, "reports": reports})
    artifact = output or default_output(model, options.target, options.precision)
    files = Files(artifact, reports, None if options.max_drop is None else recipe_path(artifact))
    files.check(
        {"model": model, "calibration data": options.calibration, "data of --eval": options.evaluation}
    )
    with Bars(error_console()) as bars:
        compiled = compile(model, options=options, progress=None if quiet else bars)
    report = files.save(compiled, _command_line())
    if not quiet:
        _summarize(compiled, report, files, verbose)
    if not report.passed:
        sys.exit(EXIT_GATE)


def _command_line() -> str:
    import shlex

    return shlex.join(["edgec", *sys.argv[1:]])


def _summarize(compiled: Compiled, report: Report, files: Files, verbose: bool) -> None:
    from edgec.diagnostics import Severity
    from edgec.reports.console import print_summary
    from edgec.terminal import output, print_diagnostics

    print_diagnostics(d for d in compiled.diagnostics if verbose or d.severity is not Severity.NOTE)
    with output() as console:
        print_summary(console, report, files.by_role)
