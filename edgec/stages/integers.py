"""From float IR to integers: checked before calibrating, made by a recipe, checked again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgec.calibrate.data import InputSpec, SampleSet
from edgec.ir import DType, Model
from edgec.legalize.profile import Profile
from edgec.pipeline import integer_pipeline, run_passes
from edgec.reports.build import describe_integers
from edgec.stages.job import Job, Quantized
from edgec.stages.judging import open_evaluation_data

if TYPE_CHECKING:
    from edgec.recipes.apply import Integers
    from edgec.recipes.recipe import Recipe
    from edgec.recipes.workbench import Interface


def quantize_to_integers(
    job: Job, ir: Model, inputs: list[InputSpec], samples: SampleSet, profile: Profile
) -> Quantized:
    """Make integers of the float IR as the recipe says; what it leaves open, samples decide."""
    from edgec.calibrate.cache import NO_CACHE, user_cache
    from edgec.recipes.apply import Budget, Task, quantize_by_recipe

    options = job.options
    recipe = options.chosen_recipe()
    ir = _prepared(job, ir, recipe, profile)
    evaluation = open_evaluation_data(job, ir, inputs)
    _look_at(job, ir, samples)
    task = Task(
        ir,
        samples,
        recipe,
        _interface(job, ir, profile),
        profile.name,
        None if options.max_drop is None else Budget(options.max_drop),
        evaluation,
        options.metric,
        options.threads,
        user_cache() if options.use_cache else NO_CACHE,
        options.open_choices(),
    )
    with job.clock.steps("quantize") as steps:
        made = quantize_by_recipe(task, steps, job.clock.progress.describe)
        job.diagnostics.extend(made.notes)
    if options.on_pass is not None:
        options.on_pass("quantize", made.model)
    _check(job, made)
    return Quantized(made.model, describe_integers(made, samples), made)


def _prepared(job: Job, ir: Model, recipe: Recipe, profile: Profile) -> Model:
    """Return the float graph in the forms that integers take; nodes that cannot take them are errors."""
    from edgec.quantize import int8_problems, int16x8_problems

    options = job.options
    floats = {"allow_float_islands": options.float_islands, "float_nodes": recipe.float_nodes}
    with job.clock.stage(f"prepare {options.precision}"):
        passes = integer_pipeline(profile, options.precision)
        ir = run_passes(ir, passes, verify_each=options.verify_each, on_pass=options.on_pass)
        if options.precision == "int8":
            found = int8_problems(ir, **floats, int16_nodes=recipe.int16_nodes)
        else:
            found = int16x8_problems(ir, **floats)
        job.diagnostics.extend(found)
        job.diagnostics.raise_if_errors()  # before calibrating: that may take minutes
    return ir


def _look_at(job: Job, ir: Model, samples: SampleSet) -> None:
    """Say what is plainly wrong with the samples; random numbers have a warning of their own."""
    from edgec.calibrate.glance import LOOKED_AT, glance

    if job.options.random_samples:
        return
    with job.clock.stage("look at samples", min(LOOKED_AT, len(samples))):
        progress = job.clock.progress.advance
        job.diagnostics.extend(glance(ir, samples, job.options.threads, progress))


def _interface(job: Job, ir: Model, profile: Profile) -> Interface:
    """Return what the compiled model shows to the outside, and what its kernels ask of weights."""
    from edgec.passes.fold_preprocessing import pixel_ranges
    from edgec.quantize.legality import kinds_with_one_weight_scale
    from edgec.recipes.workbench import Interface

    options = job.options
    inputs = options.device_input_type
    return Interface(
        None if inputs is None else DType(inputs),
        None if options.output_type is None else DType(options.output_type),
        options.float_islands,
        kinds_with_one_weight_scale(options.weights, profile.name),
        DType(options.weights or "int8"),
        pixel_ranges(ir, job.pixels.inputs),
    )


def _check(job: Job, made: Integers) -> None:
    """Refuse a model whose integers break a rule of the kernels."""
    from edgec.passes.pixel_interface import pixel_problems
    from edgec.quantize import check_quantized

    islands = job.options.float_islands
    found = check_quantized(made.model, allow_float_islands=islands, float_nodes=made.float_nodes)
    job.diagnostics.extend(found)
    job.diagnostics.extend(pixel_problems(made.model, job.pixels.inputs))
    job.diagnostics.raise_if_errors()
