"""TensorFlow Lite Micro: the reference kernels that every microcontroller build has.

Its interpreter plans memory before the first run, so shapes are static; it looks kernels up by operator
alone, so a missing element type or too high a rank shows only on the device, sometimes as an abort.
"""

from __future__ import annotations

from edgec.ir import DType, Node
from edgec.legalize.agreement import DecomposeSum, FullyConnectedToConv2D
from edgec.legalize.cuts import DecomposeGather
from edgec.legalize.grouped_conv import DecomposeGroupedConv2D
from edgec.legalize.joins import DecomposeConcatenation, DecomposeTile
from edgec.legalize.profile import Constraint, Profile
from edgec.ops import spec_of
from edgec.ops.versions import is_hybrid
from edgec.passes.contract import RulePass
from edgec.quantize.legality import INT4_STEP, micro_takes_int4
from edgec.quantize.lookup import UseLookupTable

TFLM_MAX_CONCATENATION = 10


def has_kernel(node: Node) -> str | None:
    """TFLM has kernels for part of the operators, each for some element types."""
    spec = spec_of(node)
    if not spec.support.tflm:
        return "TFLM has no kernel for this operator"
    dtype = node.operand(spec.data_operand).dtype
    if dtype in spec.support.tflm:
        return None
    return f"element type {dtype}; the kernel takes {', '.join(sorted(spec.support.tflm))}"


def shapes_are_static(node: Node) -> str | None:
    """TFLM plans the tensor arena once, so every dimension must be known at compile time."""
    dynamic = [value for value in (*node.operands, *node.results) if value and not value.type.is_static]
    return f"'{dynamic[0].name}' is {dynamic[0].type}" if dynamic else None


def kernel_takes_rank(node: Node) -> str | None:
    """TFLM's kernels hold a limited number of dimensions.

    STRIDED_SLICE, PRELU and L2_NORMALIZATION take 4; PAD, PADV2, SLICE, TRANSPOSE, BROADCAST_TO and
    BATCH_MATMUL take 5; CONCATENATION and REVERSE_V2 take 6.
    """
    highest = max(value.type.rank for value in (*node.operands, *node.results) if value is not None)
    limit = spec_of(node).support.tflm_rank
    return None if highest <= limit else f"rank {highest} is above {limit}"


def joins_few(node: Node) -> str | None:
    """CONCATENATION takes 10 operands at most in TFLM."""
    count = len(node.operands)
    if node.kind != "concatenation" or count <= TFLM_MAX_CONCATENATION:
        return None
    return f"joins {count} operands"


def weights_match_activations(node: Node) -> str | None:
    """TFLM has no hybrid kernels: float activations need float weights, int8 activations int8 weights."""
    weights = spec_of(node).quant.weights
    if weights is None or node.operand(weights.operand).dtype is DType.INT4:  # which has a rule of its own
        return None
    operands = (node.operand(weights.data), node.operand(weights.operand))
    hybrid = is_hybrid(node, weights.operand) or operands[1].dtype is DType.FLOAT16
    float_meets_integer = operands[0].dtype.is_float != operands[1].dtype.is_float
    if not hybrid and not float_meets_integer:
        return None
    return f"{operands[0].dtype} activations with {operands[1].dtype} weights"


def constants_are_plain(node: Node) -> str | None:
    """TFLM would dequantize constant weights again at every run, into the tensor arena."""
    if node.kind != "dequantize" or not node.operand(0).is_constant:
        return None
    return f"dequantizes a constant of {node.operand(0).dtype}"


def indices_are_int32(node: Node) -> str | None:
    """TFLM's kernels read and write indices, axes and shapes as int32."""
    data = node.operand(spec_of(node).data_operand)
    wide = [
        v
        for v in (*node.operands, *node.results)
        if v and v.dtype is DType.INT64 and v is not data and v.type.quantization is None
    ]
    if not wide or data.dtype is DType.INT64 or node.kind == "cast":
        return None
    return f"'{wide[0].name}' is int64"


_PRECISION = "Compile with --float32, --int8 or --int16x8."
_OTHER = "Use another operator in the source model, or a target that runs LiteRT."

PROFILE = Profile(
    name="tflm",
    library="TensorFlow Lite Micro",
    precisions=("float32", "int8", "int16x8"),
    early_passes=(),  # no GELU kernel
    float_passes=(
        RulePass(
            "legalize_for_tflm",
            (
                DecomposeGroupedConv2D(),
                DecomposeTile("tflm"),
                DecomposeGather("tflm", max_runs=1),
                DecomposeConcatenation(TFLM_MAX_CONCATENATION, "tflm"),
            ),
        ),
    ),
    integer_passes=(RulePass("agree_with_litert", (FullyConnectedToConv2D(), DecomposeSum())),),
    final_passes=(
        RulePass(
            "legalize_for_tflm_final",
            (DecomposeConcatenation(TFLM_MAX_CONCATENATION, "tflm"), UseLookupTable("tflm")),
        ),
    ),
    constraints=(
        Constraint("E0414", has_kernel, _OTHER),
        Constraint("E0415", shapes_are_static, "Give every input a fixed shape with --input-shape."),
        Constraint("E0416", kernel_takes_rank, "Merge axes with a reshape in the source model."),
        Constraint("E0417", joins_few, "Join the operands in two steps in the source model."),
        Constraint("E0418", weights_match_activations, _PRECISION),
        Constraint("E0419", constants_are_plain, _PRECISION),
        Constraint("E0420", indices_are_int32, "Cast indices to int32 in the source model."),
        Constraint("E0428", micro_takes_int4, INT4_STEP),
    ),
)
