"""The stages of a compile: each takes the job and what earlier stages made. Their order is in compile.py."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import get_args

from edgec.calibrate.data import InputSpec, SampleSet, find_default_samples, random_samples
from edgec.calibrate.data import open_samples as open_sample_source
from edgec.diagnostics import CompileError, Diagnostic, Diagnostics, Severity
from edgec.emit import Flatbuffer
from edgec.emit import emit as emit_flatbuffer
from edgec.frontends.source import SourceModel, import_source, load_source
from edgec.ir import DYNAMIC, Array, DType, Model
from edgec.kernels import KernelError, KernelSet, Partitions, Runner
from edgec.legalize.profile import Profile, check_profile, find_profile
from edgec.options import RANDOM_CALIBRATION, RANDOM_SAMPLES, CompileOptions, Precision
from edgec.passes.eliminate_dead import EliminateDead
from edgec.pipeline import final_pipeline, float_pipeline, int8_pipeline, run_passes
from edgec.progress import Stopwatch
from edgec.prune.magnitude import PruneMagnitude
from edgec.quantize.problems import FLOAT_ISLAND
from edgec.reports.build import ReportParts, build_report, describe_given, describe_int8
from edgec.reports.manifest import Manifest, manifest_of
from edgec.reports.model import Pruning, Quantization, Report, Verification
from edgec.targets import Target, load_target

VERIFY_RANDOM_SAMPLES = 2
VERIFY_CALIBRATION_SAMPLES = 8
DYNAMIC_SIZES = ((2, 64), (3, 96))
"""What dynamic dimensions are when a model is verified: the first axis, and all others."""


@dataclass(frozen=True)
class Job:
    """What every stage shares: the choices, the messages, the clock, and source inputs that got a value."""

    options: CompileOptions
    diagnostics: Diagnostics
    clock: Stopwatch
    fixed_inputs: dict[str, Array] = field(default_factory=dict[str, Array])


@dataclass(frozen=True)
class Checked:
    """What running the emitted model showed."""

    verification: Verification | None
    partitions: Partitions | None


def choose_target(job: Job) -> tuple[Target, Profile]:
    """Return the board and its kernel library's profile; E0405 where it cannot run the precision."""
    board = load_target(job.options.target)
    if job.options.precision not in board.precisions:
        raise CompileError(
            Diagnostic(
                "E0405",
                f"target '{board.name}'",
                f"does not run {job.options.precision} models",
                " ".join(note for note in board.notes if job.options.precision in note),
                f"Choose one of: {', '.join(p for p in board.precisions if p in get_args(Precision))}.",
            )
        )
    return board, find_profile(board.profile)


def load(job: Job, model: object) -> SourceModel:
    """Read the source model, whatever its format."""
    with job.clock.stage("load"):
        return load_source(model, job.options.example_inputs)


def import_and_optimize(job: Job, source: SourceModel, profile: Profile) -> Model:
    """Lower the source to IR and run the float pipeline; integer IR is only tidied up."""
    options = job.options
    with job.clock.stage("import"):
        shapes = {**options.input_shapes, **options.dynamic_shapes}
        ir = import_source(source, shapes, job.diagnostics, options.signature, options.input_values)
        job.fixed_inputs.update(ir.fixed_inputs)
        if options.on_pass is not None:
            options.on_pass("import", ir)
    with job.clock.stage("optimize"):
        channels_last = options.io_layout == "channels-last"
        passes = float_pipeline(profile, channels_last_io=channels_last, report=job.diagnostics.add)
        if source.format == "tflite" and _brings_its_own_scales(ir):
            passes = [EliminateDead()]  # integer kernels already; an ONNX model becomes one in the pipeline
        return run_passes(ir, passes, verify_each=options.verify_each, on_pass=options.on_pass)


def prune(job: Job, ir: Model, board: Target) -> tuple[Model, Pruning | None]:
    """Zero the smallest weights, where asked for."""
    if job.options.prune is None:
        return ir, None
    with job.clock.stage("prune"):
        return PruneMagnitude(job.options.prune).run_with_report(ir, board)


def source_inputs(ir: Model) -> list[InputSpec]:
    """Return what the source model takes; quantizing may give the compiled model other element types."""
    return [InputSpec(p.name, p.shape, p.dtype.numpy, p.source_layout) for p in ir.inputs]


def open_samples(job: Job, ir: Model, inputs: list[InputSpec]) -> SampleSet | None:
    """Open the calibration set: the user's, `./calibration_data` where int8 needs ranges, or none."""
    options = job.options
    samples: SampleSet | None = None
    if options.calibration == RANDOM_CALIBRATION:
        samples = random_samples(inputs, options.calibration_limit or RANDOM_SAMPLES)
    elif options.calibration is not None:
        samples = open_sample_source(
            options.calibration, inputs, preprocess=options.preprocess, limit=options.calibration_limit
        )
    elif options.precision == "int8" and not _brings_its_own_scales(ir):
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
            "--int8",
            "needs calibration data, and ./calibration_data holds none that fits the model's inputs",
            why,
            "Add --calibration PATH (a folder of images or wavs, .npz, .npy or module:function). "
            "`--calibration random` compiles with random numbers, which tells nothing about accuracy.",
        )
    )


def quantize(
    job: Job, source: SourceModel, ir: Model, samples: SampleSet | None, profile: Profile
) -> tuple[Model, Quantization | None]:
    """Bring the float IR to the precision asked for."""
    from edgec.quantize import quantize_dynamic, quantize_float16

    if _brings_its_own_scales(ir):
        return _keep_scales(job, source, ir)
    match job.options.precision:
        case "int8":
            return _quantize_int8(job, ir, _required(samples), profile)
        case "float16":
            with job.clock.stage("quantize"):
                return quantize_float16(ir), Quantization("float16 weights, float32 arithmetic", None)
        case "dynamic":
            with job.clock.stage("quantize"):
                return quantize_dynamic(ir), Quantization("dynamic range: int8 weights", None)
        case "float32":
            return ir, None


def _quantize_int8(job: Job, ir: Model, samples: SampleSet, profile: Profile) -> tuple[Model, Quantization]:
    from edgec.calibrate.ranges import collect_ranges
    from edgec.quantize import check_quantized, int8_problems, quantize_int8

    options, clock = job.options, job.clock
    with clock.stage("prepare int8"):
        ir = run_passes(ir, int8_pipeline(profile), verify_each=options.verify_each, on_pass=options.on_pass)
        job.diagnostics.extend(int8_problems(ir, allow_float_islands=options.float_islands))
        job.diagnostics.raise_if_errors()  # before calibrating: that may take minutes
    with clock.stage("calibrate", len(samples)):
        ranges = collect_ranges(ir, samples, options.observer, options.threads, clock.progress.advance)
    with clock.stage("quantize"):
        quantized = quantize_int8(
            ir,
            ranges,
            input_type=DType(options.input_type or "int8"),
            output_type=DType(options.output_type or "int8"),
            allow_float_islands=options.float_islands,
        )
        if options.on_pass is not None:
            options.on_pass("quantize", quantized)
        job.diagnostics.extend(check_quantized(quantized, allow_float_islands=options.float_islands))
        job.diagnostics.raise_if_errors()
    return quantized, describe_int8(quantized, ranges, samples)


def _brings_its_own_scales(ir: Model) -> bool:
    """Whether the source was quantized already, so that its scales are part of the contract."""
    return any(value.type.quantization is not None for node in ir.graph for value in node.results)


def _keep_scales(job: Job, source: SourceModel, ir: Model) -> tuple[Model, Quantization]:
    """Keep a quantized source as it is; only what stands at the border of the graph may change its type.

    ONNX puts float inputs and outputs around integer models for want of another form; TFLite has a choice.
    """
    from edgec.passes.absorb_quantization import is_integer_only
    from edgec.passes.quantized_interface import QuantizeInterface

    options = job.options
    chosen = options.input_type is not None or options.output_type is not None
    if is_integer_only(ir.graph) and (chosen or source.format == "onnx"):
        input_type, output_type = DType(options.input_type or "int8"), DType(options.output_type or "int8")
        with job.clock.stage("quantize"):
            ir = QuantizeInterface(input_type, output_type).run(ir).model
    elif options.precision == "int8" and not options.float_islands and not is_integer_only(ir.graph):
        raise CompileError(_float_islands(job, ir))
    return ir, describe_given(ir)


def _float_islands(job: Job, ir: Model) -> list[Diagnostic]:
    """Return one error for each node that keeps a quantized source from being integer-only."""
    reported = [item for item in job.diagnostics if item.code == FLOAT_ISLAND]
    if reported:
        return [replace(item, severity=Severity.ERROR) for item in reported]
    step = "Compile without --int8 to keep the file's own mixture, or add --float-islands."
    return [
        Diagnostic("E0421", f"node '{item.node}' ({item.kind})", "computes in float", item.why, step)
        for item in describe_given(ir).float_ops
    ]


def _required(samples: SampleSet | None) -> SampleSet:
    if samples is None:
        raise AssertionError("int8 always has samples: open_samples refuses to go on without")
    return samples


def legalize(job: Job, ir: Model, profile: Profile, board: Target) -> Model:
    """Bring the graph to the kernel library's final forms and check every node; all violations at once."""
    options = job.options
    with job.clock.stage("legalize"):
        passes = final_pipeline(profile)
        ir = run_passes(ir, passes, verify_each=options.verify_each, on_pass=options.on_pass)
        job.diagnostics.extend(check_profile(ir, profile, board.name))
        job.diagnostics.raise_if_errors()
    return ir


def emit(job: Job, ir: Model) -> Flatbuffer:
    """Serialize the IR."""
    with job.clock.stage("emit"):
        return emit_flatbuffer(ir)


def verify(
    job: Job,
    source: SourceModel,
    ir: Model,
    flatbuffer: Flatbuffer,
    inputs: list[InputSpec],
    samples: SampleSet | None,
) -> Checked:
    """Run the emitted model and compare it with the source; without --verify nothing is run."""
    if not job.options.verify:
        return Checked(None, None)
    from edgec.verify.run import FLOAT_TOLERANCE, NO_TOLERANCE, verify
    from edgec.verify.runners import source_runner

    chosen, described, total = _verification_samples(inputs, samples)
    kernels = _kernels_to_compare(source, ir)
    same_kernels = kernels is not KernelSet.XNNPACK  # then even integers have to come out equal
    exact = job.options.precision == "float32" and not job.options.prune
    exact = exact and (same_kernels or not _brings_its_own_scales(ir))
    tolerance = FLOAT_TOLERANCE if exact else NO_TOLERANCE
    with job.clock.stage("verify", total):
        try:
            file = flatbuffer.to_bytes()
            delegated = Runner(file, threads=job.options.threads)
            runner = delegated if kernels is KernelSet.XNNPACK else Runner(file, kernels=kernels)
            oracle = source_runner(
                source,
                ir.inputs,
                signature=job.options.signature,
                threads=job.options.threads,
                quantized=_brings_its_own_scales(ir),
                fixed_inputs=job.fixed_inputs,
            )
            result = verify(
                ir, runner, oracle, chosen, tolerance, described, progress=job.clock.progress.advance
            )
        except KernelError as error:
            raise CompileError(_kernel_failure(str(error))) from None
        return Checked(result, delegated.partitions())


def _kernels_to_compare(source: SourceModel, ir: Model) -> KernelSet:
    """Return the kernels to run ours in: a TFLite source with integers is compared in its oracle's kernels.

    XNNPACK rounds integers in another way than the kernels that define them; that is no fault of a compile.
    """
    if source.format != "tflite":
        return KernelSet.XNNPACK
    if _brings_its_own_scales(ir):
        return KernelSet.REFERENCE
    hybrid = any(value.type.quantization is not None for value in ir.graph.constants())
    return KernelSet.BUILTIN if hybrid else KernelSet.XNNPACK


def _verification_samples(
    inputs: list[InputSpec], samples: SampleSet | None
) -> tuple[Iterator[Mapping[str, Array]], str, int]:
    """Return what to verify on: samples spread over the calibration set, else random numbers."""
    if any(DYNAMIC in item.shape for item in inputs):
        return _samples_in_two_sizes(inputs)
    if samples is None or not len(samples):
        drawn = random_samples(inputs, VERIFY_RANDOM_SAMPLES)
        return iter(drawn), f"{VERIFY_RANDOM_SAMPLES} random samples, normal(0, 1), seed 0", len(drawn)
    count = min(VERIFY_CALIBRATION_SAMPLES, len(samples))
    step = len(samples) / count
    wanted = {int(index * step) for index in range(count)}
    chosen = (sample for index, sample in enumerate(samples) if index in wanted)
    return chosen, f"{count} of {len(samples)} calibration samples", count


def _samples_in_two_sizes(inputs: list[InputSpec]) -> tuple[Iterator[Mapping[str, Array]], str, int]:
    """Return random numbers for inputs with dynamic dimensions, of two sizes: the model must follow."""
    drawn: list[Mapping[str, Array]] = []
    for batch, size in DYNAMIC_SIZES:
        fixed = [replace(item, shape=_with_sizes(item.shape, batch, size)) for item in inputs]
        drawn += random_samples(fixed, 1)
    sizes = " and ".join(f"batch {batch}, others {size}" for batch, size in DYNAMIC_SIZES)
    return iter(drawn), f"random samples, normal(0, 1), seed 0; dynamic dimensions: {sizes}", len(drawn)


def _with_sizes(shape: tuple[int, ...], batch: int, size: int) -> tuple[int, ...]:
    return tuple((size if axis else batch) if dim == DYNAMIC else dim for axis, dim in enumerate(shape))


def _kernel_failure(message: str) -> Diagnostic:
    return Diagnostic(
        "E0701",
        "verification",
        "LiteRT refuses the compiled model",
        message,
        "This is a fault of edgec: please report it with the model.",
    )


def report(
    job: Job,
    source: SourceModel,
    board: Target,
    ir: Model,
    flatbuffer: Flatbuffer,
    checked: Checked,
    quantization: Quantization | None,
    pruning: Pruning | None,
) -> Report:
    """Put together what the compile has to say."""
    digest = hashlib.sha256()
    for chunk in flatbuffer.chunks():
        digest.update(chunk)
    parts = ReportParts(source, board, ir, flatbuffer.size, digest.hexdigest(), job.options.precision)
    return build_report(
        parts,
        checked.verification,
        checked.partitions,
        quantization,
        pruning,
        job.clock.seconds,
        list(job.diagnostics),
    )


def manifest(job: Job, made: Report) -> Manifest:
    """Return the manifest; its options rebuild the artifact."""
    return manifest_of(made, made.artifact.file or "", job.options.reproducible())
