"""Convolutions: conv_2d (also grouped), depthwise_conv_2d, transpose_conv. NHWC only.

Weights: conv_2d and transpose_conv `[O, kH, kW, I]`, depthwise `[1, kH, kW, C*multiplier]` with channel
index `c * multiplier + m`. LiteRT 2.3 refuses a convolution without bias, so bias is required.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np

from edgec.ir import DYNAMIC, Attributes, DType, Node, TensorType
from edgec.ops.cases import ramp
from edgec.ops.infer import constant, expect, int_list, required, window_output
from edgec.ops.layout import CHANNELS_LAST
from edgec.ops.spec import (
    ActivationFunctionType,
    Case,
    Emit,
    InferenceError,
    Operands,
    OpSpec,
    Padding,
    Quant,
    Weights,
    support,
)
from edgec.ops.versions import is_hybrid


@dataclass(frozen=True, slots=True)
class Conv2DAttributes(Attributes):
    """Settings of conv_2d."""

    padding: Padding = Padding.VALID
    stride_w: int = 1
    stride_h: int = 1
    fused_activation_function: ActivationFunctionType = ActivationFunctionType.NONE
    dilation_w_factor: int = 1
    dilation_h_factor: int = 1


@dataclass(frozen=True, slots=True)
class DepthwiseConv2DAttributes(Attributes):
    """Settings of depthwise_conv_2d."""

    padding: Padding = Padding.VALID
    stride_w: int = 1
    stride_h: int = 1
    depth_multiplier: int = 1
    fused_activation_function: ActivationFunctionType = ActivationFunctionType.NONE
    dilation_w_factor: int = 1
    dilation_h_factor: int = 1


@dataclass(frozen=True, slots=True)
class TransposeConvAttributes(Attributes):
    """Settings of transpose_conv; operand 0 is the output shape."""

    padding: Padding = Padding.VALID
    stride_w: int = 1
    stride_h: int = 1
    fused_activation_function: ActivationFunctionType = ActivationFunctionType.NONE


def _infer_conv(operands: Operands, attributes: Attributes) -> tuple[TensorType, ...]:
    conv = expect(attributes, Conv2DAttributes)
    x, weights, bias = required(operands, 0), required(operands, 1), required(operands, 2)
    if x.type.rank != 4 or weights.type.rank != 4:
        raise InferenceError(f"input {x.shape} and weights {weights.shape} must have rank 4")
    out, kernel_h, kernel_w, depth = weights.shape
    if DYNAMIC not in (x.shape[3], depth) and (x.shape[3] % depth or out % (x.shape[3] // depth)):
        raise InferenceError(f"{x.shape[3]} input channels do not fit weights {weights.shape}")
    if bias.shape != (out,):
        raise InferenceError(f"bias {bias.shape} does not fit {out} output channels")
    height = window_output(x.shape[1], kernel_h, conv.stride_h, conv.dilation_h_factor, conv.padding)
    width = window_output(x.shape[2], kernel_w, conv.stride_w, conv.dilation_w_factor, conv.padding)
    return (TensorType((x.shape[0], height, width, out), x.dtype),)


def _infer_depthwise(operands: Operands, attributes: Attributes) -> tuple[TensorType, ...]:
    conv = expect(attributes, DepthwiseConv2DAttributes)
    x, weights, bias = required(operands, 0), required(operands, 1), required(operands, 2)
    if x.type.rank != 4 or weights.type.rank != 4 or weights.shape[0] != 1:
        raise InferenceError(f"input {x.shape} or weights {weights.shape} have the wrong shape")
    _, kernel_h, kernel_w, out = weights.shape
    if x.shape[3] * conv.depth_multiplier != out or bias.shape != (out,):
        raise InferenceError(f"{x.shape[3]} channels times {conv.depth_multiplier} do not give {out}")
    height = window_output(x.shape[1], kernel_h, conv.stride_h, conv.dilation_h_factor, conv.padding)
    width = window_output(x.shape[2], kernel_w, conv.stride_w, conv.dilation_w_factor, conv.padding)
    return (TensorType((x.shape[0], height, width, out), x.dtype),)


def _infer_transpose_conv(operands: Operands, attributes: Attributes) -> tuple[TensorType, ...]:
    conv = expect(attributes, TransposeConvAttributes)
    shape = tuple(int_list(constant(operands, 0)))
    weights, x = required(operands, 1), required(operands, 2)
    if len(shape) != 4 or weights.shape[3] != x.shape[3] or weights.shape[0] != shape[3]:
        raise InferenceError(f"output {shape}, weights {weights.shape} and input {x.shape} do not fit")
    strides = (conv.stride_h, conv.stride_w)
    for size, kernel, stride, output in zip(
        x.shape[1:3], weights.shape[1:3], strides, shape[1:3], strict=True
    ):
        if size not in (DYNAMIC, window_output(output, kernel, stride, 1, conv.padding)):
            raise InferenceError(f"output {shape} does not map back to input {x.shape}")
    return (TensorType(shape, x.dtype),)


def _conv_version(node: Node) -> int:
    x, weights = node.operand(0), node.operand(1)
    if weights.dtype is DType.INT4:
        return 7
    if x.shape[3] != weights.shape[3]:
        return 6
    if x.dtype is DType.INT16:
        return 4
    if x.dtype is DType.INT8:
        return 3
    if is_hybrid(node, 1):
        quantization = weights.type.quantization
        return 5 if quantization is not None and quantization.per_axis else 2
    return 1


def _depthwise_version(node: Node) -> int:
    x, weights = node.operand(0), node.operand(1)
    attributes = expect(node.attributes, DepthwiseConv2DAttributes)
    if weights.dtype is DType.INT4:
        return 7
    if x.dtype is DType.INT16:
        return 5
    if x.dtype is DType.INT8:
        return 3
    if is_hybrid(node, 1):
        quantization = weights.type.quantization
        return 6 if quantization is not None and quantization.per_axis else 4
    dilated = (attributes.dilation_h_factor, attributes.dilation_w_factor) != (1, 1)
    return 2 if dilated else 1


def _transpose_conv_version(node: Node) -> int:
    if expect(node.attributes, TransposeConvAttributes).fused_activation_function != "NONE":
        return 4
    if node.optional_operand(3) is not None:
        return 3
    return 2 if node.operand(2).dtype is DType.INT8 else 1


def _conv_macs(node: Node) -> int:
    return node.result.type.size * prod(node.operand(1).shape[1:])


def _depthwise_macs(node: Node) -> int:
    return node.result.type.size * prod(node.operand(1).shape[1:3])


def _transpose_conv_macs(node: Node) -> int:
    return node.operand(2).type.size * prod(node.operand(1).shape[:3])


_INT4 = frozenset({DType.FLOAT32, DType.INT8, DType.INT16})

OPS = (
    OpSpec(
        name="conv_2d",
        operands=("x", "weights", "bias"),
        attributes=Conv2DAttributes,
        infer=_infer_conv,
        layout=CHANNELS_LAST,
        quant=Quant(weights=Weights(operand=1, quantized_dimension=0, bias=2, int4=_INT4, axes="oyxi")),
        emit=Emit("CONV_2D", "Conv2DOptions", _conv_version),
        macs=_conv_macs,
        support=support(
            "f32 i8 u8 i16",
            xnnpack="f32 f16 i8 u8",
            tflm="f32 i8 i16",
            max_version=8,
            xnnpack_when="constant weights and bias, of the activations' type or int8",
        ),
        cases=(
            Case("valid", ((1, 5, 6, 3), ramp(4, 3, 3, 3), ramp(4))),
            Case(
                "same_strided_relu6",
                ((1, 5, 6, 3), ramp(4, 3, 3, 3), ramp(4)),
                Conv2DAttributes(Padding.SAME, 2, 2, ActivationFunctionType.RELU6),
            ),
            Case("grouped", ((1, 5, 6, 4), ramp(6, 3, 3, 2), ramp(6))),
            Case(
                "dilated",
                ((1, 7, 7, 3), ramp(4, 3, 3, 3), ramp(4)),
                Conv2DAttributes(dilation_w_factor=2, dilation_h_factor=2),
            ),
        ),
    ),
    OpSpec(
        name="depthwise_conv_2d",
        operands=("x", "weights", "bias"),
        attributes=DepthwiseConv2DAttributes,
        infer=_infer_depthwise,
        layout=CHANNELS_LAST,
        quant=Quant(weights=Weights(1, 3, bias=2, hybrid=False, int4=frozenset({DType.INT8}), axes="1yxo")),
        emit=Emit("DEPTHWISE_CONV_2D", "DepthwiseConv2DOptions", _depthwise_version),
        macs=_depthwise_macs,
        support=support(
            "f32 i8 u8 i16",
            xnnpack="f32 f16 i8 u8",
            tflm="f32 i8 i16",
            max_version=7,
            xnnpack_when="constant weights of the activations' type",
        ),
        cases=(
            Case("valid", ((1, 5, 6, 3), ramp(1, 3, 3, 3), ramp(3))),
            Case(
                "multiplier",
                ((1, 5, 6, 3), ramp(1, 3, 3, 6), ramp(6)),
                DepthwiseConv2DAttributes(Padding.SAME, depth_multiplier=2),
            ),
        ),
    ),
    OpSpec(
        name="transpose_conv",
        operands=("output_shape", "weights", "x", "bias?"),
        attributes=TransposeConvAttributes,
        infer=_infer_transpose_conv,
        layout=CHANNELS_LAST,
        quant=Quant(
            weights=Weights(operand=1, quantized_dimension=0, bias=3, data=2, axes="oyxi", scatters=True)
        ),
        emit=Emit("TRANSPOSE_CONV", "TransposeConvOptions", _transpose_conv_version),
        macs=_transpose_conv_macs,
        support=support(
            "f32 i8 u8 i16",
            xnnpack="f32 i8 u8",
            tflm="f32 i8 i16",
            max_version=5,
            xnnpack_when="constant weights",
        ),
        cases=(
            Case(
                "valid_stride2",
                (np.array([1, 9, 11, 2], np.int32), ramp(2, 3, 3, 3), (1, 4, 5, 3), ramp(2)),
                TransposeConvAttributes(stride_w=2, stride_h=2),
            ),
        ),
    ),
)
