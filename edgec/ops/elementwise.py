"""Ops that work element by element, with NumPy broadcasting where they take two operands."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from edgec.ir import NO_ATTRIBUTES, Attributes, DType, Node, TensorType
from edgec.ops.infer import binary, broadcast, comparison, expect, required, same, same_shape
from edgec.ops.layout import ELEMENTWISE
from edgec.ops.spec import (
    FREE,
    SAME_SCALE,
    ActivationFunctionType,
    Case,
    Constraint,
    Emit,
    Homogeneity,
    Infer,
    InferenceError,
    InPlace,
    NonNegative,
    Operands,
    OpSpec,
    Quant,
    ScaleRatio,
    Support,
    fixed_output_scale,
    support,
    unsupported,
)
from edgec.ops.versions import Version, by_dtype, fixed


@dataclass(frozen=True, slots=True)
class AddAttributes(Attributes):
    """Settings of add."""

    fused_activation_function: ActivationFunctionType = ActivationFunctionType.NONE
    pot_scale_int16: bool = False


@dataclass(frozen=True, slots=True)
class SubAttributes(Attributes):
    """Settings of sub."""

    fused_activation_function: ActivationFunctionType = ActivationFunctionType.NONE
    pot_scale_int16: bool = False


@dataclass(frozen=True, slots=True)
class MulAttributes(Attributes):
    """Settings of mul."""

    fused_activation_function: ActivationFunctionType = ActivationFunctionType.NONE


@dataclass(frozen=True, slots=True)
class DivAttributes(Attributes):
    """Settings of div (integers truncate towards zero)."""

    fused_activation_function: ActivationFunctionType = ActivationFunctionType.NONE


@dataclass(frozen=True, slots=True)
class LeakyReluAttributes(Attributes):
    """Settings of leaky_relu."""

    alpha: float = 0.01


@dataclass(frozen=True, slots=True)
class GeluAttributes(Attributes):
    """Settings of gelu: erf form, or its tanh approximation."""

    approximate: bool = False


@dataclass(frozen=True, slots=True)
class CastAttributes(Attributes):
    """Settings of cast: floats become integers by truncation, saturating."""

    in_data_type: DType = DType.FLOAT32
    out_data_type: DType = DType.FLOAT32


def _infer_cast(operands: Operands, attributes: Attributes) -> tuple[TensorType, ...]:
    options = expect(attributes, CastAttributes)
    source = required(operands, 0).type
    if source.dtype is not options.in_data_type:
        raise InferenceError(f"operand is {source.dtype}, in_data_type says {options.in_data_type}")
    return (TensorType(source.shape, options.out_data_type),)


def _infer_select(operands: Operands, attributes: Attributes) -> tuple[TensorType, ...]:
    condition, x, y = (required(operands, index) for index in range(3))
    if condition.dtype is not DType.BOOL or x.dtype is not y.dtype:
        raise InferenceError(f"operands are {condition.dtype}, {x.dtype}, {y.dtype}")
    return (TensorType(broadcast((condition.shape, x.shape, y.shape)), x.dtype),)


def _infer_prelu(operands: Operands, attributes: Attributes) -> tuple[TensorType, ...]:
    x, alpha = required(operands, 0), required(operands, 1)
    shape = broadcast((x.shape, alpha.shape))
    if shape != x.shape:
        raise InferenceError(f"slope {alpha.shape} does not broadcast to {x.shape}")
    return (TensorType(shape, x.dtype),)


def _mul_version(node: Node) -> int:
    """An int8 product whose rescale factor is 1 or more needs version 3."""
    x, y, out = node.operand(0).type, node.operand(1).type, node.result.type
    if x.quantization and y.quantization and out.quantization:
        factor = x.quantization.scale[0] * y.quantization.scale[0] / out.quantization.scale[0]
        if factor >= 1.0:
            return 3
    return by_dtype(int8=2, int16=4, int64=5, uint32=7)(node)


def _wide_broadcast(version: Version, wide: int) -> Version:
    """Broadcasting beyond rank 4 needs a higher version."""

    def result(node: Node) -> int:
        x, y = node.operand(0), node.operand(1)
        is_wide = x.shape != y.shape and max(x.type.rank, y.type.rank) > 4
        return max(version(node), wide) if is_wide else version(node)

    return result


def _unary(
    name: str,
    quant: Quant = FREE,
    version: Version | None = None,
    *,
    attributes: type[Attributes] = Attributes,
    options: str | None = None,
    low: float = -3.0,
    high: float = 3.0,
    infer: Infer = same,
    support: Support,
    non_negative: NonNegative = NonNegative.UNKNOWN,
    homogeneous: Homogeneity = Homogeneity.NONE,
) -> OpSpec:
    ramp = np.linspace(low, high, 24, dtype=np.float32).reshape(1, 2, 3, 4)
    return OpSpec(
        name=name,
        operands=("x",),
        attributes=attributes,
        infer=infer,
        layout=ELEMENTWISE,
        quant=quant,
        emit=Emit(name.upper(), options, version or by_dtype(int8=2, int16=2)),
        cases=(Case("ramp", (ramp,), attributes() if attributes is not Attributes else NO_ATTRIBUTES),),
        support=support,
        non_negative=non_negative,
        homogeneous=homogeneous,
    )


def _binary(
    name: str,
    version: Version,
    quant: Quant = FREE,
    *,
    attributes: type[Attributes] = Attributes,
    options: str | None = None,
    infer: Infer = binary,
    broadcasts: bool = True,
    support: Support,
    in_place: InPlace = InPlace.NEVER,
    non_negative: NonNegative = NonNegative.UNKNOWN,
    homogeneous: Homogeneity = Homogeneity.NONE,
) -> OpSpec:
    ramp = np.linspace(0.5, 3.0, 24, dtype=np.float32).reshape(1, 2, 3, 4)
    made = attributes() if attributes is not Attributes else NO_ATTRIBUTES
    cases = (
        Case("same_shape", (ramp, ramp[..., ::-1]), made),
        Case("broadcast", (ramp, ramp[0, 0, 0]), made),
    )
    return OpSpec(
        name=name,
        operands=("x", "y"),
        attributes=attributes,
        infer=infer,
        layout=ELEMENTWISE,
        quant=quant,
        emit=Emit(name.upper(), options, version),
        cases=cases if broadcasts else cases[:1],
        support=support,
        in_place=in_place,
        non_negative=non_negative,
        homogeneous=homogeneous,
    )


_LOGISTIC = fixed_output_scale(int8=(1 / 256, -128), int16=(1 / 32768, 0))
_TANH = fixed_output_scale(int8=(1 / 128, 0), int16=(1 / 32768, 0))
_SUM = Quant(ratio=ScaleRatio(2**-10, 2**8))
_PRODUCT = Quant(ratio=ScaleRatio(2**-16, 2**8, product=True))
_QUOTIENT = Quant(refuses_zero=1, lookup=True)
"""LiteRT 2.3.0's int8 kernel ends the run at a divisor of 0, and wraps around where a quotient is large."""

_FLOAT_ONLY = Quant(Constraint.UNSUPPORTED, reason="the kernel has no int8 form", lookup=True)
_BOOL = unsupported("works on bool")

_INT16_ONLY = replace(_FLOAT_ONLY, int16_only=True)
_COMPARED = Quant(int16_reason="its int16 kernel compares integers as they are, whatever their scales")
_MIN_MAX_VERSION = _wide_broadcast(by_dtype(int8=2, int16=4), 3)

_ARITHMETIC = (
    _binary(
        "add",
        by_dtype(int8=2, int16=3, int64=4),
        _SUM,
        attributes=AddAttributes,
        options="AddOptions",
        support=support(
            "f32 f16 i8 u8 i16 i32 i64", xnnpack="f32 f16 i8 u8", tflm="f32 i8 i16 i32", max_version=6
        ),
        in_place=InPlace.ONLY_READER,
        non_negative=NonNegative.OF_OPERANDS,
        homogeneous=Homogeneity.TOGETHER,
    ),
    _binary(
        "sub",
        _wide_broadcast(by_dtype(int8=2, int16=5, int64=4), 3),
        _SUM,
        attributes=SubAttributes,
        options="SubOptions",
        support=support(
            "f32 i8 u8 i16 i32 i64", xnnpack="f32 f16 i8 u8", tflm="f32 i8 i16 i32", max_version=5
        ),
        in_place=InPlace.ONLY_READER,
        homogeneous=Homogeneity.TOGETHER,
    ),
    _binary(
        "mul",
        _mul_version,
        _PRODUCT,
        attributes=MulAttributes,
        options="MulOptions",
        support=support(
            "f32 f16 i8 u8 i16 i32 u32 i64", xnnpack="f32 f16 i8 u8", tflm="f32 i8 i16 i32", max_version=8
        ),
        in_place=InPlace.ONLY_READER,
        non_negative=NonNegative.OF_OPERANDS,
        homogeneous=Homogeneity.EACH,
    ),
    _binary(
        "div",
        _wide_broadcast(fixed(1), 2),
        _QUOTIENT,
        attributes=DivAttributes,
        options="DivOptions",
        support=support("f32 i8 u8 i16 i32", xnnpack="f32 f16", tflm="f32 i8 i32", max_version=2),
        in_place=InPlace.ONLY_READER,
        non_negative=NonNegative.OF_OPERANDS,
    ),
    _binary(
        "maximum",
        _wide_broadcast(by_dtype(int8=2, int16=4), 3),
        SAME_SCALE,
        options="MaximumMinimumOptions",
        support=support(
            "f32 f16 i8 u8 i16 i32 i64", xnnpack="f32 f16", tflm="f32 i8 i16 i32 i64", max_version=4
        ),
        non_negative=NonNegative.OF_OPERANDS,
        homogeneous=Homogeneity.TOGETHER,
    ),
    _binary(
        "minimum",
        _wide_broadcast(by_dtype(int8=2, int16=4), 3),
        SAME_SCALE,
        options="MaximumMinimumOptions",
        support=support(
            "f32 f16 i8 u8 i16 i32 i64", xnnpack="f32 f16", tflm="f32 i8 i16 i32 i64", max_version=4
        ),
        non_negative=NonNegative.OF_OPERANDS,
        homogeneous=Homogeneity.TOGETHER,
    ),
    _binary(
        "squared_difference",
        by_dtype(int8=2, int16=2),
        options="SquaredDifferenceOptions",
        support=support("f32 i8 i32", xnnpack="f32 f16", tflm="f32 i8 i16 i32", max_version=2),
        non_negative=NonNegative.ALWAYS,
    ),
    _binary("pow", fixed(1), _FLOAT_ONLY, options="PowOptions", support=support("f32 i32")),
    _binary(
        "floor_div",
        by_dtype(base=1, float32=2, int16=3, int8=3),
        _FLOAT_ONLY,
        options="FloorDivOptions",
        support=support("f32 i8 i16 i32", tflm="f32", max_version=3),
    ),
    _binary(
        "floor_mod",
        by_dtype(int16=2, int8=2),
        _FLOAT_ONLY,
        options="FloorModOptions",
        support=support("f32 i8 i16 i32 i64", tflm="f32", max_version=2),
    ),
    _binary(
        "atan2",
        fixed(1),
        _FLOAT_ONLY,
        options="ATan2Options",
        infer=same_shape,
        broadcasts=False,
        support=support("f32 f16"),
    ),
)

_COMPARISONS = (
    _binary(
        "equal",
        by_dtype(int8=2, bool=3, int16=5),
        _COMPARED,
        infer=comparison,
        options="EqualOptions",
        support=support("f32 f16 i8 u8 i16 i32 i64 bool", tflm="f32 i8 i32 i64 bool", max_version=5),
    ),
    _binary(
        "not_equal",
        by_dtype(int8=2, bool=3, int16=4),
        _COMPARED,
        infer=comparison,
        options="NotEqualOptions",
        support=support("f32 f16 i8 u8 i16 i32 i64 bool", tflm="f32 i8 i32 i64 bool", max_version=4),
    ),
    _binary(
        "greater",
        by_dtype(int8=2),
        _COMPARED,
        infer=comparison,
        options="GreaterOptions",
        support=support("f32 f16 i8 u8 i16 i32 i64", tflm="f32 i8 i32 i64", max_version=2),
    ),
    _binary(
        "greater_equal",
        by_dtype(int8=2, int16=3),
        _COMPARED,
        infer=comparison,
        options="GreaterEqualOptions",
        support=support("f32 f16 i8 u8 i16 i32 i64", tflm="f32 i8 i32 i64", max_version=3),
    ),
    _binary(
        "less",
        by_dtype(int8=2, int16=3),
        _COMPARED,
        infer=comparison,
        options="LessOptions",
        support=support("f32 f16 i8 u8 i16 i32 i64", tflm="f32 i8 i32 i64", max_version=3),
    ),
    _binary(
        "less_equal",
        by_dtype(int8=2),
        _COMPARED,
        infer=comparison,
        options="LessEqualOptions",
        support=support("f32 f16 i8 u8 i16 i32 i64", tflm="f32 i8 i32 i64", max_version=2),
    ),
)


def _logical(name: str, options: str, operands: tuple[str, ...], support: Support) -> OpSpec:
    flags = np.array([True, False, True, True])
    return OpSpec(
        name=name,
        operands=operands,
        infer=binary if len(operands) == 2 else same,
        layout=ELEMENTWISE,
        quant=_BOOL,
        emit=Emit(name.upper(), options),
        cases=(Case("flags", (flags, ~flags)[: len(operands)]),),
        support=support,
    )


_LOGICAL = (
    _logical("logical_and", "LogicalAndOptions", ("x", "y"), support=support("bool", tflm="bool")),
    _logical("logical_or", "LogicalOrOptions", ("x", "y"), support=support("bool", tflm="bool")),
    _logical("logical_not", "LogicalNotOptions", ("x",), support=support("bool", tflm="bool")),
)

_ACTIVATIONS = (
    _unary(
        "relu",
        version=by_dtype(int8=2, int16=3),
        support=support("f32 i8 u8 i16", xnnpack="f32 f16", tflm="f32 i8 i16", max_version=3),
        non_negative=NonNegative.ALWAYS,
        homogeneous=Homogeneity.FIRST,
    ),
    _unary(
        "relu6",
        version=by_dtype(int8=2, int16=3),
        low=-3,
        high=9,
        support=support("f32 i8 u8 i16", xnnpack="f32 f16", tflm="f32 i8", max_version=3),
        non_negative=NonNegative.ALWAYS,
    ),
    _unary("relu_n1_to_1", version=fixed(1), support=support("f32 i8 u8", xnnpack="f32 f16")),
    _unary(
        "logistic",
        _LOGISTIC,
        by_dtype(int8=2, int16=3),
        support=support("f32 f16 i8 u8 i16", xnnpack="f32 f16 i8 u8", tflm="f32 i8 i16", max_version=3),
        non_negative=NonNegative.ALWAYS,
    ),
    _unary(
        "tanh",
        _TANH,
        by_dtype(int8=2, int16=3),
        support=support("f32 f16 i8 u8 i16", xnnpack="f32 f16 i8 u8", tflm="f32 i8 i16", max_version=3),
    ),
    _unary(
        "hard_swish",
        version=fixed(1),
        options="HardSwishOptions",
        low=-5,
        high=5,
        support=support("f32 i8 u8", xnnpack="f32 f16", tflm="f32 i8"),
    ),
    _unary("elu", version=fixed(1), support=support("f32 i8", xnnpack="f32 f16 i8", tflm="f32 i8")),
    _unary(
        "gelu",
        attributes=GeluAttributes,
        options="GeluOptions",
        version=by_dtype(int8=2),
        support=support("f32 f16 i8 u8 i16", xnnpack="f32 f16", max_version=3),
    ),
    _unary(
        "leaky_relu",
        attributes=LeakyReluAttributes,
        options="LeakyReluOptions",
        version=by_dtype(int16=2),
        support=support("f32 i8 u8 i16", xnnpack="f32 f16 i8 u8", tflm="f32 i8 i16", max_version=2),
        homogeneous=Homogeneity.FIRST,
    ),
)

_MATH = (
    _unary(
        "abs",
        options="AbsOptions",
        version=by_dtype(int8=2, int16=3, int32=5),
        support=support("f32 i8 i16 i32", xnnpack="f32 f16", tflm="f32 i8 i16", max_version=5),
        non_negative=NonNegative.ALWAYS,
    ),
    _unary(
        "neg",
        options="NegOptions",
        version=fixed(1),
        quant=_INT16_ONLY,
        support=support("f32 f16 i8 i16 i32 i64", xnnpack="f32 f16", tflm="f32"),
    ),
    _unary(
        "exp",
        options="ExpOptions",
        support=support("f32 i8 i16", xnnpack="f32 f16", tflm="f32", max_version=2),
        non_negative=NonNegative.ALWAYS,
    ),
    _unary("log", low=0.1, support=support("f32 i8 i16", xnnpack="f32 f16", tflm="f32", max_version=2)),
    _unary(
        "sqrt",
        low=0.0,
        version=by_dtype(int16=2),
        quant=_INT16_ONLY,
        support=support("f32 i16", xnnpack="f32 f16", tflm="f32", max_version=2),
        non_negative=NonNegative.ALWAYS,
    ),
    _unary(
        "rsqrt",
        low=0.1,
        version=by_dtype(int8=2, int16=3),
        support=support("f32 i8 i16", xnnpack="f32 f16", tflm="f32 i16", max_version=3),
        non_negative=NonNegative.ALWAYS,
    ),
    _unary(
        "square",
        options="SquareOptions",
        version=fixed(1),
        quant=_FLOAT_ONLY,
        support=support("f32", xnnpack="f32 f16", tflm="f32"),
        non_negative=NonNegative.ALWAYS,
    ),
    _unary(
        "sin",
        version=fixed(1),
        quant=_FLOAT_ONLY,
        support=support("f32 f16", xnnpack="f32 f16", tflm="f32", max_version=2),
    ),
    _unary(
        "cos",
        options="CosOptions",
        version=fixed(1),
        quant=_FLOAT_ONLY,
        support=support("f32 f16", xnnpack="f32 f16", tflm="f32", max_version=2),
    ),
    _unary(
        "floor",
        version=fixed(1),
        quant=_FLOAT_ONLY,
        support=support("f32 f16", xnnpack="f32 f16", tflm="f32"),
    ),
    _unary(
        "ceil", version=fixed(1), quant=_FLOAT_ONLY, support=support("f32", xnnpack="f32 f16", tflm="f32")
    ),
    _unary(
        "round",
        version=fixed(1),
        quant=_FLOAT_ONLY,
        support=support("f32 f16", xnnpack="f32 f16", tflm="f32"),
    ),
    _unary(
        "sign",
        version=by_dtype(int32=2),
        quant=_FLOAT_ONLY,
        options="SignOptions",
        support=support("f32 i32", max_version=2),
    ),
)

_WORDS = np.array([[8, 100, 7]], np.int32)

_BITS = (
    OpSpec(
        name="right_shift",
        operands=("x", "y"),
        infer=binary,
        layout=ELEMENTWISE,
        quant=unsupported("works on the bits of integers"),
        emit=Emit("RIGHT_SHIFT", "RightShiftOptions"),
        support=support("i8 u8 i16 i32 u32"),
        cases=(Case("broadcast", (_WORDS, np.array([[1], [3]], np.int32))),),
    ),
    OpSpec(
        name="stablehlo_and",
        operands=("x", "y"),
        infer=same_shape,
        layout=ELEMENTWISE,
        quant=unsupported("works on the bits of integers"),
        emit=Emit("STABLEHLO_AND"),
        support=support("i8 u8 i16 i32 u32 i64 bool"),
        cases=(Case("masked", (_WORDS, np.array([[12, 5, -1]], np.int32))),),
    ),
)

_PRELU = OpSpec(
    name="prelu",
    operands=("x", "alpha"),
    infer=_infer_prelu,
    layout=ELEMENTWISE,
    quant=Quant(int16_reason="its int16 kernel multiplies integers as they are, whatever their scales"),
    emit=Emit("PRELU"),
    support=support("f32 i8 u8 i16", xnnpack="f32 f16", tflm="f32 i8", tflm_rank=4),
    cases=(Case("per_channel", ((1, 2, 3, 4), np.array([0.1, 0.2, -0.3, 0.4], np.float32))),),
    homogeneous=Homogeneity.FIRST,
)

_SELECT = OpSpec(
    name="select_v2",
    operands=("condition", "x", "y"),
    infer=_infer_select,
    layout=ELEMENTWISE,
    quant=SAME_SCALE,
    emit=Emit("SELECT_V2", "SelectV2Options"),
    support=support("f32 f16 i8 u8 i16 i32 u32 i64 bool", tflm="f32 i8 i16", max_version=2),
    cases=(Case("broadcast", (np.array([True, False, True, False]), (1, 2, 3, 4), (1, 2, 3, 4))),),
)

_CAST = OpSpec(
    name="cast",
    operands=("x",),
    attributes=CastAttributes,
    infer=_infer_cast,
    layout=ELEMENTWISE,
    quant=_FLOAT_ONLY,
    emit=Emit("CAST", "CastOptions"),
    support=support("f32 f16 f64 i8 u8 i16 u16 i32 u32 i64 bool", tflm="f32 i8 i16 i32 bool", max_version=9),
    cases=(
        Case(
            "float_to_int",
            (np.array([-1.5, 0.0, 2.9], np.float32),),
            CastAttributes(DType.FLOAT32, DType.INT32),
        ),
    ),
)

OPS = (*_ARITHMETIC, *_COMPARISONS, *_LOGICAL, *_ACTIVATIONS, *_MATH, *_BITS, _PRELU, _SELECT, _CAST)
