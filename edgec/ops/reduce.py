"""Reductions over constant axes, arg_max / arg_min, cumsum and topk_v2."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgec.ir import DYNAMIC, Attributes, DType, TensorType
from edgec.ops.infer import constant, expect, int_list, normalized_axis, required, vector
from edgec.ops.layout import FIXED, REDUCE, axis_operand
from edgec.ops.spec import (
    FREE,
    SAME_SCALE,
    Case,
    Emit,
    Gathering,
    Homogeneity,
    InferenceError,
    NonNegative,
    Operands,
    OpSpec,
    Quant,
    Support,
    support,
    unsupported,
)
from edgec.ops.versions import Version, by_dtype, fixed


@dataclass(frozen=True, slots=True)
class ReducerAttributes(Attributes):
    """Settings of every reduction; operand 1 lists the axes."""

    keep_dims: bool = False


@dataclass(frozen=True, slots=True)
class ArgMaxAttributes(Attributes):
    """Settings of arg_max (first index on ties)."""

    output_type: DType = DType.INT64


@dataclass(frozen=True, slots=True)
class ArgMinAttributes(Attributes):
    """Settings of arg_min (first index on ties)."""

    output_type: DType = DType.INT64


@dataclass(frozen=True, slots=True)
class CumsumAttributes(Attributes):
    """Settings of cumsum; operand 1 is the axis."""

    exclusive: bool = False
    reverse: bool = False


def _infer_reduce(operands: Operands, attributes: Attributes) -> tuple[TensorType, ...]:
    keep = expect(attributes, ReducerAttributes).keep_dims
    x = required(operands, 0)
    if required(operands, 1).data is None:
        dropped = 0 if keep else required(operands, 1).shape[0]
        vector(operands, 1)
        return (TensorType((DYNAMIC,) * (x.type.rank - dropped), x.dtype),)
    axes = {normalized_axis(axis, x.type.rank) for axis in int_list(constant(operands, 1))}
    shape = [1 if axis in axes else dim for axis, dim in enumerate(x.shape) if keep or axis not in axes]
    return (TensorType(tuple(shape), x.dtype),)


def _infer_arg(operands: Operands, attributes: Attributes) -> tuple[TensorType, ...]:
    x = required(operands, 0)
    output = getattr(attributes, "output_type", DType.INT64)
    if output not in (DType.INT32, DType.INT64):
        raise InferenceError(f"output_type {output} is neither int32 nor int64")
    axis = normalized_axis(int_list(constant(operands, 1))[0], x.type.rank)
    return (TensorType(x.shape[:axis] + x.shape[axis + 1 :], output),)


def _infer_cumsum(operands: Operands, attributes: Attributes) -> tuple[TensorType, ...]:
    x = required(operands, 0)
    axis = required(operands, 1)
    if axis.data is not None:
        normalized_axis(int_list(axis.data)[0], x.type.rank)
    return (TensorType(x.shape, x.dtype),)


def _infer_topk(operands: Operands, attributes: Attributes) -> tuple[TensorType, ...]:
    x = required(operands, 0)
    known = required(operands, 1).data
    k = DYNAMIC if known is None else int(known.reshape(()))
    if (known is not None and k < 0) or k > x.shape[-1] != DYNAMIC:
        raise InferenceError(f"k {k} is out of range for {x.shape[-1]} elements")
    shape = (*x.shape[:-1], k)
    return (TensorType(shape, x.dtype), TensorType(shape, DType.INT32))


_AXES = np.array([1, 2], np.int32)


def _reduction(
    name: str,
    version: Version,
    quant: Quant = FREE,
    *,
    support: Support,
    non_negative: NonNegative = NonNegative.UNKNOWN,
    homogeneous: Homogeneity = Homogeneity.NONE,
    gathers: Gathering = Gathering.UNKNOWN,
) -> OpSpec:
    values: object = np.arange(24).reshape(1, 2, 3, 4) % 2 > 0 if name in _BOOLEAN else (1, 2, 3, 4)
    return OpSpec(
        name=name,
        operands=("x", "axes"),
        attributes=ReducerAttributes,
        infer=_infer_reduce,
        layout=REDUCE,
        quant=quant,
        emit=Emit(name.upper(), "ReducerOptions", version),
        cases=(
            Case("spatial", (values, _AXES), ReducerAttributes(keep_dims=True)),
            Case("dropped", (values, _AXES), ReducerAttributes()),
        ),
        support=support,
        non_negative=non_negative,
        homogeneous=homogeneous,
        gathers=gathers,
    )


_BOOLEAN = ("reduce_any", "reduce_all")
_NO_INT8 = unsupported("the kernel has no int8 form")

OPS = (
    _reduction(
        "mean",
        by_dtype(int8=2, int16=3),
        support=support(
            "f32 i8 u8 i16 i32 i64",
            xnnpack="f32 f16 i8 u8",
            tflm="f32 i8 i16",
            max_version=3,
            claims_any_rank=True,
            xnnpack_when="constant axes",
        ),
        non_negative=NonNegative.OF_OPERANDS,
        homogeneous=Homogeneity.FIRST,
        gathers=Gathering.MEAN,
    ),
    _reduction(
        "sum",
        by_dtype(int8=2, int16=2),
        support=support(
            "f32 i8 u8 i16 i32 i64",
            xnnpack="f32 f16 i8 u8",
            tflm="f32 i8 i16",
            max_version=2,
            claims_any_rank=True,
            xnnpack_when="constant axes",
        ),
        non_negative=NonNegative.OF_OPERANDS,
        homogeneous=Homogeneity.FIRST,
    ),
    _reduction(
        "reduce_max",
        by_dtype(int8=2, int16=3),
        SAME_SCALE,
        support=support(
            "f32 i8 u8 i16 i32 i64",
            xnnpack="f32 f16 i8 u8",
            tflm="f32 i8",
            max_version=3,
            claims_any_rank=True,
            xnnpack_when="constant axes",
        ),
        non_negative=NonNegative.OF_OPERANDS,
        homogeneous=Homogeneity.FIRST,
        gathers=Gathering.ONE,
    ),
    _reduction(
        "reduce_min",
        by_dtype(int8=2, int16=3),
        SAME_SCALE,
        support=support(
            "f32 i8 u8 i16 i32 i64",
            xnnpack="f32 f16 i8 u8",
            tflm="f32 i8",
            max_version=3,
            claims_any_rank=True,
            xnnpack_when="constant axes",
        ),
        non_negative=NonNegative.OF_OPERANDS,
        homogeneous=Homogeneity.FIRST,
        gathers=Gathering.ONE,
    ),
    _reduction("reduce_prod", fixed(1), _NO_INT8, support=support("f32 i8 u8 i16 i32 i64", max_version=2)),
    _reduction("reduce_any", fixed(1), _NO_INT8, support=support("bool")),
    _reduction("reduce_all", fixed(1), _NO_INT8, support=support("bool", tflm="bool")),
    OpSpec(
        name="arg_max",
        operands=("x", "axis"),
        attributes=ArgMaxAttributes,
        infer=_infer_arg,
        layout=FIXED,
        emit=Emit("ARG_MAX", "ArgMaxOptions", by_dtype(int8=2, bool=3)),
        support=support("f32 i8 u8 i32 bool", tflm="f32 i8", max_version=3),
        cases=(Case("last", ((2, 5), np.array(1, np.int32)), ArgMaxAttributes()),),
    ),
    OpSpec(
        name="arg_min",
        operands=("x", "axis"),
        attributes=ArgMinAttributes,
        infer=_infer_arg,
        layout=FIXED,
        emit=Emit("ARG_MIN", "ArgMinOptions", by_dtype(int8=2, bool=3)),
        support=support("f32 i8 u8 i32 bool", tflm="f32 i8", max_version=3),
        cases=(Case("last", ((2, 5), np.array(1, np.int32)), ArgMinAttributes()),),
    ),
    OpSpec(
        name="cumsum",
        operands=("x", "axis"),
        attributes=CumsumAttributes,
        infer=_infer_cumsum,
        layout=axis_operand(1, 0),
        quant=_NO_INT8,
        emit=Emit("CUMSUM", "CumsumOptions"),
        support=support("f32 i32 i64", tflm="f32 i8"),
        cases=(Case("exclusive", ((2, 5), np.array(1, np.int32)), CumsumAttributes(exclusive=True)),),
    ),
    OpSpec(
        name="topk_v2",
        operands=("x", "k"),
        infer=_infer_topk,
        layout=FIXED,
        quant=SAME_SCALE,
        emit=Emit("TOPK_V2", "TopKV2Options", by_dtype(int8=2, int16=3)),
        support=support("f32 i8 u8 i16 i32 i64", max_version=3),
        cases=(Case("three", ((2, 5), np.array(3, np.int32))),),
    ),
)
