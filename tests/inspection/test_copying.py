"""A copied model is equal and shares nothing that a pass edits."""

from __future__ import annotations

from pathlib import Path

from edgec.diagnostics import Diagnostics
from edgec.frontends.source import import_source, load_source
from edgec.inspection.copying import copied
from edgec.ir import format_model
from edgec.legalize.profile import find_profile
from edgec.ops.verify_ir import verify_ir
from edgec.pipeline import float_pipeline, run_passes

SAMPLE = Path(__file__).resolve().parents[2] / "samples" / "digits_cnn.onnx"


def test_passes_on_the_copy_leave_the_original() -> None:
    model = import_source(load_source(SAMPLE), {}, Diagnostics())
    before = format_model(model)
    copy = copied(model)
    verify_ir(copy)
    assert format_model(copy) == before
    run_passes(copy, float_pipeline(find_profile("litert_xnnpack"), channels_last_io=True))
    assert format_model(copy) != before
    assert format_model(model) == before
    verify_ir(model)


def test_names_stay_reserved() -> None:
    """A pass that asks for a name must not get one that a value of the copy bears."""
    copy = copied(import_source(load_source(SAMPLE), {}, Diagnostics()))
    taken = {value.name for node in copy.graph for value in node.results}
    assert copy.graph.unique_name(next(iter(taken))) not in taken
