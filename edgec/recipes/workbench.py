"""Quantizes one float model by any recipe; what recipes have in common is computed once.

model ─absorb, equalize─▶ float model ─calibrate─▶ ranges ─rounding or bias─▶ integers, biases ─▶ quantize
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar, cast

from edgec.calibrate.choose import AUTO, needs_values
from edgec.calibrate.ranges import Ranges, choose_ranges, collect_histograms
from edgec.calibrate.statistics import Histograms
from edgec.emit import emit
from edgec.ir import DType, Model, Value
from edgec.legalize.profile import find_profile
from edgec.pipeline import final_pipeline, run_passes
from edgec.quantize import ChosenWeights, IntegerScheme, quantize_int8, quantize_integer
from edgec.quantize.heads import Head, find_heads
from edgec.quantize.names import node_name
from edgec.recipes.alone import shrink_ranges
from edgec.recipes.costs import estimate_cost
from edgec.recipes.evaluate import Samples
from edgec.recipes.recipe import Recipe, Repair
from edgec.repair import (
    Gain,
    RepairOutcome,
    Statistics,
    absorb_high_biases,
    collect_channel_statistics,
    correct_bias_analytically,
    equalize,
)
from edgec.repair.rounding import compensate_rounding

Range = tuple[float, float]
Progress = Callable[[str, int, int], None]
Made = TypeVar("Made")
KnownRanges = Callable[[Model, Recipe, Callable[[], Ranges]], Ranges]
"""Returns ranges of a float model by a recipe's calibrator: from somewhere else, or by making them."""

FLOAT_REPAIRS: tuple[Repair, ...] = ("absorb", "equalize")
"""Repairs of the float model: ranges are taken after them, and recipes with the same ones share them."""


@dataclass(frozen=True)
class Interface:
    """What the compile's options say about every quantized form of the model, whatever the recipe.

    `fixed_ranges` hold by tensor name whatever was calibrated: those of raw pixels.
    """

    input_type: DType | None = None
    output_type: DType | None = None
    allow_float_islands: bool = False
    per_tensor_kinds: tuple[str, ...] = ()
    weights: DType = DType.INT8
    fixed_ranges: Mapping[str, Range] = field(default_factory=dict[str, Range])


@dataclass(frozen=True, eq=False)
class Repaired:
    """A float model as repairs have left it: what to quantize, and what each of them gained.

    `weights` are the integers chosen for it. `statistics` are its own, where a repair knows them.
    """

    model: Model
    statistics: Statistics | None = None
    weights: Mapping[Value, ChosenWeights] = field(default_factory=dict[Value, ChosenWeights])
    gains: Mapping[Repair, tuple[Gain, ...]] = field(default_factory=dict[Repair, tuple[Gain, ...]])

    def after(self, name: Repair, outcome: RepairOutcome) -> Repaired:
        """Return the next state."""
        gains = {**self.gains, name: outcome.gains}
        return replace(self, model=outcome.model, statistics=outcome.statistics, gains=gains)


class Workbench:
    """One float model and the samples to quantize it with."""

    def __init__(
        self,
        model: Model,
        samples: Samples,
        interface: Interface,
        *,
        profile: str = "litert_xnnpack",
        threads: int = 2,
        progress: Progress = lambda what, done, total: None,
        known_ranges: KnownRanges = lambda model, recipe, make: make(),
    ) -> None:
        self.model = model
        self._samples, self._interface = samples, interface
        self._profile, self._threads, self._progress = profile, threads, progress
        self._known_ranges = known_ranges
        self._made: dict[tuple[object, ...], object] = {}

    @property
    def nodes(self) -> Sequence[str]:
        """Names of the nodes that become integer, in order of execution."""
        real = [node for node in self.model.graph if any(r.dtype.is_float for r in node.results)]
        return list(dict.fromkeys(map(node_name, real)))

    def quantize(self, recipe: Recipe) -> Model:
        """Return the model quantized by a recipe."""
        repaired = self.repaired(recipe)
        return self._quantized(repaired.model, recipe, self.ranges(recipe), repaired.weights)

    def quantize_with(self, recipe: Recipe, ranges: Mapping[str, Range]) -> Model:
        """Return the model quantized by a recipe, but with given ranges."""
        repaired = self.repaired(recipe)
        return self._quantized(repaired.model, recipe, ranges, repaired.weights)

    def repaired(self, recipe: Recipe) -> Repaired:
        """Return what the recipe's repairs make of the float model, and the integers they chose.

        Rounding corrects biases along with the weights, so nothing is left to `bias` after it.
        """
        plain = replace(recipe, int16_nodes=(), float_nodes=())  # islands do not change what the rest needs
        if "rounding" in recipe.repairs:
            return self._once(("rounding", plain), lambda: self._rounded(plain))
        if "bias" in recipe.repairs:
            return self._once(("bias", plain), lambda: self._corrected(plain))
        return self.float_model(recipe)

    def ranges(self, recipe: Recipe) -> Ranges:
        """Return the ranges that the recipe's calibrator takes, after its repairs of the float model."""
        key = ("ranges", _float_repairs(recipe), recipe.calibrator, recipe.precision, recipe.per_axis)
        model = self.float_model(recipe).model
        return self._once(key, lambda: self._known_ranges(model, recipe, lambda: self._taken(model, recipe)))

    def heads(self, model: Model, recipe: Recipe, ranges: Mapping[str, Range]) -> list[Head]:
        """Return the outputs to join in float: none where the user chose the type, or has 16 bits."""
        chosen = self._interface.output_type is not None or recipe.precision != "int8"
        return [] if chosen else find_heads(model.graph, ranges)

    def measure(self, model: Model) -> tuple[int, float]:
        """Return the size of the artifact in bytes and its estimated cost."""
        cost = estimate_cost(model, self._profile)
        final = run_passes(model, final_pipeline(find_profile(self._profile)))
        return emit(final).size, cost

    def islands(self, recipe: Recipe) -> OnlyOne:
        """Return what makes single nodes integer, with the recipe's other choices."""
        return OnlyOne(self, recipe)

    def _once(self, key: tuple[object, ...], make: Callable[[], Made]) -> Made:
        if key not in self._made:
            self._made[key] = make()
        return cast("Made", self._made[key])

    def float_model(self, recipe: Recipe) -> Repaired:
        """Return the model that computes what the source does: before biases suit rounded weights."""
        names = _float_repairs(recipe)
        return self._once(("float model", names), lambda: self._repair_float(names))

    def _repair_float(self, names: tuple[Repair, ...]) -> Repaired:
        repaired = Repaired(self.model)
        if "absorb" in names:
            repaired = repaired.after("absorb", absorb_high_biases(self.model, self._statistics(repaired)))
        if "equalize" in names:
            kinds = self._interface.per_tensor_kinds
            found = self._statistics(repaired)
            repaired = repaired.after("equalize", equalize(repaired.model, found, per_tensor_kinds=kinds))
        return repaired

    def _statistics(self, repaired: Repaired) -> Statistics:
        def collect() -> Statistics:
            return collect_channel_statistics(repaired.model, self._samples, self._threads)

        return repaired.statistics or self._once(("statistics", repaired.model.graph), collect)

    def _taken(self, model: Model, recipe: Recipe) -> Ranges:
        int8 = recipe.precision != "int16x8"
        values = needs_values(recipe.calibrator)
        found = choose_ranges(self._histograms(model, values), recipe.calibrator, 8 if int8 else 16)
        by_name = found.by_name
        if recipe.calibrator == AUTO and int8:  # with 65536 levels nothing is worth clipping for
            by_name = shrink_ranges(
                model,
                by_name,
                self._samples,
                self._threads,
                lambda done, total: self._progress("shrink ranges", done, total),
            )
        return replace(found, by_name={**by_name, **self._interface.fixed_ranges})

    def _histograms(self, model: Model, values: bool) -> Histograms:
        def collect() -> Histograms:
            total = len(self._samples)
            return collect_histograms(
                model,
                self._samples,
                threads=self._threads,
                values=values,
                progress=lambda done: self._progress("calibrate", done, total),
            )

        return self._once(("histograms", model.graph, values), collect)

    def _rounded(self, recipe: Recipe) -> Repaired:
        repaired, ranges = self.float_model(recipe), self.ranges(recipe)
        outcome = compensate_rounding(
            repaired.model,
            self._samples,
            lambda model, chosen: self._quantized(model, recipe, ranges, chosen),
            threads=self._threads,
            progress=lambda done, total: self._progress("rounding", done, total),
        )
        gains = tuple(Gain(item.node, 0.0, item.gain_db) for item in outcome.gains)
        return Repaired(outcome.model, None, outcome.weights, {**repaired.gains, "rounding": gains})

    def _corrected(self, recipe: Recipe) -> Repaired:
        repaired, ranges = self.float_model(recipe), self.ranges(recipe)
        outcome = correct_bias_analytically(
            repaired.model,
            self._statistics(repaired),
            lambda model: self._quantized(model, recipe, ranges, {}),
        )
        return repaired.after("bias", outcome)

    def _quantized(
        self,
        model: Model,
        recipe: Recipe,
        ranges: Mapping[str, Range],
        weights: Mapping[Value, ChosenWeights],
    ) -> Model:
        asked = self._interface
        ranges = {**ranges, **asked.fixed_ranges}
        heads = self.heads(model, recipe, ranges)
        scheme = IntegerScheme(
            DType.INT16 if recipe.precision == "int16x8" else DType.INT8,
            asked.weights,
            asked.input_type,
            asked.output_type,
            recipe.per_axis,
            asked.per_tensor_kinds,
            asked.allow_float_islands,
            float_nodes=(*recipe.float_nodes, *(name for head in heads for name in head.nodes)),
            int16_nodes=recipe.int16_nodes,
            float_outputs=[name for head in heads for name in head.outputs],
            chosen_weights=weights,
        )
        return quantize_integer(model, ranges, scheme)


@dataclass(frozen=True)
class OnlyOne:
    """Makes one node integer and leaves the rest of the model, and its inputs and outputs, in float."""

    bench: Workbench
    recipe: Recipe

    def only(self, node: str) -> Model:
        """Return the float model with this node alone in the recipe's precision."""
        rest = tuple(name for name in self.bench.nodes if name != node)
        model, ranges = self.bench.float_model(self.recipe).model, self.bench.ranges(self.recipe)
        return quantize_int8(
            model, ranges, input_type=DType.FLOAT32, output_type=DType.FLOAT32, float_nodes=rest
        )


def _float_repairs(recipe: Recipe) -> tuple[Repair, ...]:
    return tuple(name for name in FLOAT_REPAIRS if name in recipe.repairs)
