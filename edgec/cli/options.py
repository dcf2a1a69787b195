"""Groups of options: precisions, how to quantize, how image files become inputs."""

from __future__ import annotations

from collections.abc import Callable

import click

from edgec.cli.values import PATH, Names, Numbers

PRECISIONS = {
    "float32": "Keep float32 (the default).",
    "float16": "Store weights in half precision: half the size, float32 arithmetic.",
    "dynamic": "Int8 weights; activations are quantized on the fly.",
    "int8": "Integer-only int8; needs calibration data.",
    "int16x8": "Integer-only, int16 activations and int8 weights; needs calibration data.",
}

_QUANTIZATION_OPTIONS = (
    click.option(
        "--calibrator",
        type=click.Choice(["auto", "minmax", "percentile", "mse", "entropy", "average"]),
        help="How ranges are taken from the samples. Default: what held-out samples prefer.",
    ),
    click.option(
        "--repair",
        "repairs",
        type=Names(),
        help="Any of absorb,equalize,rounding,bias, or none. Default: what held-out samples prefer.",
    ),
    click.option("--per-tensor", is_flag=True, help="One scale for all weights of a node (old MCU kernels)."),
    click.option(
        "--weights",
        type=click.Choice(["int8", "int4"]),
        help="Element type of weights; int8 also without --int8: a small file, float32 arithmetic.",
    ),
    click.option(
        "--block-size",
        type=int,
        default=0,
        help="With --dynamic --weights int4: so many weights share a scale (32, 64, 128 or 256).",
    ),
    click.option(
        "--max-drop",
        type=float,
        metavar="NUMBER",
        help="Accuracy budget: search the cheapest recipe whose drop is no larger (exit 3 if there is none).",
    ),
    click.option(
        "--eval",
        "evaluation",
        metavar="NPZ",
        help="Labelled samples: arrays as for calibration, and `labels`. Reports the metric of both models.",
    ),
    click.option(
        "--metric",
        help="top1, top5, mse, module:function; without labels agreement, error. Default: what fits.",
    ),
    click.option(
        "--recipe",
        type=PATH,
        help="Quantize as this recipe.toml or manifest says.",
    ),
    click.option("--explain", is_flag=True, help="Report where accuracy goes, layer by layer, and why."),
    click.option("--no-cache", is_flag=True, help="Calibrate even if these samples were calibrated before."),
)

_IMAGE_OPTIONS = (
    click.option("--mean", type=Numbers(), help="Images: per channel, in pixel units (0..255)."),
    click.option("--std", type=Numbers(), help="Images: per channel, in pixel units (0..255)."),
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
        type=PATH,
        help="Images and wavs: a preprocess.toml; options win over it.",
    ),
)


def precision_flags(command: Callable[..., None]) -> Callable[..., None]:
    """Add one flag for each precision."""
    for name, text in reversed(PRECISIONS.items()):
        command = click.option(f"--{name}", is_flag=True, help=text)(command)
    return command


def quantization_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that say how real numbers become integers; `edgec/recipes` knows what they mean."""
    for option in reversed(_QUANTIZATION_OPTIONS):
        command = option(command)
    return command


def image_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that say how image files become inputs."""
    for option in reversed(_IMAGE_OPTIONS):
        command = option(command)
    return command
