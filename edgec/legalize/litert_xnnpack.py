"""LiteRT on a CPU: builtin kernels, and XNNPACK for every node that it takes.

Two aims: the model loads and computes right with and without the delegate (constraints), and one delegate
partition holds all of it (passes). Every node left outside ends a partition, and each end costs copies.
"""

from __future__ import annotations

from edgec.ir import Node
from edgec.legalize.clamps import DecomposeMaximum, EliminateIdleClamp
from edgec.legalize.constants import ShrinkConstant
from edgec.legalize.cuts import DecomposeGather, DecomposeSplit, DecomposeStridedSlice
from edgec.legalize.joins import DecomposeBroadcast, DecomposeConcatenation, DecomposePack, DecomposeTile
from edgec.legalize.moves import XNNPACK_MAX_RANK
from edgec.legalize.narrow_conv import WidenNarrowConv2D
from edgec.legalize.phases import JoinPhases
from edgec.legalize.pooling import DecomposeGlobalAveragePool, DecomposePadV2
from edgec.legalize.profile import Constraint, Profile
from edgec.legalize.shared_memory import CopyBeforeReshape
from edgec.legalize.strided_pixels import StackStridedPixels
from edgec.legalize.upsample import DecomposeResizeNearest
from edgec.ops import spec_of
from edgec.passes.contract import RulePass
from edgec.passes.fuse.gelu import FUSE_GELU
from edgec.quantize.legality import INT4_STEP, litert_takes_int4

XNNPACK_MAX_CONCATENATION = 5
_SPLIT_RESULTS = 4


def has_kernel(node: Node) -> str | None:
    """LiteRT runs an operator for the element types that its kernel was written for."""
    spec = spec_of(node)
    dtype = node.operand(spec.data_operand).dtype
    if dtype in spec.support.litert:
        return None
    return f"element type {dtype}; the kernel takes {', '.join(sorted(spec.support.litert))}"


def registers_version(node: Node) -> str | None:
    """LiteRT refuses a model with an operator version above the highest that it registers."""
    spec = spec_of(node)
    version = spec.emit.version(node)
    if version <= spec.support.max_version:
        return None
    return f"needs version {version}; LiteRT registers up to {spec.support.max_version}"


def kernel_takes_rank(node: Node) -> str | None:
    """The builtin kernels of PAD, PADV2 and BATCH_MATMUL take rank 5 at most, the others rank 8."""
    highest = max(value.type.rank for value in (*node.operands, *node.results) if value is not None)
    limit = spec_of(node).support.litert_rank
    return None if highest <= limit else f"rank {highest} is above {limit}"


def delegate_takes_rank(node: Node) -> str | None:
    """XNNPACK stops at rank 6.

    It claims FULLY_CONNECTED, SOFTMAX, CONCATENATION, SPLIT and the reductions beyond that all the same, and
    then the default interpreter cannot load the model.
    """
    support = spec_of(node).support
    data = node.operand(spec_of(node).data_operand)
    if not support.claims_any_rank or data.dtype not in support.xnnpack or data.type.rank <= XNNPACK_MAX_RANK:
        return None
    if node.kind == "concatenation" and len(node.operands) > XNNPACK_MAX_CONCATENATION:
        return None
    if node.kind == "split" and len(node.results) > _SPLIT_RESULTS:
        return None
    return f"rank {data.type.rank} is above {XNNPACK_MAX_RANK}"


_MOVES = (
    DecomposePadV2(),
    DecomposeGather(),
    DecomposeStridedSlice(),
    DecomposePack(),
    DecomposeTile("xnnpack"),
    DecomposeBroadcast(),
    DecomposeSplit(),
    DecomposeConcatenation(XNNPACK_MAX_CONCATENATION, "xnnpack"),
)
_FLATTEN = "Merge axes with a reshape before this node in the source model."

PROFILE = Profile(
    name="litert_xnnpack",
    library="LiteRT with XNNPACK",
    delegates=True,
    precisions=("float32", "float16", "dynamic", "int8", "int16x8"),
    early_passes=(FUSE_GELU,),
    float_passes=(
        RulePass("join_phases", (JoinPhases(),)),  # first: what follows makes boxes of strided slices
        RulePass("legalize_for_xnnpack", (ShrinkConstant(), DecomposeGlobalAveragePool(), *_MOVES)),
    ),
    # resizing waits for the final element type: which form is faster depends on the bytes of a pixel
    # and copies that keep memory apart have to outlive canonicalizing
    final_passes=(
        RulePass("eliminate_idle_clamps", (EliminateIdleClamp(),)),  # first: the rest makes work of them
        RulePass(
            "legalize_for_xnnpack_final",
            (
                DecomposeMaximum(),
                StackStridedPixels(),  # before neighbours of a row alone become one pixel
                WidenNarrowConv2D(),
                DecomposeResizeNearest(),
                *_MOVES,
                CopyBeforeReshape(),
            ),
        ),
    ),
    constraints=(
        Constraint("E0410", has_kernel, "Cast to a type that the kernel takes in the source model."),
        Constraint("E0411", registers_version, "Update ai-edge-litert, or change this node's type or rank."),
        Constraint("E0412", kernel_takes_rank, _FLATTEN),
        Constraint("E0413", delegate_takes_rank, _FLATTEN),
        Constraint("E0427", litert_takes_int4, INT4_STEP),
    ),
)
