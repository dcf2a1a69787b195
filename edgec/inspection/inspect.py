"""The flow of one inspection; what fails on the way becomes a diagnostic, and the rest is still shown.

source ─▶ outline (as the file says it)
   └─front end─▶ IR ─▶ cost;  for each board's kernel library: passes ─▶ precisions ─▶ constraints
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from edgec.diagnostics import CompileError, Diagnostic, Diagnostics, Severity
from edgec.frontends.outline import Outline, SourceTensor
from edgec.frontends.source import SourceModel, import_source, load_source
from edgec.inspection.boards import inspect_boards, is_static, refuse_all
from edgec.inspection.model import Board, InspectedTensor, Inspection, Peak
from edgec.inspection.optimized import optimized
from edgec.inspection.outlines import outline_of
from edgec.ir import Model, Port
from edgec.memory.plan import activation_peak
from edgec.ops import spec_of

OPEN_SHAPE = "E0109"
_OPEN = "W0109"


def inspect_model(
    model: object, *, input_shapes: Mapping[str, Sequence[int]] | None = None, signature: str | None = None
) -> Inspection:
    """Return what a model of any format is, what it costs and what keeps it from which board.

    `model` is what `edgec.compile` takes. Open dimensions that `input_shapes` does not pin stay open.
    Raises CompileError only where the file is no readable model.
    """
    source = load_source(model)
    diagnostics = Diagnostics()
    ir = _imported(source, dict(input_shapes or {}), diagnostics, signature)
    outline = outline_of(source, ir, diagnostics, signature)
    if ir is None:
        return _inspection(source, outline, None, diagnostics, refuse_all(diagnostics.errors))
    boards = inspect_boards(source, ir, diagnostics)
    return _inspection(source, outline, optimized(source, ir, Diagnostics()), diagnostics, boards)


def _imported(
    source: SourceModel, shapes: Mapping[str, Sequence[int]], diagnostics: Diagnostics, signature: str | None
) -> Model | None:
    """Import the model; where only shapes are missing, import it with open dimensions, if that works."""
    first = Diagnostics()
    ir, errors = _attempt(source, shapes, first, signature)
    if ir is None and source.format == "onnx" and {error.code for error in errors} == {OPEN_SHAPE}:
        first = Diagnostics()
        again, refusals = _attempt(source, _left_open(source) | dict(shapes), first, signature)
        if again is not None:
            diagnostics.extend(_as_warning(error) for error in errors)
        errors = [*errors, *refusals] if again is None else []
        ir = again
    diagnostics.extend(first)
    diagnostics.extend(errors)
    return ir


def _attempt(
    source: SourceModel, shapes: Mapping[str, Sequence[int]], found: Diagnostics, signature: str | None
) -> tuple[Model | None, Sequence[Diagnostic]]:
    try:
        return import_source(source, shapes, found, signature), ()
    except CompileError as error:
        return None, error.diagnostics


def _left_open(source: SourceModel) -> dict[str, Sequence[int]]:
    """Return each ONNX input with the dimensions it declares; names among them stay open."""
    inputs = outline_of(source, None, Diagnostics(), None).inputs
    return {item.name: item.shape for item in inputs if item.shape is not None}  # pyright: ignore[reportReturnType]


def _as_warning(error: Diagnostic) -> Diagnostic:
    what = f"{error.what}: cost and checks are those of the open shape"
    return Diagnostic(_OPEN, error.where, what, error.why, error.next_step, Severity.WARNING)


def _inspection(
    source: SourceModel, outline: Outline, ir: Model | None, diagnostics: Diagnostics, boards: Iterable[Board]
) -> Inspection:
    fixed = ir is not None and is_static(ir) and not ir.subgraphs
    peak = activation_peak(ir.graph) if ir is not None and fixed else None
    return Inspection(
        name=source.name,
        format=str(source.format),
        sha256=source.sha256,
        size_bytes=source.size_bytes,
        outline=outline,
        inputs=_described(outline.inputs, ir.inputs if ir is not None else ()),
        outputs=_described(outline.outputs, ir.outputs if ir is not None else ()),
        kinds=_kinds(ir) if ir is not None else {},
        parameters=outline.parameters if outline.operators else None,
        macs=sum(spec_of(node).macs(node) for node in ir.graph) if ir is not None and fixed else None,
        activation_peak=Peak(peak.bytes, peak.node) if peak is not None else None,
        boards=tuple(boards),
        diagnostics=tuple(diagnostics),
    )


def _described(tensors: Sequence[SourceTensor], ports: Sequence[Port]) -> tuple[InspectedTensor, ...]:
    layouts = {port.name: port.source_layout for port in ports}
    return tuple(InspectedTensor(tensor, layouts.get(tensor.name)) for tensor in tensors)


def _kinds(ir: Model) -> dict[str, int]:
    return dict(Counter(spec_of(node).emit.builtin for graph in ir.graphs for node in graph))
