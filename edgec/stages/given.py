"""Sources that are quantized already: their scales are part of the contract."""

from __future__ import annotations

from dataclasses import replace

from edgec.diagnostics import CompileError, Diagnostic, Severity
from edgec.frontends.source import SourceModel
from edgec.ir import DType, Model
from edgec.quantize.problems import FLOAT_ISLAND
from edgec.reports.build import describe_given
from edgec.reports.model import Quantization
from edgec.stages.job import Job


def brings_its_own_scales(ir: Model) -> bool:
    """Whether the source was quantized already, so that its scales are part of the contract."""
    return any(value.type.quantization is not None for node in ir.graph for value in node.results)


def keep_scales(job: Job, source: SourceModel, ir: Model) -> tuple[Model, Quantization]:
    """Keep a quantized source as it is; only what stands at the border of the graph may change its type.

    ONNX puts float inputs and outputs around integer models for want of another form; TFLite has a choice.
    """
    from edgec.passes.absorb_quantization import is_integer_only
    from edgec.passes.quantized_interface import QuantizeInterface

    options = job.options
    _refuse_what_has_no_effect(job)
    chosen = options.input_type is not None or options.output_type is not None
    if is_integer_only(ir.graph) and (chosen or source.format == "onnx"):
        input_type, output_type = DType(options.input_type or "int8"), DType(options.output_type or "int8")
        with job.clock.stage("quantize"):
            ir = QuantizeInterface(input_type, output_type).run(ir).model
    elif options.precision == "int8" and not options.float_islands and not is_integer_only(ir.graph):
        raise CompileError(_float_islands(job, ir))
    return ir, describe_given(ir)


def _refuse_what_has_no_effect(job: Job) -> None:
    """Refuse a budget that nothing would be held to; samples that nobody needs are only mentioned."""
    options = job.options
    asked = {"--max-drop": options.max_drop, "--eval": options.evaluation, "--recipe": options.recipe}
    what = "has no effect: the source is quantized already, and its own scales are kept"
    step = "Compile the float model that it was made from, or leave this out."
    job.diagnostics.extend(
        Diagnostic("E0616", name, what, "", step) for name, value in asked.items() if value is not None
    )
    if options.calibration is not None:
        job.diagnostics.add(Diagnostic("W0622", "--calibration", what, "", step, Severity.WARNING))
    job.diagnostics.raise_if_errors()


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
