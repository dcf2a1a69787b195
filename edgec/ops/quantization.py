"""The two bridges between float and integer: quantize (also int → int requantize) and dequantize."""

from __future__ import annotations

from edgec.ir import Attributes, DType, Node, TensorType
from edgec.ops.infer import required
from edgec.ops.layout import ELEMENTWISE
from edgec.ops.spec import Emit, Operands, OpSpec
from edgec.ops.versions import by_dtype


def _infer_quantize(operands: Operands, attributes: Attributes) -> tuple[TensorType, ...]:
    return (TensorType(required(operands, 0).shape, DType.INT8),)


def _infer_dequantize(operands: Operands, attributes: Attributes) -> tuple[TensorType, ...]:
    return (TensorType(required(operands, 0).shape, DType.FLOAT32),)


def _quantize_version(node: Node) -> int:
    if DType.INT16 in (node.operand(0).dtype, node.result.dtype):
        return 3
    return 1 if node.operand(0).dtype.is_float and node.result.dtype is DType.UINT8 else 2


def _dequantize_version(node: Node) -> int:
    quantization = node.operand(0).type.quantization
    if quantization is not None and quantization.per_axis:
        return 5
    return by_dtype(int8=2, int16=3, float16=3)(node)


OPS = (
    OpSpec(
        name="quantize",
        operands=("x",),
        infer=_infer_quantize,
        layout=ELEMENTWISE,
        emit=Emit("QUANTIZE", "QuantizeOptions", _quantize_version),
    ),
    OpSpec(
        name="dequantize",
        operands=("x",),
        infer=_infer_dequantize,
        layout=ELEMENTWISE,
        emit=Emit("DEQUANTIZE", "DequantizeOptions", _dequantize_version),
    ),
)
