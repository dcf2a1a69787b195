"""The command line. Nothing heavy is imported before a command needs it: `--help` stays instant."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from edgec import __version__

if TYPE_CHECKING:
    from edgec.compile import Compiled, Saved
    from edgec.diagnostics import Diagnostic
    from edgec.ir import Model
    from edgec.options import CompileOptions

    _ParamType = click.ParamType[Any]
else:
    _ParamType = click.ParamType  # generic in the stubs of newer versions only

EXIT_BAD_INPUT = 1
EXIT_GATE = 3
EXIT_INTERRUPTED = 130
SHOW_TRACEBACK = "EDGEC_TRACEBACK"
PRECISIONS = {
    "float32": "Keep float32 (the default).",
    "float16": "Store weights in half precision: half the size, float32 arithmetic.",
    "dynamic": "Int8 weights; activations are quantized on the fly.",
    "int8": "Integer-only int8; needs calibration data.",
    "int16x8": "Integer-only, int16 activations and int8 weights; needs calibration data.",
}

_COMPILE_EXAMPLES = """\b
Examples:
  edgec compile model.onnx --target rpi4
  edgec compile model.onnx --target rpi4 --int8 --calibration photos/
  edgec compile model.onnx --int8 --calibration data.npz --input-type float32
  edgec compile model.onnx --int8 --calibration photos/ --max-drop 1 --eval test.npz
  edgec compile model.onnx --int8 --calibration photos/ --mean 127.5 --std 127.5 --raw-pixels
  edgec compile model.onnx --input-shape 1,3,320,320 --report report.html

\b
Exit codes: 0 good, 1 bad input, 2 usage, 3 compiled but a gate is not met.
"""


def _exits(command: Callable[..., None]) -> Callable[..., None]:
    """Turn exceptions into diagnostics and exit codes: never a traceback for bad input."""

    @wraps(command)
    def run(*args: Any, **kwargs: Any) -> None:
        from edgec.diagnostics import CompileError

        try:
            command(*args, **kwargs)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except CompileError as error:
            _fail(error.diagnostics)
        except MemoryError:
            _fail([_out_of_memory()])
        except KeyboardInterrupt:
            click.echo("interrupted; nothing was written", err=True)
            sys.exit(EXIT_INTERRUPTED)
        except Exception as error:
            if os.environ.get(SHOW_TRACEBACK):
                raise
            _fail([_internal_error(error)])

    return run


def _fail(diagnostics: Iterable[Diagnostic]) -> NoReturn:
    from edgec.terminal import print_diagnostics

    print_diagnostics(diagnostics)
    sys.exit(EXIT_BAD_INPUT)


def _out_of_memory() -> Diagnostic:
    from edgec.diagnostics import Diagnostic

    why = "A tensor of the model is larger than this machine can hold."
    return Diagnostic(
        "E0901", "edgec", "out of memory", why, "Check the model's shapes, or use a larger machine."
    )


def _internal_error(error: Exception) -> Diagnostic:
    from edgec.diagnostics import Diagnostic

    what = f"internal error: {type(error).__name__}: {error}"
    next_step = f"Please report it with the model; {SHOW_TRACEBACK}=1 shows where it happened."
    return Diagnostic("E0900", "edgec", what, "This is a fault of edgec, not of your model.", next_step)


class _InputShape(_ParamType):
    """`NAME=1,3,224,224`, or the numbers alone for the only input."""

    name = "[NAME=]DIMS"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        name, _, dims = str(value).rpartition("=")
        try:
            return name, [int(item) for item in dims.split(",")]
        except ValueError:
            self.fail(f"'{value}' is not of the form NAME=1,3,224,224", param, ctx)


class _DynamicShape(_ParamType):
    """`NAME=batch,3,224,224`: what is no number stays open until the model runs."""

    name = "[NAME=]DIMS"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        name, _, dims = str(value).rpartition("=")
        items = [item.strip() for item in dims.split(",")]
        if not all(items):
            self.fail(f"'{value}' is not of the form NAME=batch,3,224,224", param, ctx)
        return name, [int(item) if item.lstrip("-").isdigit() else item for item in items]


class _InputValue(_ParamType):
    """`NAME=16000`: the input becomes that constant."""

    name = "NAME=NUMBER"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        name, _, number = str(value).rpartition("=")
        try:
            return name, float(number)
        except ValueError:
            self.fail(f"'{value}' is not of the form NAME=16000", param, ctx)


class _Numbers(_ParamType):
    """Comma-separated numbers."""

    name = "NUMBERS"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return tuple(float(item) for item in str(value).split(","))
        except ValueError:
            self.fail(f"'{value}' is not a list of numbers such as 123.7,116.3,103.5", param, ctx)


def _precision_flags(command: Callable[..., None]) -> Callable[..., None]:
    for name, text in reversed(PRECISIONS.items()):
        command = click.option(f"--{name}", is_flag=True, help=text)(command)
    return command


def _quantization_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that say how real numbers become integers; `edgec/recipes` knows what they mean."""
    for option in reversed(_QUANTIZATION_OPTIONS):
        command = option(command)
    return command


class _Names(_ParamType):
    """Comma-separated names, or `none`."""

    name = "NAMES"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, tuple):
            return value
        return () if value == "none" else tuple(item.strip() for item in str(value).split(","))


_QUANTIZATION_OPTIONS = (
    click.option(
        "--calibrator",
        type=click.Choice(["auto", "minmax", "percentile", "mse", "entropy", "average"]),
        help="How ranges are taken from the samples. Default: what held-out samples prefer.",
    ),
    click.option(
        "--repair",
        "repairs",
        type=_Names(),
        help="Any of absorb,equalize,rounding,bias, or none. Default: what held-out samples prefer.",
    ),
    click.option("--per-tensor", is_flag=True, help="One scale for all weights of a node (old MCU kernels)."),
    click.option("--weights", type=click.Choice(["int8", "int4"]), help="Element type of the weights alone."),
    click.option("--block-size", type=int, default=0, help="With --dynamic --weights int4: weights a scale."),
    click.option(
        "--max-drop",
        type=float,
        metavar="NUMBER",
        help="Accuracy budget: search the cheapest recipe whose drop is no larger (exit 3 if there is none).",
    ),
    click.option(
        "--eval", "evaluation", metavar="NPZ", help="Labelled samples: arrays as for calibration, `labels`."
    ),
    click.option(
        "--metric",
        help="top1, top5, mse, module:function; without labels agreement, error. Default: what fits.",
    ),
    click.option(
        "--recipe",
        type=click.Path(path_type=Path),
        help="Quantize as this recipe.toml or manifest says.",
    ),
    click.option("--explain", is_flag=True, help="Report where accuracy goes, layer by layer, and why."),
    click.option("--no-cache", is_flag=True, help="Calibrate even if these samples were calibrated before."),
)


def _image_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that say how image files become inputs."""
    for option in reversed(_IMAGE_OPTIONS):
        command = option(command)
    return command


_IMAGE_OPTIONS = (
    click.option("--mean", type=_Numbers(), help="Images: per channel, in pixel units (0..255)."),
    click.option("--std", type=_Numbers(), help="Images: per channel, in pixel units (0..255)."),
    click.option(
        "--color",
        type=click.Choice(["rgb", "bgr", "gray"]),
        help="Images: order of channels that the model was trained on.",
    ),
    click.option(
        "--resize",
        type=click.Choice(["none", "stretch", "crop", "letterbox"]),
        help="Images: how files of another size come to the model's.",
    ),
    click.option(
        "--preprocess",
        type=click.Path(path_type=Path),
        help="Images and wavs: a preprocess.toml; options win over it.",
    ),
)

_IO_TYPES = click.Choice(["float32", "int8", "uint8", "int16"])
_PATH = click.Path(path_type=Path)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="edgec")
def main() -> None:
    """Compile ONNX, Keras, PyTorch and TFLite models to verified TFLite for edge devices."""


@main.command("compile", epilog=_COMPILE_EXAMPLES)
@click.argument("model", type=_PATH)
@click.option("-o", "--output", type=_PATH, help="Artifact. Default: MODEL.TARGET.PRECISION.tflite.")
@click.option(
    "--target", default="generic", show_default=True, help="A board of `edgec targets`, or a .toml."
)
@_precision_flags
@click.option("--calibration", metavar="PATH", help="Images, wavs, .npz, .npy, module:function, or 'random'.")
@click.option("--calibration-samples", type=click.IntRange(min=1), help="Use at most so many samples.")
@_quantization_options
@_image_options
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
    type=_InputShape(),
    multiple=True,
    help="Pin symbolic dimensions (the batch is 1 unless said otherwise).",
)
@click.option(
    "--dynamic-shape",
    "dynamic_shapes",
    type=_DynamicShape(),
    multiple=True,
    help="Leave dimensions open: NAME=batch,3,224,224; names and ? stay dynamic, numbers pin.",
)
@click.option(
    "--input-value",
    "input_values",
    type=_InputValue(),
    multiple=True,
    help="Fix an input, e.g. sr=16000; branches that depend on it are decided now.",
)
@click.option("--signature", metavar="NAME", help="TFLite and SavedModel: which signature.")
@click.option(
    "--raw-pixels",
    is_flag=True,
    help="Image inputs take raw uint8 pixels, 0..255, RGB: mean, std and color become part of the model.",
)
@click.option("--input-type", type=_IO_TYPES, help="Element type of inputs. Default with --int8: int8.")
@click.option("--output-type", type=_IO_TYPES, help="Element type of outputs. Default with --int8: int8.")
@click.option("--float-islands", is_flag=True, help="With --int8: ops without int8 kernel stay float.")
@click.option("--prune", type=float, metavar="FRACTION", help="Set this share of the weights to zero.")
@click.option(
    "--report", "reports", type=_PATH, multiple=True, help="Write .html, .json, .md or .xml (JUnit)."
)
@click.option("--no-verify", is_flag=True, help="Do not compare with the source model.")
@click.option("--verify-each", is_flag=True, help="Check the IR after every pass (for developers).")
@click.option("--dump-ir", metavar="STAGE", help="Print the IR after 'import', a pass, 'quantize', or 'all'.")
@click.option("-q", "--quiet", is_flag=True, help="Print errors only.")
@click.option("-v", "--verbose", is_flag=True, help="Print notes, too.")
@_exits
def compile_command(
    model: Path, output: Path | None, reports: tuple[Path, ...], quiet: bool, verbose: bool, **choices: Any
) -> None:
    """Compile MODEL (ONNX, TFLite, Keras, SavedModel, PyTorch) to TFLite, verify and report."""
    from edgec.atomic_write import check_writable
    from edgec.compile import compile, default_output
    from edgec.reports.render import renderer_for, write_report
    from edgec.terminal import Bars, error_console

    options = _options({**choices, "reports": reports})
    artifact = output or default_output(model, options.target, options.precision)
    for path in reports:
        renderer_for(path)  # an unknown suffix or a missing extra must not cost a whole compile
    recipes = [] if options.max_drop is None else [recipe_path(artifact)]
    for path in (artifact, *reports, *recipes):
        check_writable(path)
    with Bars(error_console()) as bars:
        compiled = compile(model, options=options, progress=None if quiet else bars)
    saved = compiled.saved(artifact, command=_command_line())
    if options.max_drop is not None:
        _write_recipe(compiled, artifact)
    for path in reports:
        write_report(saved.report, path)
    if not quiet:
        _summarize(compiled, saved, reports, verbose)
    if not saved.report.passed:
        sys.exit(EXIT_GATE)


def _write_recipe(compiled: Compiled, artifact: Path) -> None:
    """Write the recipe that a search found beside the artifact."""
    from edgec.atomic_write import write_text

    if compiled.recipe is not None:
        write_text(recipe_path(artifact), compiled.recipe.to_toml())


def recipe_path(artifact: Path) -> Path:
    """Return where the recipe of an artifact goes: `model.tflite` → `model.recipe.toml`."""
    return artifact.with_suffix(".recipe.toml")


def _precision(choices: dict[str, Any]) -> str:
    """Return the precision that a flag or the recipe names."""
    chosen = [name for name in PRECISIONS if choices[name]]
    if len(chosen) > 1:
        raise click.UsageError(f"--{' and --'.join(chosen)} exclude each other")
    if chosen or choices["recipe"] is None:
        return chosen[0] if chosen else "float32"
    from edgec.recipes.recipe import read_recipe

    return read_recipe(choices["recipe"]).precision


def _options(choices: dict[str, Any]) -> CompileOptions:
    from edgec.options import CompileOptions

    names = (
        "target",
        "calibration",
        "io_layout",
        "input_type",
        "output_type",
        "raw_pixels",
        "float_islands",
        "prune",
        "verify_each",
        "signature",
        "repairs",
        "per_tensor",
        "weights",
        "block_size",
        "max_drop",
        "evaluation",
        "metric",
        "recipe",
    )
    return CompileOptions(
        precision=_precision(choices),  # pyright: ignore[reportArgumentType]
        calibration_limit=choices["calibration_samples"],
        observer=choices["calibrator"],
        preprocess=_preprocess(choices),
        input_shapes=dict(choices["input_shapes"]),
        input_values=dict(choices["input_values"]),
        dynamic_shapes=dict(choices["dynamic_shapes"]),
        explain=choices["explain"] or any(path.suffix == ".html" for path in choices["reports"]),
        use_cache=not choices["no_cache"],
        verify=not choices["no_verify"],
        on_pass=_dump_ir(choices["dump_ir"]),
        **{name: choices[name] for name in names},
    )


def _preprocess(choices: dict[str, Any]) -> Any:
    from edgec.calibrate.preprocess import load_preprocess, validated

    names = ("mean", "std", "color", "resize")
    path, flags = choices["preprocess"], {name: choices[name] for name in names if choices[name]}
    if path is None and not flags:
        return None
    stated = validated(flags, "--mean/--std/--color/--resize")
    return stated.over(load_preprocess(path)) if path is not None else stated


def _dump_ir(stage: str | None) -> Callable[[str, Model], None] | None:
    if stage is None:
        return None

    def dump(name: str, model: Model) -> None:
        from edgec.ir import format_model

        if stage in (name, "all"):
            click.echo(f"// after {name}\n{format_model(model)}")

    return dump


def _command_line() -> str:
    import shlex

    return shlex.join(["edgec", *sys.argv[1:]])


def _summarize(compiled: Compiled, saved: Saved, reports: tuple[Path, ...], verbose: bool) -> None:
    from rich.console import Console

    from edgec.diagnostics import Severity
    from edgec.reports.console import print_summary
    from edgec.reports.manifest import manifest_path
    from edgec.terminal import print_diagnostics

    print_diagnostics(d for d in compiled.diagnostics if verbose or d.severity is not Severity.NOTE)
    files = {"model": saved.path, "manifest": manifest_path(saved.path)}
    files |= {f"report {path.suffix}": path for path in reports}
    if recipe_path(saved.path).exists() and compiled.report.gates:
        files["recipe"] = recipe_path(saved.path)
    print_summary(Console(highlight=False), saved.report, files)


@main.command("targets")
@_exits
def targets_command() -> None:
    """List the boards that edgec compiles for."""
    from rich.console import Console
    from rich.table import Table

    from edgec.targets import targets_table

    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    for title in ("target", "kernels", "processor", "board"):
        table.add_column(title, no_wrap=title in ("target", "kernels"))
    for row in targets_table():
        table.add_row(row.target, row.profile, row.cpu, row.description)
    Console(highlight=False).print(table)


@main.command("compare")
@click.argument("old", type=_PATH)
@click.argument("new", type=_PATH)
@click.option(
    "--fail-above",
    metavar="PERCENT",
    default="5%",
    show_default=True,
    help="Exit 3 when a metric got worse by more.",
)
@click.option("--markdown", type=_PATH, help="Also write the table as Markdown.")
@_exits
def compare_command(old: Path, new: Path, fail_above: str, markdown: Path | None) -> None:
    """Compare two compile reports, or two benchmark results of edgec-runtime (.json)."""
    from rich.console import Console

    from edgec.atomic_write import write_text
    from edgec.reports.compare import compare, parse_percent
    from edgec.reports.console import comparison_table

    comparison = compare(old, new, parse_percent(fail_above))
    Console(highlight=False).print(comparison_table(comparison))
    if markdown is not None:
        write_text(markdown, comparison.to_markdown())
    if comparison.regressions:
        sys.exit(EXIT_GATE)


@main.command("doctor")
@click.argument("model", type=_PATH)
@click.option("--fix", is_flag=True, help="Write a mended copy.")
@click.option("-o", "--output", type=_PATH, help="Where; default MODEL.fixed.tflite.")
@_exits
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


@main.command("calibrate-audit")
@click.argument("data", metavar="DATA")
@click.option("--model", type=_PATH, help="The model that the samples are for: checks them against it.")
@click.option("--calibration-samples", type=click.IntRange(min=1), help="Use at most so many samples.")
@_image_options
@click.option("--input-shape", "input_shapes", type=_InputShape(), multiple=True, help="Pin open dimensions.")
@_exits
def audit_command(data: str, model: Path | None, calibration_samples: int | None, **choices: Any) -> None:
    """Say what calibration samples are worth: outliers, repeats, too few, wrong layout or normalization."""
    from rich.console import Console

    from edgec.calibrate.audit_console import print_audit
    from edgec.stages import audit_samples

    shapes = dict(choices["input_shapes"])
    found = audit_samples(data, model, shapes, _preprocess(choices), calibration_samples)
    print_audit(Console(highlight=False), found)
    if found.verdict.grade == "poor":
        sys.exit(EXIT_GATE)


@main.command("inspect")
@click.argument("model", type=_PATH)
@click.option("--json", "json_path", metavar="PATH|-", help="Write all facts as JSON; - prints nothing else.")
@click.option("--html", type=_PATH, help="Draw the graph as a self-contained page.")
@click.option("--input-shape", "input_shapes", type=_InputShape(), multiple=True, help="Pin open dimensions.")
@click.option("--signature", metavar="NAME", help="TFLite and SavedModel: which signature.")
@_exits
def inspect_command(
    model: Path,
    json_path: str | None,
    html: Path | None,
    input_shapes: tuple[Any, ...],
    signature: str | None,
) -> None:
    """Show what MODEL (any format) is, what it costs, and what blocks which board; compiles nothing."""
    from rich.console import Console

    from edgec.atomic_write import check_writable, write_text
    from edgec.inspection import inspect_model
    from edgec.inspection.console import print_inspection
    from edgec.inspection.html import render_html
    from edgec.terminal import print_diagnostics

    files = [html, Path(json_path) if json_path not in (None, "-") else None]
    for path in files:
        if path is not None:
            check_writable(path)
    found = inspect_model(model, input_shapes=dict(input_shapes), signature=signature)
    if html is not None:
        write_text(html, render_html(found))
    if files[1] is not None:
        write_text(files[1], found.to_json())
    if json_path == "-":
        click.echo(found.to_json(), nl=False)
        return
    print_inspection(Console(highlight=False), found)
    print_diagnostics(found.diagnostics)
