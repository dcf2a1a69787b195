"""Ops that remember: their states live in variable tensors of the file, from one run to the next.

    i, f, g, o = x Wᵀ + h Rᵀ + b    c = σ(f) c + σ(i) act(g)    h = σ(o) act(c)    (one step of an LSTM)

A state is no operand: nobody else may read or write it. Its type is an attribute, and the emitter makes the
tensor at the place that `Emit.states` names. A fresh interpreter starts from zeros; so does one after
`reset_all_variables()`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from edgec.ir import Attributes, DType, Node, TensorType
from edgec.ops.cases import ramp
from edgec.ops.infer import expect, required
from edgec.ops.layout import FIXED
from edgec.ops.spec import Case, Emit, InferenceError, Operands, OpSpec, support, unsupported

NOT_EMITTED = {"emitted": False}


class CellActivation(StrEnum):
    """The schema's activations as recurrent kernels take them."""

    __schema__ = "ActivationFunctionType"

    NONE = "NONE"
    RELU = "RELU"
    RELU6 = "RELU6"
    TANH = "TANH"


@dataclass(frozen=True, slots=True)
class StatefulAttributes(Attributes):
    """`states` are the types of the variable tensors, `intermediates` those of tensors inside the kernel.

    Integer kernels read the parameters of intermediates; the tensors themselves hold nothing.
    """

    states: tuple[TensorType, ...] = field(default=(), metadata=NOT_EMITTED)
    intermediates: tuple[TensorType, ...] = field(default=(), metadata=NOT_EMITTED)


@dataclass(frozen=True, slots=True)
class UnidirectionalSequenceLSTMAttributes(StatefulAttributes):
    """Settings of unidirectional_sequence_lstm; a clip of 0 clips nothing."""

    fused_activation_function: CellActivation = CellActivation.TANH
    cell_clip: float = 0.0
    proj_clip: float = 0.0
    time_major: bool = False
    asymmetric_quantize_inputs: bool = False
    diagonal_recurrent_tensors: bool = False


@dataclass(frozen=True, slots=True)
class SVDFAttributes(StatefulAttributes):
    """Settings of svdf."""

    rank: int = 1
    fused_activation_function: CellActivation = CellActivation.NONE
    asymmetric_quantize_inputs: bool = False


INPUT_WEIGHTS = (1, 2, 3, 4)  # input, forget, cell, output gate: the order of the kernel's operands
RECURRENT_WEIGHTS = (5, 6, 7, 8)
PEEPHOLES = (9, 10, 11)
BIASES = (12, 13, 14, 15)
PROJECTION = (16, 17)
LAYER_NORMS = (20, 21, 22, 23)

_INT8_CELL = "the int8 kernel has plain cells with tanh and constant weights"


def lstm_operands(node: Node) -> tuple[int, ...]:
    """Return the activations of a float LSTM that the int8 kernel can compute; none for any other node."""
    options = node.attributes
    if not isinstance(options, UnidirectionalSequenceLSTMAttributes):
        return ()
    constants = [node.optional_operand(index) for index in (*INPUT_WEIGHTS, *RECURRENT_WEIGHTS, *BIASES)]
    floats = all(value and value.is_constant and value.dtype is DType.FLOAT32 for value in constants)
    extra = [node.optional_operand(index) for index in (*PEEPHOLES, *PROJECTION, *LAYER_NORMS)]
    tanh = options.fused_activation_function is CellActivation.TANH
    plain = tanh and not options.diagonal_recurrent_tensors and not any(extra)
    return (0,) if floats and plain and node.operand(0).dtype is DType.FLOAT32 else ()


_LSTM_OPERANDS = (
    "x",
    "input_to_input_weights?",
    "input_to_forget_weights",
    "input_to_cell_weights",
    "input_to_output_weights",
    "recurrent_to_input_weights?",
    "recurrent_to_forget_weights",
    "recurrent_to_cell_weights",
    "recurrent_to_output_weights",
    "cell_to_input_weights?",
    "cell_to_forget_weights?",
    "cell_to_output_weights?",
    "input_gate_bias?",
    "forget_gate_bias",
    "cell_bias",
    "output_gate_bias",
    "projection_weights?",
    "projection_bias?",
    "output_state?",
    "cell_state?",
    "input_norm?",
    "forget_norm?",
    "cell_norm?",
    "output_norm?",
)
_SVDF_OPERANDS = ("x", "weights_feature", "weights_time", "bias?", "state?")


def _infer_lstm(operands: Operands, attributes: Attributes) -> tuple[TensorType, ...]:
    options = expect(attributes, UnidirectionalSequenceLSTMAttributes)
    x, weights, recurrent = (required(operands, index) for index in (0, 2, 6))
    if x.type.rank != 3 or x.shape[2] != weights.shape[-1] or len(options.states) != 2:
        raise InferenceError(f"input {x.shape} and weights {weights.shape} do not fit, or states are missing")
    return (TensorType((*x.shape[:2], recurrent.shape[-1]), x.dtype),)


def _infer_svdf(operands: Operands, attributes: Attributes) -> tuple[TensorType, ...]:
    options = expect(attributes, SVDFAttributes)
    x, feature, time = (required(operands, index) for index in (0, 1, 2))
    filters, depth = feature.shape
    if x.type.rank != 2 or x.shape[1] != depth or time.shape[0] != filters or filters % options.rank:
        raise InferenceError(f"input {x.shape} and filters {feature.shape}, {time.shape} do not fit")
    return (TensorType((x.shape[0], filters // options.rank), x.dtype),)


def _is_hybrid(node: Node, weights: int) -> bool:
    return node.operand(0).dtype is DType.FLOAT32 and node.operand(weights).dtype is not DType.FLOAT32


def _lstm_version(node: Node) -> int:
    """Source: lite/tools/versioning/op_version.cc."""
    options = expect(node.attributes, UnidirectionalSequenceLSTMAttributes)
    if options.diagonal_recurrent_tensors:
        return 4
    if _is_hybrid(node, 2):
        return 3 if options.asymmetric_quantize_inputs else 2
    return 1


def _svdf_version(node: Node) -> int:
    """Source: lite/tools/versioning/op_version.cc."""
    if _is_hybrid(node, 1):
        return 4 if expect(node.attributes, SVDFAttributes).asymmetric_quantize_inputs else 2
    return 3 if node.operand(0).dtype is DType.INT8 else 1


def _lstm_macs(node: Node) -> int:
    x = node.operand(0)
    weights = [node.optional_operand(index) for index in (*INPUT_WEIGHTS, *RECURRENT_WEIGHTS, PROJECTION[0])]
    products = sum(value.type.size for value in weights if value is not None)
    return x.shape[0] * x.shape[1] * products


def _svdf_macs(node: Node) -> int:
    return node.operand(0).shape[0] * (node.operand(1).type.size + node.operand(2).type.size)


_STATES = (TensorType((1, 4)), TensorType((1, 4)))
_GATES = (*(ramp(4, 3) for _ in range(4)), *(ramp(4, 4) for _ in range(4)))

OPS = (
    OpSpec(
        name="unidirectional_sequence_lstm",
        operands=_LSTM_OPERANDS,
        attributes=UnidirectionalSequenceLSTMAttributes,
        infer=_infer_lstm,
        layout=FIXED,
        quant=unsupported(_INT8_CELL),
        emit=Emit(
            "UNIDIRECTIONAL_SEQUENCE_LSTM",
            "UnidirectionalSequenceLSTMOptions",
            _lstm_version,
            states=(18, 19),
        ),
        macs=_lstm_macs,
        support=support("f32 i8", tflm="f32 i8 i16", max_version=4),
        cases=(
            Case(
                "five_steps",
                ((1, 5, 3), *_GATES, None, None, None, *(ramp(4) for _ in range(4))),
                UnidirectionalSequenceLSTMAttributes(states=_STATES),
            ),
        ),
    ),
    OpSpec(
        name="svdf",
        operands=_SVDF_OPERANDS,
        attributes=SVDFAttributes,
        infer=_infer_svdf,
        layout=FIXED,
        quant=unsupported("its state is not observed"),
        emit=Emit("SVDF", "SVDFOptions", _svdf_version, states=(4,)),
        macs=_svdf_macs,
        support=support("f32 i8", tflm="f32 i8", max_version=4),
        cases=(
            Case(
                "rank_2",
                ((1, 3), ramp(8, 3), ramp(8, 5), ramp(4)),
                SVDFAttributes(states=(TensorType((1, 40)),), rank=2),
            ),
        ),
    ),
)
