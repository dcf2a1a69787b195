"""The choices of one compile, checked before any work is done."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from edgec.diagnostics import CompileError, Diagnostic

if TYPE_CHECKING:
    from edgec.calibrate.data import Source as CalibrationSource
    from edgec.calibrate.preprocess import Preprocess
    from edgec.ir import Array, Model
    from edgec.recipes.recipe import Recipe
    from edgec.recipes.tune import Open

Precision = Literal["float32", "float16", "dynamic", "int8", "int16x8"]
IoLayout = Literal["channels-last", "source"]
IoType = Literal["float32", "int8", "uint8", "int16"]
WeightType = Literal["int8", "int4"]
INTEGER_PRECISIONS: tuple[Precision, ...] = ("int8", "int16x8")

RANDOM_CALIBRATION = "random"
RANDOM_SAMPLES = 16


@dataclass(frozen=True)
class CompileOptions:
    """Everything the user may choose; defaults are those of the command line."""

    target: str = "generic"
    precision: Precision = "float32"
    calibration: CalibrationSource | None = None
    calibration_limit: int | None = None
    preprocess: Preprocess | None = None
    observer: str | None = None
    repairs: Sequence[str] | None = None
    per_tensor: bool = False
    recipe: str | Path | Recipe | None = None
    max_drop: float | None = None
    evaluation: str | Path | Mapping[str, Array] | None = None
    metric: str | None = None
    explain: bool = False
    use_cache: bool = True
    weights: WeightType | None = None
    block_size: int = 0
    io_layout: IoLayout = "channels-last"
    input_shapes: Mapping[str, Sequence[int]] = field(default_factory=dict[str, Sequence[int]])
    dynamic_shapes: Mapping[str, Sequence[int | str]] = field(default_factory=dict[str, Sequence[int | str]])
    input_values: Mapping[str, float] = field(default_factory=dict[str, float])
    signature: str | None = None
    example_inputs: Sequence[object] | Mapping[str, object] | None = None
    input_type: IoType | None = None
    output_type: IoType | None = None
    raw_pixels: bool = False
    prune: float | None = None
    float_islands: bool = False
    verify: bool = True
    verify_each: bool = False
    threads: int = 2
    on_pass: Callable[[str, Model], None] | None = None

    def __post_init__(self) -> None:
        problems = [*_choice("precision", self.precision, get_args(Precision))]
        problems += _choice("io_layout", self.io_layout, get_args(IoLayout))
        for name in ("input_type", "output_type"):
            value = getattr(self, name)
            if value is not None:
                pixels = ("uint8",) if self.raw_pixels and name == "input_type" else ()
                problems += _choice(name, value, (*self._interface_types(), *pixels))
        if self.prune is not None and not 0 < self.prune < 1:
            what = f"{self.prune} is not a fraction"
            problems.append(
                Diagnostic("E0603", "prune", what, "It is the share of weights to remove: 0 < x < 1.")
            )
        problems += self._recipe_problems()
        problems += self._pixel_problems()
        problems += self._dynamic_shape_problems()
        if problems:
            raise CompileError(problems)

    @property
    def device_input_type(self) -> IoType | None:
        """What inputs are asked to be: pixels are uint8 unless int8 was chosen (a pixel less 128)."""
        return self.input_type or ("uint8" if self.raw_pixels else None)

    @property
    def random_samples(self) -> bool:
        """Whether random numbers take the place of calibration data."""
        return isinstance(self.calibration, str) and self.calibration == RANDOM_CALIBRATION

    def _pixel_problems(self) -> list[Diagnostic]:
        if not self.raw_pixels:
            return []
        if self.precision == "int16x8":
            why = "Int16 tensors have a zero point of 0, and their inputs are int16 or float32."
            step = "Use --int8, or a float precision."
            return [Diagnostic("E0617", "raw_pixels", "int16x8 models cannot take pixels", why, step)]
        if self.input_type in ("uint8", None) or (self.input_type, self.precision) == ("int8", "int8"):
            return []
        what = f"pixels are no {self.input_type} inputs of a {self.precision} model"
        step = "Leave --input-type out (uint8); with --int8 it may be int8, which is the pixel less 128."
        return [Diagnostic("E0617", "raw_pixels", what, next_step=step)]

    def _interface_types(self) -> tuple[str, ...]:
        """Return what inputs and outputs may be."""
        return {"int8": ("float32", "int8", "uint8"), "int16x8": ("float32", "int16")}.get(
            self.precision, ("float32",)
        )

    def chosen_recipe(self) -> Recipe:
        """Return the recipe of an integer compile: the file's or the default, with what was chosen beside it.

        CompileError E0611 and E0612 for a file that is no recipe.
        """
        from edgec.recipes.recipe import DEFAULT_RECIPE, Recipe, read_recipe

        base = self.recipe if self.recipe is not None else DEFAULT_RECIPE
        recipe = base if isinstance(base, Recipe) else read_recipe(Path(base))
        chosen: dict[str, object] = {"precision": self.precision}
        chosen |= {} if self.observer is None else {"calibrator": self.observer}
        chosen |= {} if self.repairs is None else {"repairs": tuple(dict.fromkeys(self.repairs))}
        chosen |= {"per_axis": False} if self.per_tensor else {}
        return replace(recipe, **chosen)  # pyright: ignore[reportArgumentType]

    def open_choices(self) -> Open:
        """Return what of the recipe is left to measurements: what was not chosen, where data can tell.

        A recipe file is a choice; a budget has a search of its own; random numbers say nothing of accuracy.
        """
        from edgec.recipes.tune import Open

        told = self.recipe is not None or self.max_drop is not None
        if told or self.random_samples:
            return Open()
        return Open(calibrator=self.observer is None, repairs=self.repairs is None)

    def _recipe_problems(self) -> list[Diagnostic]:
        from edgec.recipes.recipe import CALIBRATORS, REPAIRS

        problems = [] if self.observer is None else _choice("calibrator", self.observer, CALIBRATORS)
        for name in self.repairs or ():
            problems += _choice("repair", name, REPAIRS)
        if self.max_drop is not None and not 0 <= self.max_drop < float("inf"):
            what = f"{self.max_drop} is not a number of at least 0"
            problems.append(Diagnostic("E0616", "max_drop", what))
        wants = {"max_drop": self.max_drop, "evaluation": self.evaluation, "recipe": self.recipe}
        wanting = [name for name, value in wants.items() if value is not None]
        if wanting and self.precision not in INTEGER_PRECISIONS:
            what = f"says how to quantize, and {self.precision} has no calibration"
            problems.append(Diagnostic("E0616", wanting[0], what, next_step="Add --int8 or --int16x8."))
        if self.weights is not None:
            problems += _choice("weights", self.weights, get_args(WeightType))
        if self.block_size and (self.precision, self.weights) != ("dynamic", "int4"):
            what = "blocks are a form of int4 weights with --dynamic"
            problems.append(Diagnostic("E0616", "block_size", what))
        elif self.block_size:
            problems += _choice("block_size", str(self.block_size), ("32", "64", "128", "256"))
        return problems

    def _dynamic_shape_problems(self) -> list[Diagnostic]:
        twice = sorted(set(self.dynamic_shapes) & set(self.input_shapes))
        problems = [
            Diagnostic(
                "E0604", "dynamic_shapes", f"input '{name}' has an input shape, too", next_step="Give one."
            )
            for name in twice
        ]
        if self.dynamic_shapes and self.precision in INTEGER_PRECISIONS:
            what = f"{self.precision} needs fixed shapes"
            why = "Calibration runs the model in one shape, and integer kernels plan for it."
            problems.append(Diagnostic("E0604", "dynamic_shapes", what, why, "Use --input-shape."))
        if self.dynamic_shapes and self.calibration is not None:
            what = "samples need fixed shapes"
            problems.append(Diagnostic("E0604", "dynamic_shapes", what, next_step="Leave --calibration out."))
        return problems

    def reproducible(self) -> dict[str, str | bool | float]:
        """Return the options that a manifest keeps: those that change the artifact's bytes."""
        kept: dict[str, str | bool | float] = {
            "target": self.target,
            "precision": self.precision,
            "io_layout": self.io_layout,
        }
        if self.precision in INTEGER_PRECISIONS:
            border = self.precision.removesuffix("x8")
            kept |= {"float_islands": self.float_islands}
            inputs = self.device_input_type or border
            kept |= {"input_type": inputs, "output_type": self.output_type or border}
        if self.raw_pixels:
            kept["raw_pixels"] = True
        if self.weights is not None:
            kept["weights"] = self.weights
        if self.block_size:
            kept["block_size"] = self.block_size
        if self.signature is not None:
            kept["signature"] = self.signature
        if self.calibration is not None:
            kept["calibration"] = (
                str(self.calibration) if isinstance(self.calibration, str | Path) else "arrays"
            )
        if self.calibration_limit is not None:
            kept["calibration_limit"] = self.calibration_limit
        if self.prune is not None:
            kept["prune"] = self.prune
        for name, number in self.input_values.items():
            kept[f"input_value {name}"] = number
        for name, shape in self.input_shapes.items():
            kept[f"input_shape {name}".strip()] = ",".join(map(str, shape))
        if self.example_inputs is not None:
            kept["example_inputs"] = _shapes_of(self.example_inputs)
        for name, dims in self.dynamic_shapes.items():
            kept[f"dynamic_shape {name}".strip()] = ",".join(map(str, dims))
        return kept


def _shapes_of(examples: Sequence[object] | Mapping[str, object]) -> str:
    """Return what of example inputs decides about the artifact: `1,3,32,32 float32; 1,8 int64`."""
    if hasattr(examples, "shape"):  # an array alone
        return _shape_of(examples)
    values = examples.values() if isinstance(examples, Mapping) else examples
    return "; ".join(_shape_of(value) for value in values)


def _shape_of(value: object) -> str:
    shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", "")
    if shape is None:
        return str(value) if isinstance(value, str | int | float | None) else type(value).__name__
    return f"{','.join(map(str, shape))} {str(dtype).removeprefix('torch.')}"


def _choice(name: str, value: str, allowed: Sequence[str]) -> list[Diagnostic]:
    if value in allowed:
        return []
    return [Diagnostic("E0602", name, f"'{value}' is not a choice", f"Choices: {', '.join(allowed)}.")]
