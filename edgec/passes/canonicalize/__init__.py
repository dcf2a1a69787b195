"""Convergent simplification: one spelling for one meaning. Nothing depends on it, patterns get fewer.

The rules work on float IR. `CANONICALIZE` may run at any time before quantizing; `FOLD_UNIT_TRANSPOSES` runs
after the layout pass, which reads the layout of the model's inputs from their transposes.
"""

from edgec.passes.canonicalize.casts import EliminateIdentityCast, MergeCasts
from edgec.passes.canonicalize.clips import ClipToRelu, EliminateIdleClip
from edgec.passes.canonicalize.constants import (
    DivisionToMultiplication,
    EliminateNeutralOperand,
    MergeConstants,
    OrderOperands,
    ReplacePower,
    SubtractionToAddition,
)
from edgec.passes.canonicalize.joins import (
    EliminateSingleConcatenation,
    FlattenConcatenation,
    PackToReshape,
    SplitToSlice,
)
from edgec.passes.canonicalize.masks import AddMaskToMinimum, AddMaskToSelect, SinkBoundBelowSum
from edgec.passes.canonicalize.pads import AbsorbBroadcast, EliminateIdleRepeat, MergePads, ZeroPad
from edgec.passes.canonicalize.products import EliminateConstantSelect, MatMulToFullyConnected
from edgec.passes.canonicalize.reductions import ReductionToReshape
from edgec.passes.canonicalize.reshapes import (
    EliminateIdentityReshape,
    EliminateReshapeRoundTrip,
    FoldMovement,
    MergeReshapes,
)
from edgec.passes.canonicalize.slices import (
    EliminateFullSlice,
    GatherToSlice,
    MergeSlices,
    MergeStridedSlices,
    SliceOfConcatenation,
    StridedSliceToSlice,
)
from edgec.passes.canonicalize.transposes import (
    ComposeTransposes,
    EliminateIdentityTranspose,
    FoldUnitTranspose,
)
from edgec.passes.contract import RulePass

_TRANSPOSES = (FoldMovement(), EliminateIdentityTranspose(), ComposeTransposes())
_RESHAPES = (EliminateIdentityReshape(), MergeReshapes(), EliminateReshapeRoundTrip())

CANONICALIZE = RulePass(
    "canonicalize",
    (
        OrderOperands(),  # first: the rules below look for constants on the right
        EliminateNeutralOperand(),
        SubtractionToAddition(),
        DivisionToMultiplication(),
        MergeConstants(),
        ReplacePower(),
        EliminateIdleClip(),
        ClipToRelu(),
        EliminateIdentityCast(),
        MergeCasts(),
        *_TRANSPOSES,
        *_RESHAPES,
        EliminateSingleConcatenation(),
        FlattenConcatenation(),
        PackToReshape(),
        SplitToSlice(),
        EliminateFullSlice(),
        MergeSlices(),
        SliceOfConcatenation(),
        StridedSliceToSlice(),
        MergeStridedSlices(),
        GatherToSlice(),
        EliminateIdleRepeat(),
        ZeroPad(),
        MergePads(),
        AbsorbBroadcast(),
        ReductionToReshape(),
        MatMulToFullyConnected(),
        EliminateConstantSelect(),
        AddMaskToSelect(),
        AddMaskToMinimum(),
        SinkBoundBelowSum(),
    ),
)

FOLD_UNIT_TRANSPOSES = RulePass("fold_unit_transposes", (*_TRANSPOSES, FoldUnitTranspose(), *_RESHAPES))

__all__ = ["CANONICALIZE", "FOLD_UNIT_TRANSPOSES"]
