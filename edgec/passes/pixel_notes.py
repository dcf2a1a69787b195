"""What folding preprocessing into a model has to tell its user."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from edgec.diagnostics import Diagnostic, Severity
from edgec.ir import DType, Model
from edgec.ops import op_spec, spec_of
from edgec.passes.fold_preprocessing import Folded

CODE, NOTE = "E0617", "W0617"

QUANTIZED_ALREADY = Diagnostic(
    CODE,
    "--raw-pixels",
    "the source model is quantized already",
    "The scale of its input is part of it, and its weights are integers for that scale.",
    "Compile its float form, or give pixels with --input-type uint8 if its own scale suits them.",
)


def uint8_problems(profile: str, library: str) -> Iterator[Diagnostic]:
    """Yield an error where a kernel library cannot read uint8 at all."""
    if profile == "tflm" and DType.UINT8 not in op_spec("quantize").support.tflm:
        what = f"{library} has no kernel that reads uint8"
        step = "Add --int8 --input-type int8: the model takes the pixel less 128."
        yield Diagnostic(CODE, "--raw-pixels", what, next_step=step)


def pixel_notes(model: Model, found: Sequence[Folded]) -> Iterator[Diagnostic]:
    """Yield what was done with each input's preprocessing; an error where an input's axes are in the way."""
    for item in found:
        where = f"input '{item.pixels.name}'"
        if item.why and not item.front:
            what = f"its mean, std or order of colors need a convolution in front: {item.why}"
            why = "A convolution reads channels last, and --io-layout source keeps them first."
            yield Diagnostic(CODE, where, what, why, "Leave --io-layout out.")
        elif item.why:
            yield _in_front(model, item, where)
        elif item.slip:
            what = f"zeros that pad are {item.slip:.3g} pixel steps off the mean; all else is exact"
            why = "The zero point of an integer input is a whole number, the mean is not."
            yield Diagnostic(NOTE, where, what, why, severity=Severity.NOTE)
        else:
            what = "mean, std and order of colors are part of " + (
                f"the weights of {', '.join(item.nodes)}" if item.nodes else "its scale and zero point"
            )
            yield Diagnostic(NOTE, where, what, severity=Severity.NOTE)


def _in_front(model: Model, item: Folded, where: str) -> Diagnostic:
    own = sum(spec_of(node).macs(node) for node in model.graph if node.source == item.front)
    total = sum(spec_of(node).macs(node) for node in model.graph)
    share = f"{own / max(total, 1):.2%} of all multiplications"
    what = f"a 1x1 convolution in front computes mean, std and order of colors: {share}"
    step = "A whole number as the mean of all channels would need none."
    return Diagnostic(NOTE, where, what, item.why + ".", step, Severity.NOTE)
