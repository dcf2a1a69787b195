"""From float IR to the precision asked for."""

from __future__ import annotations

from edgec.calibrate.data import InputSpec, SampleSet
from edgec.frontends.source import SourceModel
from edgec.ir import DType, Model
from edgec.legalize.profile import Profile
from edgec.reports.model import Quantization
from edgec.stages.given import brings_its_own_scales, keep_scales
from edgec.stages.integers import quantize_to_integers
from edgec.stages.job import Job, Quantized


def quantize(
    job: Job,
    source: SourceModel,
    ir: Model,
    inputs: list[InputSpec],
    samples: SampleSet | None,
    profile: Profile,
) -> Quantized:
    """Bring the float IR to the precision asked for."""
    from edgec.quantize import DynamicWeights, quantize_dynamic, quantize_float16, quantize_weight_only

    options = job.options
    if brings_its_own_scales(ir):
        return Quantized(*keep_scales(job, source, ir))
    _check_scheme(job, profile)
    match options.precision:
        case "int8" | "int16x8":
            return quantize_to_integers(job, ir, inputs, _required(samples), profile)
        case "float16":
            with job.clock.stage("quantize"):
                return Quantized(
                    quantize_float16(ir), Quantization("float16 weights, float32 arithmetic", None)
                )
        case "dynamic":
            weights = DType(options.weights or "int8")
            with job.clock.stage("quantize"):
                made = quantize_dynamic(ir, DynamicWeights(weights, block_size=options.block_size))
                return Quantized(made, Quantization(f"dynamic range: {weights} weights", None))
        case "float32" if options.weights is not None:
            with job.clock.stage("quantize"):
                made = quantize_weight_only(ir, DType(options.weights))
                return Quantized(made, Quantization(f"{options.weights} weights, float32 arithmetic", None))
        case "float32":
            return Quantized(ir, None)


def _check_scheme(job: Job, profile: Profile) -> None:
    """Refuse weights that the kernel library has no kernels for, and say what is slower than it looks."""
    from edgec.quantize.legality import scheme_notes, scheme_problems

    options = job.options
    job.diagnostics.extend(scheme_problems(options.precision, options.weights, profile.name))
    job.diagnostics.raise_if_errors()
    job.diagnostics.extend(scheme_notes(options.precision, options.weights, profile.name))


def _required(samples: SampleSet | None) -> SampleSet:
    if samples is None:
        raise AssertionError("int8 always has samples: open_samples refuses to go on without")
    return samples
