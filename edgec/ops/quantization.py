"""The two bridges between float and integer: quantize (also int → int requantize) and dequantize.

In a file the parameters stand on the integer tensor alone. A source that is quantized already gives them to
the operator; until the integer tensors have types of their own, they stay with the node (`GridAttributes`),
where no rewrite of a neighbour loses them.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgec.ir import Attributes, DType, Node, Quantization, TensorType
from edgec.ops.infer import required
from edgec.ops.layout import ELEMENTWISE
from edgec.ops.spec import (
    Emit,
    Operands,
    OpSpec,
    support,
    unsupported,
)
from edgec.ops.versions import by_dtype


@dataclass(frozen=True, slots=True)
class GridAttributes(Attributes):
    """The integer side of a bridge: element type and parameters, as its source model gives them."""

    dtype: DType
    quantization: Quantization


def _infer_quantize(operands: Operands, attributes: Attributes) -> tuple[TensorType, ...]:
    if isinstance(attributes, GridAttributes):
        return (TensorType(required(operands, 0).shape, attributes.dtype, attributes.quantization),)
    return (TensorType(required(operands, 0).shape, DType.INT8),)


def _infer_dequantize(operands: Operands, attributes: Attributes) -> tuple[TensorType, ...]:
    return (TensorType(required(operands, 0).shape, DType.FLOAT32),)


def _quantize_version(node: Node) -> int:
    quantization = node.result.type.quantization
    if quantization is not None and quantization.per_axis:
        return 3
    return 2 if node.result.dtype is DType.INT16 else 1


def _dequantize_version(node: Node) -> int:
    if node.operand(0).dtype is DType.INT4:
        return 6
    quantization = node.operand(0).type.quantization
    if quantization is not None and quantization.per_axis:
        return 5
    return by_dtype(int8=2, int16=3, float16=3)(node)


_BRIDGE = unsupported("the model is quantized already at this point")

OPS = (
    OpSpec(
        name="quantize",
        operands=("x",),
        infer=_infer_quantize,
        layout=ELEMENTWISE,
        quant=_BRIDGE,
        emit=Emit("QUANTIZE", version=_quantize_version),
        support=support("f32 i8 u8 i16 i32", xnnpack="f32 f16 i8 u8", tflm="f32 i8 i16 i32", max_version=6),
        carries=True,
    ),
    OpSpec(
        name="dequantize",
        operands=("x",),
        infer=_infer_dequantize,
        layout=ELEMENTWISE,
        quant=_BRIDGE,
        emit=Emit("DEQUANTIZE", version=_dequantize_version),
        support=support("f16 i4 i8 u8 i16", xnnpack="i8 u8", tflm="i8 i16", max_version=9),
        carries=True,
    ),
)
