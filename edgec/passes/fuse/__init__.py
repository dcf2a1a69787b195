"""Rules that merge nodes: constants into weights, pads and activations into the nodes beside them."""

from edgec.passes.contract import RulePass
from edgec.passes.fuse.activation import FUSE_ACTIVATIONS
from edgec.passes.fuse.hard_activations import FUSE_HARD_ACTIVATIONS
from edgec.passes.fuse.padding import FUSE_PADDING
from edgec.passes.fuse.scale import FUSE_BATCH_NORM
from edgec.passes.fuse.scale_before import FUSE_SCALE_BEFORE
from edgec.passes.fuse.transposed_weights import FOLD_TRANSPOSES

FUSE: tuple[RulePass, ...] = (
    FUSE_HARD_ACTIVATIONS,  # before scales move: the 1/6 is part of the pattern
    FUSE_BATCH_NORM,  # before activations: what has one fused takes no factor any more
    FUSE_PADDING,  # before scales of inputs: a factor then stands right in front of its convolution
    FUSE_SCALE_BEFORE,  # after batch norm: a factor costs least precision in the node that made its operand
    FOLD_TRANSPOSES,
    FUSE_ACTIVATIONS,
)
"""In order; assumes canonical IR after the layout pass."""

__all__ = [
    "FOLD_TRANSPOSES",
    "FUSE",
    "FUSE_ACTIVATIONS",
    "FUSE_BATCH_NORM",
    "FUSE_HARD_ACTIVATIONS",
    "FUSE_PADDING",
    "FUSE_SCALE_BEFORE",
]
