"""From what was typed to `CompileOptions`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from edgec.cli.options import PRECISIONS

if TYPE_CHECKING:
    from edgec.ir import Model
    from edgec.options import CompileOptions


def compile_options(choices: dict[str, Any]) -> CompileOptions:
    """Return the choices of `edgec compile`; CompileError and UsageError for what does not fit together."""
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
        preprocess=preprocess(choices),
        input_shapes=dict(choices["input_shapes"]),
        input_values=dict(choices["input_values"]),
        dynamic_shapes=dict(choices["dynamic_shapes"]),
        explain=choices["explain"] or any(path.suffix == ".html" for path in choices["reports"]),
        use_cache=not choices["no_cache"],
        verify=not choices["no_verify"],
        on_pass=_dump_ir(choices["dump_ir"]),
        **{name: choices[name] for name in names},
    )


def _precision(choices: dict[str, Any]) -> str:
    """Return the precision that a flag or the recipe names."""
    chosen = [name for name in PRECISIONS if choices[name]]
    if len(chosen) > 1:
        raise click.UsageError(f"--{' and --'.join(chosen)} exclude each other")
    if chosen or choices["recipe"] is None:
        return chosen[0] if chosen else "float32"
    from edgec.recipes.recipe import read_recipe

    return read_recipe(choices["recipe"]).precision


def preprocess(choices: dict[str, Any]) -> Any:
    """Return how image files become inputs: flags win over the file; None where nothing was said."""
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
