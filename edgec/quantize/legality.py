"""Which combination of activations and weights a kernel library runs, and why not where it does not.

    precision    weights int8                         weights int4
    float32      dequantize(int8), any kernel         dequantize(int4), outside XNNPACK
    dynamic      hybrid kernels (the default)         hybrid fully_connected
    int8         the default                          conv, depthwise, fully_connected
    int16x8      the default                          conv, fully_connected

Measured on ai-edge-litert 2.3.0 and tflite-micro 2026-10 by running one-node models (`tests/quantize`). The
functions that take a node are constraints for a profile: docstring is the rule, answer is the violation.
"""

from __future__ import annotations

from typing import Literal, get_args

from edgec.diagnostics import Diagnostic, Severity
from edgec.ir import DType, Model, Node, Value
from edgec.ops import spec_of
from edgec.quantize import problems
from edgec.quantize.parameters import MIN_INT4_ELEMENTS

WeightType = Literal["int8", "int4"]
Library = Literal["litert_xnnpack", "tflm"]

INT4_STEP = "Store these weights as int8 in the source, or compile its float model with --weights."
"""What a reader can do about int4 weights that no kernel takes; constraints of the profiles say it."""

_MICRO = "tflm"
_IMPOSSIBLE = {
    ("float16", "int8"): "float16 is a form of the weights itself",
    ("float16", "int4"): "float16 is a form of the weights itself",
}
_NOT_ON_MICRO = {
    ("float32", "int8"): "TFLM would dequantize the weights again at every run, into the tensor arena",
    ("float32", "int4"): "TFLM would dequantize the weights again at every run, into the tensor arena",
    ("dynamic", "int8"): "TFLM has no kernels for float activations with integer weights",
    ("dynamic", "int4"): "TFLM has no kernels for float activations with integer weights",
    ("int16x8", "int4"): "TFLM's int4 kernels take int8 activations alone",
}
_SLOW = {
    ("float32", "int4"): "XNNPACK does not fold an int4 DEQUANTIZE: its readers run in the builtin kernels",
    ("int8", "int4"): "XNNPACK has int4 for FULLY_CONNECTED alone: convolutions run in the builtin kernels",
    ("int16x8", "int8"): "XNNPACK has no int16 kernels: everything runs in the builtin ones",
    ("int16x8", "int4"): "XNNPACK has no int16 kernels: everything runs in the builtin ones",
}


def scheme_problems(precision: str, weights: WeightType | None, library: str) -> list[Diagnostic]:
    """Return why a library (a profile's name) cannot run a precision with weights of a type; see above.

    `weights=None` is the precision's own form, which `Profile.precisions` answers for.
    """
    if weights is None:
        return []
    scheme = precision, weights
    why = _IMPOSSIBLE.get(scheme) or (_NOT_ON_MICRO.get(scheme) if library == _MICRO else None)
    if why is None:
        return []
    what = f"{weights} weights do not go with {precision}"
    if scheme in _IMPOSSIBLE:
        return [Diagnostic(problems.SCHEME, "--weights", what, why, "Leave --weights out.")]
    step = "Use --int8 with int8 or int4 weights."
    return [Diagnostic(problems.SCHEME, "--weights", f"{what} on {library}", why, step)]


def weight_types(precision: str, library: str) -> tuple[WeightType, ...]:
    """Return what `--weights` may say beside a precision on a library; nothing where it has one form only."""
    return tuple(item for item in get_args(WeightType) if not scheme_problems(precision, item, library))


def scheme_notes(precision: str, weights: WeightType | None, library: str) -> list[Diagnostic]:
    """Return what is slower than it looks: nodes that a scheme keeps outside of the library's delegate."""
    default = "int8" if precision in ("int8", "int16x8", "dynamic") else None
    form = weights or default
    why = None if form is None or library == _MICRO else _SLOW.get((precision, form))
    if why is None:
        return []
    where = f"--{precision}" + (f" --weights {weights}" if weights else "")
    what, step = "makes a smaller or exacter model, not a faster one", "Use --int8 for speed."
    return [Diagnostic(problems.SLOW_SCHEME, where, what, why, step, Severity.NOTE)]


def unused_weights(model: Model, weights: WeightType | None) -> list[Diagnostic]:
    """Return a warning where int4 weights were asked for and no constant came out as int4."""
    constants = (value for graph in model.graphs for value in graph.constants())
    if weights != "int4" or any(value.dtype is DType.INT4 for value in constants):
        return []
    what = "changes nothing: no weight of this model is int4"
    few = f"Those with fewer than {MIN_INT4_ELEMENTS} elements"
    why = f"{few}, and those of nodes without an int4 kernel, stay int8."
    step = "Leave --weights out."
    return [Diagnostic(problems.NO_INT4, "--weights int4", what, why, step, Severity.WARNING)]


def kinds_with_one_weight_scale(weights: WeightType | None, library: str) -> tuple[str, ...]:
    """Return the op kinds that need one scale for all their weights: `per_tensor_kinds` of the quantizers."""
    return ("fully_connected",) if library == _MICRO and weights == "int4" else ()


def litert_takes_int4(node: Node) -> str | None:
    """LiteRT computes with int4 weights in CONV_2D and FULLY_CONNECTED, and in DEPTHWISE_CONV_2D beside int8.

    DEPTHWISE_CONV_2D with int16 activations runs and is wrong; TRANSPOSE_CONV and BATCH_MATMUL refuse int4.
    Weights in blocks are for FULLY_CONNECTED with float activations.
    """
    found = _int4_beside(node)
    facts = spec_of(node).quant.weights
    if found is None or facts is None:
        return None
    if _in_blocks(node.operand(facts.operand)):
        takes = node.kind == "fully_connected" and found is DType.FLOAT32
        return None if takes else f"int4 weights in blocks beside {found} activations"
    return None if found in facts.int4 else f"int4 weights beside {found} activations"


def micro_takes_int4(node: Node) -> str | None:
    """TFLM has int4 weights beside int8 activations in CONV_2D, DEPTHWISE_CONV_2D and FULLY_CONNECTED.

    FULLY_CONNECTED takes one scale for all of them.
    """
    found = _int4_beside(node)
    facts = spec_of(node).quant.weights
    if found is None or facts is None:
        return None
    if found is not DType.INT8 or found not in facts.int4:
        return f"int4 weights beside {found} activations"
    quantization = node.operand(facts.operand).type.quantization
    scales = 1 if quantization is None else len(quantization.scale)
    if scales > 1 and node.kind in kinds_with_one_weight_scale("int4", _MICRO):
        return f"int4 weights with {scales} scales"
    return None


def _in_blocks(weights: Value) -> bool:
    quantization = weights.type.quantization
    return quantization is not None and quantization.block_size > 0


def _int4_beside(node: Node) -> DType | None:
    """Return the element type of the activations that int4 weights meet in a node."""
    facts = spec_of(node).quant.weights
    if facts is None or node.operand(facts.operand).dtype is not DType.INT4:
        return None
    return node.operand(facts.data).dtype
