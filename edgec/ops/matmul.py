"""Matrix products: fully_connected (constant weights `[units, depth]`) and batch_matmul."""

from __future__ import annotations

from dataclasses import dataclass

from edgec.ir import DYNAMIC, Attributes, DType, Node, TensorType, Value
from edgec.ops.cases import ramp
from edgec.ops.infer import broadcast, expect, required
from edgec.ops.layout import FIXED
from edgec.ops.spec import (
    ActivationFunctionType,
    Case,
    Emit,
    InferenceError,
    Operands,
    OpSpec,
    Quant,
    Weights,
    support,
)
from edgec.ops.versions import by_dtype, is_hybrid


@dataclass(frozen=True, slots=True)
class FullyConnectedAttributes(Attributes):
    """Settings of fully_connected; with `keep_num_dims` only the last axis changes."""

    fused_activation_function: ActivationFunctionType = ActivationFunctionType.NONE
    keep_num_dims: bool = False
    asymmetric_quantize_inputs: bool = False


@dataclass(frozen=True, slots=True)
class BatchMatMulAttributes(Attributes):
    """Settings of batch_matmul: `adj_x`, `adj_y` transpose the last two axes."""

    adj_x: bool = False
    adj_y: bool = False
    asymmetric_quantize_inputs: bool = False


def _infer_fully_connected(operands: Operands, attributes: Attributes) -> tuple[TensorType, ...]:
    options = expect(attributes, FullyConnectedAttributes)
    x, weights = required(operands, 0), required(operands, 1)
    if weights.type.rank != 2 or x.type.rank < 1:
        raise InferenceError(f"input {x.shape} and weights {weights.shape} have the wrong rank")
    units, depth = weights.shape
    if options.keep_num_dims:
        if x.shape[-1] != depth:
            raise InferenceError(f"input {x.shape} does not end in {depth}")
        return (TensorType((*x.shape[:-1], units), x.dtype),)
    if not x.type.is_static:
        return (TensorType((DYNAMIC, units), x.dtype),)
    if x.type.size % depth:
        raise InferenceError(f"input {x.shape} does not divide into rows of {depth}")
    return (TensorType((x.type.size // depth, units), x.dtype),)


def _infer_batch_matmul(operands: Operands, attributes: Attributes) -> tuple[TensorType, ...]:
    options = expect(attributes, BatchMatMulAttributes)
    x, y = required(operands, 0), required(operands, 1)
    if x.type.rank < 2 or y.type.rank < 2:
        raise InferenceError(f"operands {x.shape} and {y.shape} need rank 2 or more")
    rows, inner_x = x.shape[-2:] if not options.adj_x else x.shape[-2:][::-1]
    inner_y, columns = y.shape[-2:] if not options.adj_y else y.shape[-2:][::-1]
    if inner_x != inner_y and DYNAMIC not in (inner_x, inner_y):
        raise InferenceError(f"inner sizes {inner_x} and {inner_y} differ")
    return (TensorType((*broadcast((x.shape[:-2], y.shape[:-2])), rows, columns), x.dtype),)


def _fully_connected_version(node: Node) -> int:
    options = expect(node.attributes, FullyConnectedAttributes)
    x, weights = node.operand(0), node.operand(1)
    if weights.dtype is DType.INT4:
        return _int4_version(x.dtype, weights)
    if x.dtype is DType.INT16:
        return 7
    if is_hybrid(node, 1):
        quantization = weights.type.quantization
        if quantization is not None and quantization.per_axis:
            return 12
        return 9 if options.asymmetric_quantize_inputs else 3
    if node.optional_operand(2) is None:
        return 6
    if options.keep_num_dims:
        return 5
    return 4 if x.dtype is DType.INT8 else 1


def _int4_version(activations: DType, weights: Value) -> int:
    """Blocks have no version of their own: the highest keeps them from runtimes that overlook them."""
    if weights.type.quantization is not None and weights.type.quantization.block_size:
        return 14
    return {DType.INT16: 13, DType.FLOAT32: 12}.get(activations, 10)


def _batch_matmul_version(node: Node) -> int:
    if is_hybrid(node, 1):
        return 4 if expect(node.attributes, BatchMatMulAttributes).asymmetric_quantize_inputs else 1
    return by_dtype(int8=2, int16=3)(node)


def _batch_matmul_macs(node: Node) -> int:
    options = expect(node.attributes, BatchMatMulAttributes)
    return node.result.type.size * node.operand(0).shape[-2 if options.adj_x else -1]


_INT4 = frozenset({DType.FLOAT32, DType.INT8, DType.INT16})

OPS = (
    OpSpec(
        name="fully_connected",
        operands=("x", "weights", "bias?"),
        attributes=FullyConnectedAttributes,
        infer=_infer_fully_connected,
        layout=FIXED,
        quant=Quant(weights=Weights(operand=1, quantized_dimension=0, bias=2, int4=_INT4, axes="oi")),
        emit=Emit("FULLY_CONNECTED", "FullyConnectedOptions", _fully_connected_version),
        macs=lambda node: node.result.type.size * node.operand(1).shape[1],
        support=support(
            "f32 i8 u8 i16",
            xnnpack="f32 f16 i8 u8",
            tflm="f32 i8 i16",
            max_version=14,
            claims_any_rank=True,
            xnnpack_when="constant weights",
        ),
        cases=(
            Case("bias", ((2, 6), ramp(4, 6), ramp(4))),
            Case(
                "keep_num_dims",
                ((2, 3, 6), ramp(4, 6), ramp(4)),
                FullyConnectedAttributes(keep_num_dims=True),
            ),
        ),
    ),
    OpSpec(
        name="batch_matmul",
        operands=("x", "y"),
        attributes=BatchMatMulAttributes,
        infer=_infer_batch_matmul,
        layout=FIXED,
        quant=Quant(weights=Weights(operand=1, quantized_dimension=0, per_axis=False)),
        emit=Emit("BATCH_MATMUL", "BatchMatMulOptions", _batch_matmul_version),
        macs=_batch_matmul_macs,
        support=support(
            "f32 i8 i16", xnnpack="f32 f16 i8", tflm="f32 i8 i16", max_version=4, litert_rank=5, tflm_rank=5
        ),
        cases=(
            Case("plain", ((2, 3, 4), (2, 4, 5))),
            Case("adj_y", ((2, 3, 4), (1, 5, 4)), BatchMatMulAttributes(adj_y=True)),
        ),
    ),
)
