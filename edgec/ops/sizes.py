"""Ops whose results have a size that the data decides, and those that compute sizes at run time."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

import numpy as np

from edgec.ir import DYNAMIC, Array, Attributes, DType, Node, TensorType
from edgec.ops.infer import broadcast, expect, required, vector
from edgec.ops.layout import FIXED
from edgec.ops.spec import Case, Emit, InferenceError, Operands, OpSpec, support, unsupported
from edgec.ops.versions import by_dtype


@dataclass(frozen=True, slots=True)
class ShapeAttributes(Attributes):
    """Settings of shape."""

    out_type: DType = DType.INT32


@dataclass(frozen=True, slots=True)
class UniqueAttributes(Attributes):
    """Settings of unique: the element type of the second result, the place of every element in the first."""

    idx_out_type: DType = DType.INT32


def _infer_shape(operands: Operands, attributes: Attributes) -> tuple[TensorType, ...]:
    return (TensorType((required(operands, 0).type.rank,), expect(attributes, ShapeAttributes).out_type),)


def _infer_where(operands: Operands, attributes: Attributes) -> tuple[TensorType, ...]:
    condition = required(operands, 0)
    if condition.type.rank == 0:
        raise InferenceError("a scalar has no places to list")
    return (TensorType((DYNAMIC, condition.type.rank), DType.INT64),)


def _infer_range(operands: Operands, attributes: Attributes) -> tuple[TensorType, ...]:
    bounds = [required(operands, index) for index in range(3)]
    if any(value.shape != () or value.dtype is not bounds[0].dtype for value in bounds):
        raise InferenceError(
            f"bounds are {', '.join(str(value.type) for value in bounds)}, not scalars of one type"
        )
    known = [value.data.item() for value in bounds if value.data is not None]
    if len(known) < len(bounds):
        return (TensorType((DYNAMIC,), bounds[0].dtype),)
    start, limit, delta = known
    if delta == 0:
        raise InferenceError("a step of 0 never ends")
    return (TensorType((max(ceil((limit - start) / delta), 0),), bounds[0].dtype),)


def _infer_fill(operands: Operands, attributes: Attributes) -> tuple[TensorType, ...]:
    dims, value = required(operands, 0), required(operands, 1)
    known = vector(operands, 0)
    if value.shape != ():
        raise InferenceError(f"the value is {value.type}, not a scalar")
    shape = (DYNAMIC,) * dims.shape[0] if known is None else tuple(known)
    return (TensorType(shape, value.dtype),)


def _infer_unique(operands: Operands, attributes: Attributes) -> tuple[TensorType, ...]:
    x = required(operands, 0)
    if x.type.rank != 1:
        raise InferenceError(f"{x.type} is no vector")
    return (
        TensorType((DYNAMIC,), x.dtype),
        TensorType(x.shape, expect(attributes, UniqueAttributes).idx_out_type),
    )


def _infer_broadcast_args(operands: Operands, attributes: Attributes) -> tuple[TensorType, ...]:
    one, other = required(operands, 0), required(operands, 1)
    if one.dtype is not other.dtype:
        raise InferenceError(f"shapes are {one.type} and {other.type}")
    known = [vector(operands, index) for index in range(2)]
    if known[0] is not None and known[1] is not None:
        return (TensorType((len(broadcast((tuple(known[0]), tuple(known[1])))),), one.dtype),)
    return (TensorType((max(one.shape[0], other.shape[0]),), one.dtype),)


def _fold_shape(node: Node) -> tuple[Array, ...] | None:
    x = node.operand(0)
    return (np.asarray(x.shape, node.result.dtype.numpy),) if x.type.is_static else None


_NO_INT8 = unsupported("results are indices or sizes, or their number depends on the data")
_ANY = "f32 f16 i8 u8 i16 i32 u32 i64 bool"

OPS = (
    OpSpec(
        name="shape",
        operands=("x",),
        attributes=ShapeAttributes,
        infer=_infer_shape,
        layout=FIXED,
        quant=_NO_INT8,
        emit=Emit("SHAPE", "ShapeOptions"),
        fold=_fold_shape,
        support=support(_ANY, tflm="f32 i8 i16 i32 i64 bool"),
        cases=(Case("int64", ((2, 3),), ShapeAttributes(DType.INT64)),),
    ),
    OpSpec(
        name="where",
        operands=("condition",),
        infer=_infer_where,
        layout=FIXED,
        quant=_NO_INT8,
        emit=Emit("WHERE", "WhereOptions"),
        support=support("f32 i8 u8 i32 u32 i64 bool"),
    ),
    OpSpec(
        name="range",
        operands=("start", "limit", "delta"),
        infer=_infer_range,
        layout=FIXED,
        quant=_NO_INT8,
        emit=Emit("RANGE", "RangeOptions"),
        support=support("f32 i32 i64", max_version=2),
    ),
    OpSpec(
        name="fill",
        operands=("dims", "value"),
        infer=_infer_fill,
        layout=FIXED,
        quant=_NO_INT8,
        emit=Emit("FILL", "FillOptions", by_dtype(operand=1, int8=2, int16=2, bool=3, float16=4)),
        support=support("i32 i64", tflm="i32", max_version=5),
        cases=(Case("scalar", (np.array([2, 3], np.int32), ())),),
    ),
    OpSpec(
        name="unique",
        operands=("x",),
        attributes=UniqueAttributes,
        infer=_infer_unique,
        layout=FIXED,
        quant=_NO_INT8,
        emit=Emit("UNIQUE", "UniqueOptions"),
        support=support("f32 i8 u8 i16 i32 i64"),
    ),
    OpSpec(
        name="broadcast_args",
        operands=("shape", "other"),
        infer=_infer_broadcast_args,
        layout=FIXED,
        quant=_NO_INT8,
        emit=Emit("BROADCAST_ARGS"),
        support=support("i32 i64"),
        cases=(Case("longer", (np.array([3, 1], np.int32), np.array([2, 1, 4], np.int32))),),
    ),
)
