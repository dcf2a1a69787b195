"""Every board and precision: the model brought to its final form there, and what stands in the way.

IR ─copy, float passes of the profile─▶ float IR ─copy─▶ precision ─▶ final passes ─▶ constraints, arena, size

Boards that share a kernel library share the work; each then checks shapes and memory of its own. Int8 is
tried with placeholder ranges: which kernels, how many bytes and how large an arena do not depend on data.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, get_args

from edgec.diagnostics import CompileError, Diagnostic, Diagnostics
from edgec.frontends.source import SourceModel
from edgec.inspection.copying import copied
from edgec.inspection.model import Board, Reason
from edgec.inspection.optimized import brings_its_own_scales, optimized
from edgec.inspection.reasons import reasons_of
from edgec.ir import Model
from edgec.legalize.profile import Profile, find_profile
from edgec.memory.plan import plan_for
from edgec.options import INTEGER_PRECISIONS, CompileOptions
from edgec.options import Precision as KnownPrecision
from edgec.pipeline import integer_pipeline, run_passes
from edgec.progress import Stopwatch
from edgec.quantize.problems import NO_INT8_KERNEL
from edgec.targets import Target, list_targets, load_target

if TYPE_CHECKING:
    from edgec.stages import Job

_RANGE = (-1.0, 1.0)
_KIB = 1024


@dataclass(frozen=True, slots=True)
class _Form:
    """The model as one kernel library would run it in one precision."""

    errors: tuple[Diagnostic, ...] = ()
    size_bytes: int | None = None
    arena_bytes: int | None = None


def inspect_boards(source: SourceModel, ir: Model, diagnostics: Diagnostics) -> list[Board]:
    """Return a verdict for every known board and each of its precisions; `diagnostics` gets the notes."""
    targets = [load_target(name) for name in list_targets()]
    forms: dict[tuple[str, str], _Form] = {}
    for profile_name in dict.fromkeys(target.profile for target in targets):
        profile = find_profile(profile_name)
        sharing = [target for target in targets if target.profile == profile_name]
        for precision, form in _forms(source, ir, profile, sharing, diagnostics).items():
            forms[profile_name, precision] = form
    return [
        _verdict(target, precision, forms[target.profile, precision], is_static(ir))
        for target in targets
        for precision in target.precisions
    ]


def refuse_all(errors: Sequence[Diagnostic]) -> list[Board]:
    """Return the verdicts on a model that cannot be imported: the same reasons everywhere."""
    reasons = reasons_of(errors)
    targets = (load_target(name) for name in list_targets())
    return [Board(target.name, precision, reasons) for target in targets for precision in target.precisions]


def is_static(ir: Model) -> bool:
    """Whether every shape of the main graph is known."""
    results = (value for node in ir.graph for value in node.results)
    return all(value.type.is_static for value in (*ir.graph.inputs, *results))


def _forms(
    source: SourceModel, ir: Model, profile: Profile, targets: Sequence[Target], diagnostics: Diagnostics
) -> dict[str, _Form]:
    notes = Diagnostics()
    try:
        ready = optimized(source, ir, notes, profile)
    except CompileError as error:
        return dict.fromkeys((p for target in targets for p in target.precisions), _Form(error.diagnostics))
    diagnostics.extend(notes)
    precisions = dict.fromkeys(precision for target in targets for precision in target.precisions)
    return {item: _form(source, ready, profile, targets[0], item, notes) for item in precisions}


def _form(
    source: SourceModel, ready: Model, profile: Profile, board: Target, precision: str, notes: Diagnostics
) -> _Form:
    """Compile without data. Errors of all steps that could be taken are collected."""
    if precision not in get_args(KnownPrecision):
        return _Form((Diagnostic("E0602", "edgec", f"does not compile to {precision} yet"),))
    from edgec import stages

    options = CompileOptions(target=board.name, precision=precision)  # pyright: ignore[reportArgumentType]
    job = stages.Job(options, Diagnostics(), Stopwatch())
    job.diagnostics.extend(notes)
    try:
        quantized = _quantized(job, source, copied(ready), profile)
        final = stages.legalize(job, quantized, profile, board)
    except CompileError as error:
        return _Form(error.diagnostics or _float_nodes(ready))
    planned = is_static(final) and not final.subgraphs
    arena = plan_for(profile.name, final.graph).total_bytes if planned else None
    return _Form((), stages.emit(job, final).size, arena)


def _quantized(job: Job, source: SourceModel, ir: Model, profile: Profile) -> Model:
    from edgec import stages

    precision = job.options.precision
    if precision not in INTEGER_PRECISIONS or brings_its_own_scales(ir):
        return stages.quantize(job, source, ir, [], None, profile).model
    return _placeholder(ir, profile, precision)


def _placeholder(ir: Model, profile: Profile, precision: str) -> Model:
    """Return integer IR as calibration on numbers between -1 and 1 would make it."""
    from edgec.quantize import (
        int8_problems,
        int16x8_problems,
        observed_values,
        quantize_int8,
        quantize_int16x8,
    )

    if not is_static(ir):
        what = f"{precision} needs fixed shapes"
        raise CompileError(Diagnostic("E0604", "inputs", what, next_step="Pin them with --input-shape."))
    prepared = run_passes(ir, integer_pipeline(profile, precision))
    problems = int8_problems(prepared) if precision == "int8" else int16x8_problems(prepared)
    if problems:
        raise CompileError(problems)
    ranges = dict.fromkeys((value.name for value in observed_values(prepared.graph, None)), _RANGE)
    return quantize_int8(prepared, ranges) if precision == "int8" else quantize_int16x8(prepared, ranges)


def _float_nodes(ir: Model) -> tuple[Diagnostic, ...]:
    """Name what computes in float between the integers of a quantized source."""
    return tuple(
        Diagnostic(
            NO_INT8_KERNEL,
            f"node '{node.source or node.results[0].name}' ({node.kind})",
            "is float in the source",
            "Computes in float in the source, which brings its own scales",
            "Use --float-islands.",
        )
        for node in ir.graph
        if node.kind not in ("quantize", "dequantize") and any(r.dtype.is_float for r in node.results[:1])
    )


def _verdict(target: Target, precision: str, form: _Form, static: bool) -> Board:
    board = Board(target.name, precision, reasons_of(form.errors), form.size_bytes, form.arena_bytes)
    own = [] if static or target.dynamic_shapes else [_open_shapes()]
    return replace(board, reasons=(*board.reasons, *own, *_memory(target, form)))


def _open_shapes() -> Reason:
    return Reason("E0109", "needs fixed shapes: pin them with --input-shape", ("inputs",))


def _memory(target: Target, form: _Form) -> list[Reason]:
    """Compare with the board's budgets; facts of a compile that `edgec compile` reports, not refuses."""
    limits = (
        ("tensor arena", form.arena_bytes, target.memory.tensor_arena_kib),
        ("flash", form.size_bytes, target.memory.flash_kib),
    )
    return [
        Reason("E0406", f"{name}: needs {-(-needed // _KIB)} KiB, the board has {limit} KiB", (target.name,))
        for name, needed, limit in limits
        if needed is not None and limit is not None and needed > limit * _KIB
    ]
