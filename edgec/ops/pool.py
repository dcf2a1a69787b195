"""Pooling over NHWC windows. SAME padding leaves padded cells out of averages and maxima."""

from __future__ import annotations

from dataclasses import dataclass

from edgec.ir import Attributes, TensorType
from edgec.ops.infer import expect, required, window_output
from edgec.ops.layout import CHANNELS_LAST
from edgec.ops.spec import (
    BLENDING,
    FREE,
    SAME_SCALE,
    ActivationFunctionType,
    Case,
    Emit,
    Gathering,
    Homogeneity,
    InferenceError,
    NonNegative,
    Operands,
    OpSpec,
    Padding,
    Quant,
    Support,
    support,
    unsupported,
)
from edgec.ops.versions import by_dtype, fixed


@dataclass(frozen=True, slots=True)
class Pool2DAttributes(Attributes):
    """Settings of every pooling op."""

    padding: Padding = Padding.VALID
    stride_w: int = 1
    stride_h: int = 1
    filter_width: int = 1
    filter_height: int = 1
    fused_activation_function: ActivationFunctionType = ActivationFunctionType.NONE


def _infer(operands: Operands, attributes: Attributes) -> tuple[TensorType, ...]:
    pool = expect(attributes, Pool2DAttributes)
    x = required(operands, 0)
    if x.type.rank != 4:
        raise InferenceError(f"input {x.shape} must have rank 4")
    height = window_output(x.shape[1], pool.filter_height, pool.stride_h, 1, pool.padding)
    width = window_output(x.shape[2], pool.filter_width, pool.stride_w, 1, pool.padding)
    return (TensorType((x.shape[0], height, width, x.shape[3]), x.dtype),)


def _pool(
    name: str,
    builtin: str,
    quant: Quant,
    *,
    support: Support,
    non_negative: NonNegative,
    homogeneous: Homogeneity = Homogeneity.NONE,
    gathers: Gathering = Gathering.UNKNOWN,
) -> OpSpec:
    version = by_dtype(int8=2, int16=3) if quant is not FREE and quant.supported else fixed(1)
    return OpSpec(
        name=name,
        operands=("x",),
        attributes=Pool2DAttributes,
        infer=_infer,
        layout=CHANNELS_LAST,
        quant=quant,
        emit=Emit(builtin, "Pool2DOptions", version),
        cases=(
            Case("valid", ((1, 6, 5, 3),), Pool2DAttributes(Padding.VALID, 2, 2, 2, 2)),
            Case("same", ((1, 6, 5, 3),), Pool2DAttributes(Padding.SAME, 2, 2, 3, 3)),
        ),
        support=support,
        non_negative=non_negative,
        homogeneous=homogeneous,
        gathers=gathers,
    )


OPS = (
    _pool(
        "average_pool_2d",
        "AVERAGE_POOL_2D",
        BLENDING,
        support=support("f32 i8 u8 i16", xnnpack="f32 f16", tflm="f32 i8 i16", max_version=3),
        non_negative=NonNegative.OF_OPERANDS,
        homogeneous=Homogeneity.FIRST,
        gathers=Gathering.MEAN,
    ),
    _pool(
        "max_pool_2d",
        "MAX_POOL_2D",
        SAME_SCALE,
        support=support("f32 i8 u8 i16", xnnpack="f32 i8 u8", tflm="f32 i8 i16", max_version=3),
        non_negative=NonNegative.OF_OPERANDS,
        homogeneous=Homogeneity.FIRST,
        gathers=Gathering.ONE,
    ),
    _pool(
        "l2_pool_2d",
        "L2_POOL_2D",
        unsupported("the L2_POOL_2D kernel is float only"),
        support=support("f32", tflm="f32"),
        non_negative=NonNegative.ALWAYS,
    ),
)
