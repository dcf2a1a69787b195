"""The emitted model beside its source, on the same samples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from edgec.calibrate.data import InputSpec, SampleSet, random_samples
from edgec.diagnostics import CompileError, Diagnostic, Severity
from edgec.emit import Flatbuffer
from edgec.frontends.source import SourceModel
from edgec.frontends.tflite.load import TfliteFile
from edgec.ir import DYNAMIC, Array, Model
from edgec.kernels import KernelError, KernelSet, Runner
from edgec.reports import words
from edgec.reports.model import FAR_DB, Tolerance, Verification
from edgec.stages.given import brings_its_own_scales
from edgec.stages.job import Checked, Job, Quantized

VERIFY_RANDOM_SAMPLES = 2
VERIFY_CALIBRATION_SAMPLES = 8
FAR = "W0703"
DYNAMIC_SIZES = ((2, 64), (3, 96))
"""What dynamic dimensions are when a model is verified: the first axis, and all others."""


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
    exact = _keeps_values(job) and (same_kernels or not brings_its_own_scales(ir))
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
        job.diagnostics.extend(_far(job, result, made=quantized.integers is not None))
        return Checked(result, delegated.partitions())


def _keeps_values(job: Job) -> bool:
    """Whether weights stay what they are: then outputs differ by the order of float sums alone."""
    options = job.options
    return options.precision == "float32" and options.weights is None and not options.prune


def _far(job: Job, result: Verification, *, made: bool) -> Iterator[Diagnostic]:
    """Yield a warning for every output that is far from the source, where nothing was demanded of them."""
    options = job.options
    if result.tolerance != Tolerance() or options.max_drop is not None:
        return
    step = "Compare on your own data; --float16 loses next to nothing."
    if options.prune is not None:
        step = "Prune less, or train on after pruning."
    elif options.random_samples:
        step = "Random numbers tell nothing about accuracy: give --calibration PATH."
    elif made:
        step = "--explain says what costs accuracy, `edgec calibrate-audit` what the samples are worth."
    for output in result.outputs:
        if not output.sqnr_db >= FAR_DB:
            what = words.verdict(output)
            yield Diagnostic(FAR, f"output '{output.name}'", what, "", step, Severity.WARNING)


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
    if brings_its_own_scales(ir):
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
