"""Calibration samples: opened, turned into what the compiled model is fed, or looked at on their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from edgec.calibrate.data import InputSpec, SampleSet, find_default_samples, random_samples
from edgec.calibrate.data import open_samples as open_sample_source
from edgec.calibrate.pixels import RawPixels
from edgec.diagnostics import CompileError, Diagnostic, Diagnostics
from edgec.ir import Model
from edgec.legalize.profile import Profile
from edgec.options import INTEGER_PRECISIONS, RANDOM_SAMPLES, CompileOptions
from edgec.pipeline import integer_pipeline, run_passes
from edgec.progress import Progress, Stopwatch
from edgec.stages.floats import choose_target, import_and_optimize, load, source_inputs
from edgec.stages.given import brings_its_own_scales
from edgec.stages.job import Job

if TYPE_CHECKING:
    from edgec.calibrate.audit import Audit
    from edgec.calibrate.data import LiveSource
    from edgec.calibrate.preprocess import Preprocess


def open_samples(job: Job, ir: Model, inputs: list[InputSpec]) -> SampleSet | None:
    """Open the calibration set: the user's, `./calibration_data` where int8 needs ranges, or none."""
    options = job.options
    samples: SampleSet | None = None
    if options.random_samples:
        samples = random_samples(inputs, options.calibration_limit or RANDOM_SAMPLES)
    elif options.calibration is not None:
        samples = open_sample_source(
            options.calibration, inputs, preprocess=options.preprocess, limit=options.calibration_limit
        )
    elif options.precision in INTEGER_PRECISIONS and not brings_its_own_scales(ir):
        samples = _default_samples(job, inputs)
    if samples is not None:
        job.diagnostics.extend(samples.notes)
    return samples


def _default_samples(job: Job, inputs: list[InputSpec]) -> SampleSet:
    reasons: list[Diagnostic] = []
    samples = find_default_samples(
        inputs=inputs, preprocess=job.options.preprocess, limit=job.options.calibration_limit, reasons=reasons
    )
    if samples is not None:
        return samples
    why = " ".join(f"{reason.where}: {reason.what}." for reason in reasons)
    raise CompileError(
        Diagnostic(
            "E0301",
            f"--{job.options.precision}",
            "needs calibration data, and ./calibration_data holds none that fits the model's inputs",
            why,
            "Add --calibration PATH (a folder of images or wavs, .npz, .npy or module:function). "
            "`--calibration random` compiles with random numbers, which tells nothing about accuracy.",
        )
    )


def take_pixels(
    job: Job, ir: Model, inputs: list[InputSpec], samples: SampleSet | None, profile: Profile
) -> tuple[Job, SampleSet | None]:
    """Fold preprocessing into the model, where raw pixels are asked for; samples become what is fed then."""
    if not job.options.raw_pixels:
        return job, samples
    from edgec.passes.fold_preprocessing import HALF_STEP, FoldPreprocessing
    from edgec.passes.pixel_notes import QUANTIZED_ALREADY, pixel_notes, uint8_problems

    if brings_its_own_scales(ir):
        raise CompileError(QUANTIZED_ALREADY)
    if job.options.device_input_type == "uint8":
        job.diagnostics.extend(uint8_problems(profile.name, profile.library))
        job.diagnostics.raise_if_errors()

    pixels = RawPixels.of(inputs, job.options.preprocess, samples)
    fold = FoldPreprocessing(pixels.inputs, HALF_STEP if job.options.precision == "int8" else 0.0)
    with job.clock.stage("fold preprocessing"):
        job.diagnostics.extend(pixel_notes(ir, fold.run_with_report(ir)))
        job.diagnostics.raise_if_errors()
        fed = None if samples is None else pixels.fed(samples)
        job.diagnostics.extend(() if fed is None else fed.notes)
    return replace(job, pixels=pixels), fed


def audit_samples(
    data: LiveSource,
    model: object = None,
    input_shapes: Mapping[str, Sequence[int]] = MappingProxyType({}),
    preprocess: Preprocess | None = None,
    limit: int | None = None,
    progress: Progress | None = None,
) -> Audit:
    """Look at calibration data: alone, or with the model it is for (then its inner tensors count, too)."""
    from edgec.calibrate.audit import audit
    from edgec.calibrate.specs import specs_of

    options = CompileOptions(precision="int8", input_shapes=input_shapes, preprocess=preprocess)
    job = Job(options, Diagnostics(), Stopwatch(progress))

    def look(inputs: list[InputSpec], ir: Model | None) -> Audit:
        samples = open_sample_source(data, inputs, preprocess=preprocess, limit=limit)
        with job.clock.stage("audit", len(samples)):
            advance = job.clock.progress.advance
            return audit(samples, inputs, model=ir, threads=options.threads, progress=advance)

    if model is None:
        return look(specs_of(data), None)
    _, profile = choose_target(job)
    ir = import_and_optimize(job, load(job, model), profile)
    inputs = source_inputs(ir)
    return look(inputs, run_passes(ir, integer_pipeline(profile)))
