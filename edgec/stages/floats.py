"""From the source file to float IR, pruned where that was asked for."""

from __future__ import annotations

from typing import get_args

from edgec.calibrate.data import InputSpec
from edgec.diagnostics import CompileError, Diagnostic
from edgec.frontends.source import SourceModel, import_source, load_source
from edgec.ir import Model
from edgec.legalize.profile import Profile, find_profile
from edgec.options import Precision
from edgec.passes.eliminate_dead import EliminateDead
from edgec.passes.expand_hybrid import ExpandHybrid
from edgec.pipeline import float_pipeline, run_passes
from edgec.prune.magnitude import PruneMagnitude
from edgec.reports.model import Pruning
from edgec.stages.given import brings_its_own_scales
from edgec.stages.job import Job
from edgec.targets import Target, load_target


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
        if source.format == "tflite" and brings_its_own_scales(ir):
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
