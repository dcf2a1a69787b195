"""Ops that normalize along the last axis: softmax, log_softmax, l2_normalization; and local response."""

from __future__ import annotations

from dataclasses import dataclass, field

from edgec.ir import Attributes, DType, TensorType
from edgec.ops.infer import expect, same
from edgec.ops.layout import CHANNELS_LAST, LAST_AXIS
from edgec.ops.spec import (
    Case,
    Emit,
    InPlace,
    NonNegative,
    Operands,
    OpSpec,
    fixed_output_scale,
    support,
    unsupported,
)
from edgec.ops.versions import by_dtype


@dataclass(frozen=True, slots=True)
class SoftmaxAttributes(Attributes):
    """Settings of softmax. `wide_result`: an int16 result from an int8 operand, which old files have."""

    beta: float = 1.0
    wide_result: bool = field(default=False, metadata={"emitted": False})


@dataclass(frozen=True, slots=True)
class L2NormAttributes(Attributes):
    """Settings of l2_normalization."""


@dataclass(frozen=True, slots=True)
class LocalResponseNormalizationAttributes(Attributes):
    """Settings of local_response_normalization; the window is `2 * radius + 1` channels."""

    radius: int = 0
    bias: float = 0.0
    alpha: float = 0.0
    beta: float = 0.0


def _infer_softmax(operands: Operands, attributes: Attributes) -> tuple[TensorType, ...]:
    (type,) = same(operands, attributes)
    wide = expect(attributes, SoftmaxAttributes).wide_result
    return (TensorType(type.shape, DType.INT16) if wide else type,)


OPS = (
    OpSpec(
        name="softmax",
        operands=("x",),
        attributes=SoftmaxAttributes,
        infer=_infer_softmax,
        layout=LAST_AXIS,
        quant=fixed_output_scale(int8=(1 / 256, -128), int16=(1 / 32768, 0)),
        emit=Emit("SOFTMAX", "SoftmaxOptions", by_dtype(int8=2, int16=3)),
        support=support(
            "f32 f16 i8 u8 i16",
            xnnpack="f32 f16",
            tflm="f32 i8 i16",
            max_version=4,
            claims_any_rank=True,
            xnnpack_when="beta 1",
        ),
        in_place=InPlace.ONLY_READER,
        non_negative=NonNegative.ALWAYS,
        cases=(Case("rank2", ((2, 5),), SoftmaxAttributes()),),
    ),
    OpSpec(
        name="log_softmax",
        operands=("x",),
        infer=same,
        layout=LAST_AXIS,
        quant=fixed_output_scale(int8=(16 / 256, 127)),
        emit=Emit("LOG_SOFTMAX", "LogSoftmaxOptions", by_dtype(int8=2)),
        support=support("f32 i8 u8", tflm="f32 i8", max_version=2),
        cases=(Case("rank2", ((2, 5),)),),
    ),
    OpSpec(
        name="l2_normalization",
        operands=("x",),
        attributes=L2NormAttributes,
        infer=same,
        layout=LAST_AXIS,
        quant=fixed_output_scale(int8=(1 / 128, 0)),
        emit=Emit("L2_NORMALIZATION", "L2NormOptions", by_dtype(int8=2)),
        support=support("f32 i8 u8", tflm="f32 i8", max_version=2, tflm_rank=4),
        cases=(Case("rank2", ((2, 5),), L2NormAttributes()),),
    ),
    OpSpec(
        name="local_response_normalization",
        operands=("x",),
        attributes=LocalResponseNormalizationAttributes,
        infer=same,
        layout=CHANNELS_LAST,
        quant=unsupported("the LOCAL_RESPONSE_NORMALIZATION kernel is float only"),
        emit=Emit("LOCAL_RESPONSE_NORMALIZATION", "LocalResponseNormalizationOptions"),
        support=support("f32"),
        cases=(Case("window5", ((1, 3, 3, 8),), LocalResponseNormalizationAttributes(2, 1.0, 1e-4, 0.75)),),
    ),
)
