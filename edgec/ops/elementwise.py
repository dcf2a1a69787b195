"""Ops that work element by element, with NumPy broadcasting where they take two operands."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgec.ir import NO_ATTRIBUTES, Attributes, DType, Node, TensorType
from edgec.ops.infer import binary, broadcast, comparison, expect, required, same, same_shape
from edgec.ops.layout import ELEMENTWISE
from edgec.ops.spec import (
    FREE,
    SAME_SCALE,
    ActivationFunctionType,
    Case,
    Emit,
    Infer,
    InferenceError,
    Operands,
    OpSpec,
    Quant,
    fixed_output_scale,
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
    )


_LOGISTIC = fixed_output_scale(int8=(1 / 256, -128), int16=(1 / 32768, 0))
_TANH = fixed_output_scale(int8=(1 / 128, 0), int16=(1 / 32768, 0))
_FLOAT_ONLY = unsupported("the kernel has no int8 form")
_BOOL = unsupported("works on bool")

_MIN_MAX_VERSION = _wide_broadcast(by_dtype(int8=2, int16=4), 3)

_ARITHMETIC = (
    _binary("add", by_dtype(int8=2, int16=3, int64=4), attributes=AddAttributes, options="AddOptions"),
    _binary(
        "sub",
        _wide_broadcast(by_dtype(int8=2, int16=3, int64=4), 3),
        attributes=SubAttributes,
        options="SubOptions",
    ),
    _binary("mul", _mul_version, attributes=MulAttributes, options="MulOptions"),
    _binary("div", _wide_broadcast(fixed(1), 2), attributes=DivAttributes, options="DivOptions"),
    _binary(
        "maximum", _wide_broadcast(by_dtype(int8=2, int16=4), 3), SAME_SCALE, options="MaximumMinimumOptions"
    ),
    _binary(
        "minimum", _wide_broadcast(by_dtype(int8=2, int16=4), 3), SAME_SCALE, options="MaximumMinimumOptions"
    ),
    _binary("squared_difference", by_dtype(int8=2, int16=2), options="SquaredDifferenceOptions"),
    _binary("pow", fixed(1), _FLOAT_ONLY, options="PowOptions"),
    _binary(
        "floor_div", by_dtype(base=1, float32=2, int16=3, int8=3), _FLOAT_ONLY, options="FloorDivOptions"
    ),
    _binary("floor_mod", by_dtype(int16=2, int8=2), _FLOAT_ONLY, options="FloorModOptions"),
    _binary("atan2", fixed(1), _FLOAT_ONLY, options="ATan2Options", infer=same_shape, broadcasts=False),
)

_COMPARISONS = (
    _binary("equal", by_dtype(int8=2, bool=3, int16=4), infer=comparison, options="EqualOptions"),
    _binary("not_equal", by_dtype(int8=2, bool=3, int16=4), infer=comparison, options="NotEqualOptions"),
    _binary("greater", by_dtype(int8=2), infer=comparison, options="GreaterOptions"),
    _binary("greater_equal", by_dtype(int8=2, int16=3), infer=comparison, options="GreaterEqualOptions"),
    _binary("less", by_dtype(int8=2, int16=3), infer=comparison, options="LessOptions"),
    _binary("less_equal", by_dtype(int8=2), infer=comparison, options="LessEqualOptions"),
)


def _logical(name: str, options: str, operands: tuple[str, ...]) -> OpSpec:
    flags = np.array([True, False, True, True])
    return OpSpec(
        name=name,
        operands=operands,
        infer=binary if len(operands) == 2 else same,
        layout=ELEMENTWISE,
        quant=_BOOL,
        emit=Emit(name.upper(), options),
        cases=(Case("flags", (flags, ~flags)[: len(operands)]),),
    )


_LOGICAL = (
    _logical("logical_and", "LogicalAndOptions", ("x", "y")),
    _logical("logical_or", "LogicalOrOptions", ("x", "y")),
    _logical("logical_not", "LogicalNotOptions", ("x",)),
)

_ACTIVATIONS = (
    _unary("relu", version=by_dtype(int8=2, int16=3)),
    _unary("relu6", version=by_dtype(int8=2, int16=3), low=-3, high=9),
    _unary("relu_n1_to_1", version=fixed(1)),
    _unary("logistic", _LOGISTIC, by_dtype(int8=2, int16=3)),
    _unary("tanh", _TANH, by_dtype(int8=2, int16=3)),
    _unary("hard_swish", version=fixed(1), options="HardSwishOptions", low=-5, high=5),
    _unary("elu", version=fixed(1)),
    _unary("gelu", attributes=GeluAttributes, options="GeluOptions", version=by_dtype(int8=2)),
    _unary(
        "leaky_relu", attributes=LeakyReluAttributes, options="LeakyReluOptions", version=by_dtype(int16=2)
    ),
)

_MATH = (
    _unary("abs", options="AbsOptions", version=by_dtype(int8=2, int16=3, int32=4)),
    _unary("neg", options="NegOptions", version=fixed(1), quant=_FLOAT_ONLY),
    _unary("exp", options="ExpOptions"),
    _unary("log", low=0.1),
    _unary("sqrt", low=0.0, version=by_dtype(int16=2), quant=_FLOAT_ONLY),
    _unary("rsqrt", low=0.1, version=by_dtype(int8=2, int16=3)),
    _unary("square", options="SquareOptions", version=fixed(1), quant=_FLOAT_ONLY),
    _unary("sin", version=fixed(1), quant=_FLOAT_ONLY),
    _unary("cos", options="CosOptions", version=fixed(1), quant=_FLOAT_ONLY),
    _unary("floor", version=fixed(1), quant=_FLOAT_ONLY),
    _unary("ceil", version=fixed(1), quant=_FLOAT_ONLY),
    _unary("round", version=fixed(1), quant=_FLOAT_ONLY),
    _unary("sign", version=by_dtype(int32=2), quant=_FLOAT_ONLY, options="SignOptions"),
)

_PRELU = OpSpec(
    name="prelu",
    operands=("x", "alpha"),
    infer=_infer_prelu,
    layout=ELEMENTWISE,
    emit=Emit("PRELU"),
    cases=(Case("per_channel", ((1, 2, 3, 4), np.array([0.1, 0.2, -0.3, 0.4], np.float32))),),
)

_SELECT = OpSpec(
    name="select_v2",
    operands=("condition", "x", "y"),
    infer=_infer_select,
    layout=ELEMENTWISE,
    quant=SAME_SCALE,
    emit=Emit("SELECT_V2", "SelectV2Options"),
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
    cases=(
        Case(
            "float_to_int",
            (np.array([-1.5, 0.0, 2.9], np.float32),),
            CastAttributes(DType.FLOAT32, DType.INT32),
        ),
    ),
)

OPS = (*_ARITHMETIC, *_COMPARISONS, *_LOGICAL, *_ACTIVATIONS, *_MATH, _PRELU, _SELECT, _CAST)
