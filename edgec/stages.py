"""The stages of a compile: each takes the job and what earlier stages made. Their order is in compile.py."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, get_args

from edgec.calibrate.data import InputSpec, SampleSet, find_default_samples, random_samples
from edgec.calibrate.data import open_samples as open_sample_source
from edgec.calibrate.pixels import NO_PIXELS, RawPixels
from edgec.diagnostics import CompileError, Diagnostic, Diagnostics, Severity
from edgec.emit import Flatbuffer
from edgec.emit import emit as emit_flatbuffer
from edgec.frontends.source import SourceModel, import_source, load_source
from edgec.frontends.tflite.load import TfliteFile
from edgec.ir import DYNAMIC, Array, DType, Model
from edgec.kernels import KernelError, KernelSet, Partitions, Runner
from edgec.legalize.profile import Profile, check_profile, find_profile
from edgec.options import (
    INTEGER_PRECISIONS,
    RANDOM_CALIBRATION,
    RANDOM_SAMPLES,
    CompileOptions,
    Precision,
)
from edgec.passes.eliminate_dead import EliminateDead
from edgec.passes.expand_hybrid import ExpandHybrid
from edgec.pipeline import final_pipeline, float_pipeline, integer_pipeline, run_passes
from edgec.progress import Progress, Stopwatch
from edgec.prune.magnitude import PruneMagnitude
from edgec.quantize.problems import FLOAT_ISLAND
from edgec.reports.build import ReportParts, build_report, describe_given, describe_integers
from edgec.reports.manifest import Manifest, manifest_of
from edgec.reports.model import Gate, Pruning, Quantization, Report, Verification
from edgec.targets import Target, load_target

if TYPE_CHECKING:
    from edgec.calibrate.audit import Audit
    from edgec.calibrate.data import LiveSource
    from edgec.calibrate.preprocess import Preprocess
    from edgec.recipes.apply import Integers
    from edgec.recipes.recipe import Recipe
    from edgec.reports.explanation import Explanation

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
    pixels: RawPixels = NO_PIXELS


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


@dataclass(frozen=True)
class Quantized:
    """The model in its precision, what the report says of that, and how its integers came to be."""

    model: Model
    described: Quantization | None
    integers: Integers | None = None

    @property
    def recipe(self) -> Recipe | None:
        """The recipe of a model that was calibrated."""
        return None if self.integers is None else self.integers.recipe


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
        elif source.format == "tflite" and options.precision not in ("float32", "dynamic"):
            passes = [ExpandHybrid(), *passes]  # int8 weights under float arithmetic: their values count
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
    if isinstance(options.calibration, str) and options.calibration == RANDOM_CALIBRATION:
        samples = random_samples(inputs, options.calibration_limit or RANDOM_SAMPLES)
    elif options.calibration is not None:
        samples = open_sample_source(
            options.calibration, inputs, preprocess=options.preprocess, limit=options.calibration_limit
        )
    elif options.precision in INTEGER_PRECISIONS and not _brings_its_own_scales(ir):
        samples = _default_samples(job, inputs)
    if samples is not None:
        job.diagnostics.extend(samples.notes)
    return samples


def take_pixels(
    job: Job, ir: Model, inputs: list[InputSpec], samples: SampleSet | None, profile: Profile
) -> tuple[Job, SampleSet | None]:
    """Fold preprocessing into the model, where raw pixels are asked for; samples become what is fed then."""
    if not job.options.raw_pixels:
        return job, samples
    from edgec.passes.fold_preprocessing import HALF_STEP, FoldPreprocessing
    from edgec.passes.pixel_notes import QUANTIZED_ALREADY, pixel_notes, uint8_problems

    if _brings_its_own_scales(ir):
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

    if model is None:
        return audit(data, specs_of(data), preprocess=preprocess, limit=limit)
    options = CompileOptions(precision="int8", input_shapes=input_shapes, preprocess=preprocess)
    job = Job(options, Diagnostics(), Stopwatch(progress))
    _, profile = choose_target(job)
    ir = import_and_optimize(job, load(job, model), profile)
    inputs = source_inputs(ir)
    ir = run_passes(ir, integer_pipeline(profile))
    with job.clock.stage("audit"):
        return audit(data, inputs, model=ir, preprocess=preprocess, limit=limit, threads=options.threads)


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
    if _brings_its_own_scales(ir):
        return Quantized(*_keep_scales(job, source, ir))
    _check_scheme(job, profile)
    match options.precision:
        case "int8" | "int16x8":
            return _quantize_to_integers(job, ir, inputs, _required(samples), profile)
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


def _quantize_to_integers(
    job: Job, ir: Model, inputs: list[InputSpec], samples: SampleSet, profile: Profile
) -> Quantized:
    from edgec.calibrate.cache import NO_CACHE, user_cache
    from edgec.passes.fold_preprocessing import pixel_ranges
    from edgec.passes.pixel_interface import pixel_problems
    from edgec.quantize import check_quantized, int8_problems, int16x8_problems
    from edgec.quantize.legality import kinds_with_one_weight_scale
    from edgec.recipes.apply import Budget, Task, quantize_by_recipe
    from edgec.recipes.evaluate import open_evaluation
    from edgec.recipes.workbench import Interface

    options, clock = job.options, job.clock
    recipe = options.chosen_recipe()
    islands = options.float_islands
    with clock.stage(f"prepare {options.precision}"):
        passes = integer_pipeline(profile, options.precision)
        ir = run_passes(ir, passes, verify_each=options.verify_each, on_pass=options.on_pass)
        if options.precision == "int8":
            named = {"float_nodes": recipe.float_nodes, "int16_nodes": recipe.int16_nodes}
            job.diagnostics.extend(int8_problems(ir, allow_float_islands=islands, **named))
        else:
            found = int16x8_problems(ir, allow_float_islands=islands, float_nodes=recipe.float_nodes)
            job.diagnostics.extend(found)
        job.diagnostics.raise_if_errors()  # before calibrating: that may take minutes
    evaluation = None
    if options.evaluation is not None:
        evaluation = open_evaluation(options.evaluation, inputs, preprocess=options.preprocess)
        evaluation = replace(evaluation, samples=job.pixels.fed_again(evaluation.samples))
    input_type = options.device_input_type
    interface = Interface(
        None if input_type is None else DType(input_type),
        None if options.output_type is None else DType(options.output_type),
        islands,
        kinds_with_one_weight_scale(options.weights, profile.name),
        DType(options.weights or "int8"),
        pixel_ranges(ir, job.pixels.inputs),
    )
    budget = None if options.max_drop is None else Budget(options.max_drop)
    cache = user_cache() if options.use_cache else NO_CACHE
    task = Task(
        ir,
        samples,
        recipe,
        interface,
        profile.name,
        budget,
        evaluation,
        options.metric,
        options.threads,
        cache,
        options.open_choices(),
    )
    with clock.steps("quantize") as steps:
        made = quantize_by_recipe(task, steps)
        job.diagnostics.extend(made.notes)
    if options.on_pass is not None:
        options.on_pass("quantize", made.model)
    job.diagnostics.extend(
        check_quantized(made.model, allow_float_islands=islands, float_nodes=made.float_nodes)
    )
    job.diagnostics.extend(pixel_problems(made.model, job.pixels.inputs))
    job.diagnostics.raise_if_errors()
    return Quantized(made.model, describe_integers(made, samples), made)


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
    from edgec.passes.pixel_interface import TakePixels
    from edgec.quantize.legality import unused_weights

    options = job.options
    with job.clock.stage("legalize"):
        passes = [TakePixels(job.pixels.inputs), *final_pipeline(profile)]
        ir = run_passes(ir, passes, verify_each=options.verify_each, on_pass=options.on_pass)
        job.diagnostics.extend(unused_weights(ir, options.weights))
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
    quantized: Quantized,
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
    kernels, oracles = _kernels_to_compare(source, ir, made=quantized.integers is not None)
    same_kernels = kernels is not KernelSet.XNNPACK  # then even integers have to come out equal
    exact = job.options.precision == "float32" and not job.options.prune
    exact = exact and (same_kernels or not _brings_its_own_scales(ir))
    tolerance = FLOAT_TOLERANCE if exact else NO_TOLERANCE
    with job.clock.stage("verify", total):
        try:
            file = flatbuffer.to_bytes()
            delegated = Runner(file, threads=job.options.threads)
            runner = delegated if kernels is KernelSet.XNNPACK else Runner(file, kernels=kernels)
            results: list[Verification] = []
            drawn = list(chosen) if samples is not None else [*map(job.pixels.cut, chosen)]
            for each in oracles:
                oracle = source_runner(
                    source,
                    ir.inputs,
                    signature=job.options.signature,
                    threads=job.options.threads,
                    kernels=each,
                    fixed_inputs=job.fixed_inputs,
                )
                progress = job.clock.progress.advance
                oracle = job.pixels.behind(oracle)
                results.append(verify(ir, runner, oracle, drawn, tolerance, described, progress=progress))
                if results[-1].passed:
                    break
            result = next((item for item in results if item.passed), results[0])
        except KernelError as error:
            raise CompileError(_kernel_failure(str(error))) from None
        return Checked(result, delegated.partitions())


def _kernels_to_compare(
    source: SourceModel, ir: Model, *, made: bool
) -> tuple[KernelSet, tuple[KernelSet, ...]]:
    """Return the kernels to run ours in, and those of the source: equal to one of them is right.

    A TFLite source with integers is compared in one set of kernels: XNNPACK rounds integers in another way
    than the kernels that define them; that is no fault of a compile. A float one says no more than what its
    kernels agree on: some models amplify their rounding beyond any tolerance. Integers that this compile
    `made` are compared with float, for which any kernels will do.

    Of int4 weights the builtin kernels misread some (in blocks, or beside float activations with a -8), and
    the reference ones lack DEPTHWISE_CONV_2D. XNNPACK is right, as is what it leaves to the builtin kernels.
    """
    if source.format != "tflite" or made or (isinstance(source, TfliteFile) and source.holds_int4):
        return KernelSet.XNNPACK, (KernelSet.XNNPACK,)
    if _brings_its_own_scales(ir):
        return KernelSet.REFERENCE, (KernelSet.REFERENCE,)
    if any(value.type.quantization is not None for value in ir.graph.constants()):
        return KernelSet.BUILTIN, (KernelSet.BUILTIN,)
    return KernelSet.XNNPACK, (KernelSet.BUILTIN, KernelSet.XNNPACK)


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


def explain(job: Job, quantized: Quantized) -> Explanation | None:
    """Say where accuracy goes and why, where that was asked for or a budget was not met."""
    made = quantized.integers
    missed = made is not None and made.search is not None and not made.search.reached
    if made is None or not (job.options.explain or missed):
        return None
    from edgec.causes.explain import explain

    with job.clock.steps("explain") as steps:
        return explain(made, steps)


def report(
    job: Job,
    source: SourceModel,
    board: Target,
    ir: Model,
    flatbuffer: Flatbuffer,
    checked: Checked,
    quantized: Quantized,
    pruning: Pruning | None,
    explanation: Explanation | None,
) -> Report:
    """Put together what the compile has to say."""
    digest = hashlib.sha256()
    for chunk in flatbuffer.chunks():
        digest.update(chunk)
    parts = ReportParts(
        source, board, ir, flatbuffer.size, digest.hexdigest(), job.options.precision, job.pixels
    )
    made = build_report(
        parts,
        checked.verification,
        checked.partitions if find_profile(board.profile).delegates else None,
        quantized.described,
        pruning,
        job.clock.seconds,
        list(job.diagnostics),
    )
    return replace(made, explanation=explanation, gates=_gates(quantized))


def _gates(quantized: Quantized) -> tuple[Gate, ...]:
    """Return the accuracy budget as a gate."""
    made = quantized.integers
    if made is None or made.search is None:
        return ()
    search, metric = made.search, made.evaluation.metric
    name = f"max drop ({metric.name} on {made.evaluation.data.described})"
    return (Gate(name, search.budget, search.best.score.drop, metric.unit, search.reached),)


def manifest(job: Job, made: Report, quantized: Quantized) -> Manifest:
    """Return the manifest; its options rebuild the artifact."""
    options = job.options.reproducible()
    if job.pixels.inputs:
        options["preprocess"] = job.pixels.settings.to_toml()
    if quantized.recipe is not None:
        options["recipe"] = quantized.recipe.to_toml()
    return manifest_of(made, made.artifact.file or "", options)
