"""THE ordered list of passes, each with the reason for its place."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from edgec.diagnostics import Diagnostic
from edgec.ir import Model
from edgec.legalize.profile import Profile
from edgec.ops.verify_ir import verify_ir
from edgec.passes.absorb_quantization import AbsorbQuantization
from edgec.passes.canonicalize import CANONICALIZE, FOLD_UNIT_TRANSPOSES
from edgec.passes.contract import Pass, RulePass
from edgec.passes.eliminate_dead import EliminateDead
from edgec.passes.fold_constants import FoldConstants
from edgec.passes.fuse import FUSE, FUSE_ACTIVATIONS
from edgec.passes.layout import PropagateLayout
from edgec.passes.separate_outputs import SeparateOutputs
from edgec.passes.share_constants import ShareConstants

OnPass = Callable[[str, Model], None]


def float_pipeline(
    profile: Profile,
    *,
    channels_last_io: bool,
    report: Callable[[Diagnostic], None] = lambda diagnostic: None,
) -> list[Pass]:
    """Return the passes from the front end's IR to the float IR that calibration runs.

    A source that is quantized already becomes integer IR here; `report` hears what has to stay float.
    """
    return [
        EliminateDead(),  # before folding: do not compute what nobody reads
        *profile.early_passes,
        FoldConstants(),  # rules below match constants, not the arithmetic that makes them
        CANONICALIZE,  # one spelling for one meaning, so that later patterns are few
        PropagateLayout(channels_last_io),  # before fusing: transposes stand between what fuses
        FOLD_UNIT_TRANSPOSES,  # after the layout pass, which reads input layouts from transposes
        CANONICALIZE,
        *FUSE,  # before quantizing: batch-norm scales change weight ranges, activations change tensors
        *profile.float_passes,  # the kernel library's own forms; may open new patterns
        CANONICALIZE,
        FoldConstants(),  # weights that fusing and legalizing made
        AbsorbQuantization(report),  # behind all float rules: they know nothing of integer tensors
        ShareConstants(),  # last, because rules make constants without looking for an equal one
        SeparateOutputs(),
        EliminateDead(),
    ]


def integer_pipeline(profile: Profile, precision: str = "int8") -> list[Pass]:
    """Return the passes from float IR to the form that integer kernels take; before calibration sees it."""
    from edgec.quantize import int8_rules, int16_rules

    if precision == "int16x8":
        rules = int16_rules(exp=profile.name != "tflm")
    else:
        rules = int8_rules(delegate=profile.name == "litert_xnnpack")
    return [
        RulePass(f"prepare_{precision}", rules),
        *profile.integer_passes,  # behind the rules for all, which join products and biases
        CANONICALIZE,
        FUSE_ACTIVATIONS,  # relu6 of a decomposed hard_swish belongs to its add
        FoldConstants(),
        ShareConstants(),
        EliminateDead(),
    ]


def final_pipeline(profile: Profile) -> list[Pass]:
    """Return the passes on the graph in its final element types; they keep every value."""
    return [*profile.final_passes, FoldConstants(), ShareConstants(), EliminateDead()]


def run_passes(
    model: Model, passes: Sequence[Pass], *, verify_each: bool = False, on_pass: OnPass | None = None
) -> Model:
    """Run passes in order; with `verify_each` the IR is checked after each (tests, `--verify-each`)."""
    for item in passes:
        model = item.run(model).model
        if verify_each:
            verify_ir(model)
        if on_pass is not None:
            on_pass(item.name, model)
    return model
