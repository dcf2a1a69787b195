"""bitcast: the same bits as another element type of the same width."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgec.ir import Attributes, DType, TensorType
from edgec.ops.infer import expect, required
from edgec.ops.layout import ELEMENTWISE
from edgec.ops.spec import Case, Emit, InferenceError, Operands, OpSpec, Support, unsupported


@dataclass(frozen=True, slots=True)
class BitcastAttributes(Attributes):
    """The element type of the result, which the file keeps on the result's tensor."""

    to: DType = DType.INT32


def _infer_bitcast(operands: Operands, attributes: Attributes) -> tuple[TensorType, ...]:
    x, to = required(operands, 0), expect(attributes, BitcastAttributes).to
    if x.dtype.numpy.itemsize != to.numpy.itemsize:
        raise InferenceError(f"{x.dtype} and {to} differ in width")
    return (TensorType(x.shape, to),)


OPS = (
    OpSpec(
        name="bitcast",
        operands=("x",),
        attributes=BitcastAttributes,
        infer=_infer_bitcast,
        layout=ELEMENTWISE,
        quant=unsupported("the bits of a number change when it is quantized"),
        emit=Emit("BITCAST"),
        fold=lambda node: (
            node.operand(0).constant().view(expect(node.attributes, BitcastAttributes).to.numpy),
        ),
        support=Support(litert=frozenset(DType) - {DType.INT4, DType.RESOURCE}),
        cases=(
            Case("float_to_int", ((2, 3),), BitcastAttributes(DType.INT32)),
            Case("int_to_float", (np.array([1, -5], np.int32),), BitcastAttributes(DType.FLOAT32)),
            Case("wide", (np.array([1, -5], np.int64),), BitcastAttributes(DType.UINT64)),
            Case("unsigned", (np.array([1, -5], np.int8),), BitcastAttributes(DType.UINT8)),
        ),
    ),
)
