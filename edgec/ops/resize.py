"""Spatial resampling over NHWC: resize_bilinear, resize_nearest_neighbor, depth_to_space, space_to_depth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgec.ir import DYNAMIC, Attributes, Node, TensorType
from edgec.ops.infer import expect, required, vector
from edgec.ops.layout import CHANNELS_LAST
from edgec.ops.spec import (
    BLENDING,
    SAME_SCALE,
    Case,
    Emit,
    Gathering,
    Homogeneity,
    InferenceError,
    NonNegative,
    Operands,
    OpSpec,
    support,
)
from edgec.ops.versions import by_dtype


@dataclass(frozen=True, slots=True)
class ResizeBilinearAttributes(Attributes):
    """Settings of resize_bilinear; neither flag means asymmetric coordinates."""

    align_corners: bool = False
    half_pixel_centers: bool = False


@dataclass(frozen=True, slots=True)
class ResizeNearestNeighborAttributes(Attributes):
    """Settings of resize_nearest_neighbor; half pixels round .5 up (ONNX `round_prefer_ceil`)."""

    align_corners: bool = False
    half_pixel_centers: bool = False


@dataclass(frozen=True, slots=True)
class DepthToSpaceAttributes(Attributes):
    """Settings of depth_to_space (ONNX mode DCR)."""

    block_size: int = 1


@dataclass(frozen=True, slots=True)
class SpaceToDepthAttributes(Attributes):
    """Settings of space_to_depth."""

    block_size: int = 1


def _infer_resize(operands: Operands, attributes: Attributes) -> tuple[TensorType, ...]:
    x = required(operands, 0)
    size = vector(operands, 1, 2) or [DYNAMIC, DYNAMIC]
    if x.type.rank != 4 or (required(operands, 1).data is not None and min(size) < 1):
        raise InferenceError(f"input {x.shape} cannot be resized to {size}")
    return (TensorType((x.shape[0], size[0], size[1], x.shape[3]), x.dtype),)


def _infer_depth_to_space(operands: Operands, attributes: Attributes) -> tuple[TensorType, ...]:
    block = expect(attributes, DepthToSpaceAttributes).block_size
    n, h, w, c = required(operands, 0).shape
    if block < 1 or c == DYNAMIC or c % (block * block):
        raise InferenceError(f"{c} channels do not divide into blocks of {block}x{block}")
    height, width = (DYNAMIC if size == DYNAMIC else size * block for size in (h, w))
    return (TensorType((n, height, width, c // block**2), required(operands, 0).dtype),)


def _infer_space_to_depth(operands: Operands, attributes: Attributes) -> tuple[TensorType, ...]:
    block = expect(attributes, SpaceToDepthAttributes).block_size
    n, h, w, c = required(operands, 0).shape
    if block < 1 or c == DYNAMIC or any(size != DYNAMIC and size % block for size in (h, w)):
        raise InferenceError(f"{h}x{w} does not divide into blocks of {block}x{block}")
    height, width = (DYNAMIC if size == DYNAMIC else size // block for size in (h, w))
    return (TensorType((n, height, width, c * block**2), required(operands, 0).dtype),)


def _bilinear_version(node: Node) -> int:
    if expect(node.attributes, ResizeBilinearAttributes).half_pixel_centers:
        return max(3, by_dtype(int16=4)(node))
    return by_dtype(int8=2, int16=4)(node)


def _nearest_version(node: Node) -> int:
    options = expect(node.attributes, ResizeNearestNeighborAttributes)
    if options.half_pixel_centers or options.align_corners:
        return max(3, by_dtype(int16=4)(node))
    return by_dtype(int8=2, int16=4)(node)


_SIZE = np.array([6, 8], np.int32)

OPS = (
    OpSpec(
        name="resize_bilinear",
        operands=("x", "size"),
        attributes=ResizeBilinearAttributes,
        infer=_infer_resize,
        layout=CHANNELS_LAST,
        quant=BLENDING,
        emit=Emit("RESIZE_BILINEAR", "ResizeBilinearOptions", _bilinear_version),
        support=support("f32 i8 u8 i16", xnnpack="f32 i8 u8", tflm="f32 i8", max_version=4),
        homogeneous=Homogeneity.FIRST,
        gathers=Gathering.ONE,
        non_negative=NonNegative.OF_OPERANDS,
        cases=(
            Case("asymmetric", ((1, 3, 4, 2), _SIZE)),
            Case("half_pixel", ((1, 3, 4, 2), _SIZE), ResizeBilinearAttributes(half_pixel_centers=True)),
        ),
    ),
    OpSpec(
        name="resize_nearest_neighbor",
        operands=("x", "size"),
        attributes=ResizeNearestNeighborAttributes,
        infer=_infer_resize,
        layout=CHANNELS_LAST,
        quant=SAME_SCALE,
        emit=Emit("RESIZE_NEAREST_NEIGHBOR", "ResizeNearestNeighborOptions", _nearest_version),
        support=support("f32 f16 i8 u8 i16 i32 u32 bool", tflm="f32 i8 i16", max_version=4),
        homogeneous=Homogeneity.FIRST,
        gathers=Gathering.ONE,
        non_negative=NonNegative.OF_OPERANDS,
        cases=(Case("double", ((1, 3, 4, 2), _SIZE)),),
    ),
    OpSpec(
        name="depth_to_space",
        operands=("x",),
        attributes=DepthToSpaceAttributes,
        infer=_infer_depth_to_space,
        layout=CHANNELS_LAST,
        quant=SAME_SCALE,
        emit=Emit("DEPTH_TO_SPACE", "DepthToSpaceOptions", by_dtype(int8=2)),
        support=support("f32 i8 u8 i32 i64", xnnpack="f32 f16 i8 u8", tflm="f32 i8", max_version=2),
        non_negative=NonNegative.OF_OPERANDS,
        cases=(Case("block2", ((1, 2, 3, 8),), DepthToSpaceAttributes(2)),),
    ),
    OpSpec(
        name="space_to_depth",
        operands=("x",),
        attributes=SpaceToDepthAttributes,
        infer=_infer_space_to_depth,
        layout=CHANNELS_LAST,
        quant=SAME_SCALE,
        emit=Emit("SPACE_TO_DEPTH", "SpaceToDepthOptions", by_dtype(int8=2)),
        support=support("f32 i8 u8 i32 i64", xnnpack="f32 i8 u8", tflm="f32 i8", max_version=2),
        non_negative=NonNegative.OF_OPERANDS,
        cases=(Case("block2", ((1, 4, 6, 2),), SpaceToDepthAttributes(2)),),
    ),
)
