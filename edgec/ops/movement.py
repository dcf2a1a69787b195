"""Ops that only move data, all of it; those that take parts are in `slicing`."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np

from edgec.ir import DYNAMIC, Attributes, Node, TensorType
from edgec.ops.folding import with_numpy
from edgec.ops.infer import (
    agree,
    broadcast,
    constant,
    expect,
    int_list,
    normalized_axis,
    refined,
    required,
    vector,
)
from edgec.ops.layout import (
    FIXED,
    RESHAPE,
    REVERSE,
    axis_attribute,
    vector_operands,
)
from edgec.ops.spec import (
    SAME_SCALE,
    ActivationFunctionType,
    Case,
    Emit,
    InferenceError,
    InPlace,
    MirrorPadMode,
    NonNegative,
    Operands,
    OpSpec,
    support,
    unsupported,
)
from edgec.ops.versions import beyond_rank_4, by_dtype


@dataclass(frozen=True, slots=True)
class ReshapeAttributes(Attributes):
    """Settings of reshape; operand 1 holds the same shape, with DYNAMIC dimensions filled in at run time."""

    new_shape: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class ConcatenationAttributes(Attributes):
    """Settings of concatenation."""

    axis: int = 0
    fused_activation_function: ActivationFunctionType = ActivationFunctionType.NONE


@dataclass(frozen=True, slots=True)
class MirrorPadAttributes(Attributes):
    """Settings of mirror_pad."""

    mode: MirrorPadMode = MirrorPadMode.REFLECT


@dataclass(frozen=True, slots=True)
class ReverseSequenceAttributes(Attributes):
    """Settings of reverse_sequence; operand 1 holds the number of steps to reverse for each batch entry."""

    seq_dim: int = 0
    batch_dim: int = 0


@dataclass(frozen=True, slots=True)
class PackAttributes(Attributes):
    """Settings of pack (stack along a new axis)."""

    values_count: int = 1
    axis: int = 0


def _infer_reshape(operands: Operands, attributes: Attributes) -> tuple[TensorType, ...]:
    x = required(operands, 0)
    wanted = vector(operands, 1)
    if wanted is None:
        hint = expect(attributes, ReshapeAttributes).new_shape
        rank = required(operands, 1).shape[0]
        return (TensorType(hint if len(hint) == rank else (DYNAMIC,) * rank, x.dtype),)
    known = prod(dim for dim in wanted if dim != DYNAMIC)
    if wanted.count(DYNAMIC) > 1 or min(wanted, default=0) < DYNAMIC:
        raise InferenceError(f"{wanted} leaves more than one dimension open")
    if not x.type.is_static:
        return (TensorType(tuple(wanted), x.dtype),)
    shape = tuple(x.type.size // max(known, 1) if dim == DYNAMIC else dim for dim in wanted)
    if prod(shape) != x.type.size:
        raise InferenceError(f"{x.shape} cannot become {tuple(wanted)}")
    return (TensorType(shape, x.dtype),)


def _infer_transpose(operands: Operands, attributes: Attributes) -> tuple[TensorType, ...]:
    x = required(operands, 0)
    permutation = int_list(constant(operands, 1))
    if sorted(permutation) != list(range(x.type.rank)):
        raise InferenceError(f"{permutation} is no permutation of {x.type.rank} axes")
    return (TensorType(tuple(x.shape[axis] for axis in permutation), x.dtype),)


def _infer_concatenation(operands: Operands, attributes: Attributes) -> tuple[TensorType, ...]:
    values = [required(operands, index) for index in range(len(operands))]
    if not values:
        raise InferenceError("nothing to concatenate")
    first = values[0]
    axis = normalized_axis(expect(attributes, ConcatenationAttributes).axis, first.type.rank)
    shape = list(first.shape)
    shape[axis] = 0
    for value in values:
        others = [index for index in range(first.type.rank) if index != axis]
        if (
            value.dtype is not first.dtype
            or value.type.rank != first.type.rank
            or not all(agree(value.shape[index], shape[index]) for index in others)
        ):
            raise InferenceError(f"{value.type} does not fit {first.type} along axis {axis}")
        for index in others:
            shape[index] = refined(shape[index], value.shape[index])
        shape[axis] = (
            DYNAMIC if DYNAMIC in (shape[axis], value.shape[axis]) else shape[axis] + value.shape[axis]
        )
    return (TensorType(tuple(shape), first.dtype),)


def _infer_pad(operands: Operands, attributes: Attributes) -> tuple[TensorType, ...]:
    x = required(operands, 0)
    paddings = required(operands, 1).data
    if paddings is None and required(operands, 1).shape == (x.type.rank, 2):
        return (TensorType((DYNAMIC,) * x.type.rank, x.dtype),)
    paddings = constant(operands, 1)
    if paddings.shape != (x.type.rank, 2) or paddings.min(initial=0) < 0:
        raise InferenceError(f"paddings {paddings.tolist()} do not fit {x.shape}")
    shape = [
        DYNAMIC if dim == DYNAMIC else dim + int(lo) + int(hi)
        for dim, (lo, hi) in zip(x.shape, paddings, strict=True)
    ]
    return (TensorType(tuple(shape), x.dtype),)


def _infer_reverse_sequence(operands: Operands, attributes: Attributes) -> tuple[TensorType, ...]:
    options = expect(attributes, ReverseSequenceAttributes)
    x, lengths = required(operands, 0), required(operands, 1)
    time = normalized_axis(options.seq_dim, x.type.rank)
    batch = normalized_axis(options.batch_dim, x.type.rank)
    if time == batch or lengths.type.rank != 1 or not agree(lengths.shape[0], x.shape[batch]):
        raise InferenceError(f"lengths {lengths.shape} do not fit axis {batch} of {x.shape}")
    return (TensorType(x.shape, x.dtype),)


def _infer_pack(operands: Operands, attributes: Attributes) -> tuple[TensorType, ...]:
    options = expect(attributes, PackAttributes)
    values = [required(operands, index) for index in range(len(operands))]
    first = values[0].type if values else None
    if first is None or any(v.dtype is not first.dtype or v.type.rank != first.rank for v in values):
        raise InferenceError("operands differ in type")
    dims = list(zip(*(value.shape for value in values), strict=True))
    if not all(agree(*sizes) for sizes in dims):
        raise InferenceError("operands differ in shape")
    axis = normalized_axis(options.axis, values[0].type.rank + 1)
    shape = tuple(refined(*sizes) for sizes in dims)
    return (TensorType((*shape[:axis], len(values), *shape[axis:]), values[0].dtype),)


def _infer_tile(operands: Operands, attributes: Attributes) -> tuple[TensorType, ...]:
    x = required(operands, 0)
    multiples = vector(operands, 1, x.type.rank)
    if multiples is None:
        return (TensorType((DYNAMIC,) * x.type.rank, x.dtype),)
    shape = (DYNAMIC if d == DYNAMIC else d * m for d, m in zip(x.shape, multiples, strict=True))
    return (TensorType(tuple(shape), x.dtype),)


def _infer_broadcast_to(operands: Operands, attributes: Attributes) -> tuple[TensorType, ...]:
    x = required(operands, 0)
    wanted = vector(operands, 1)
    if wanted is None:
        return (TensorType((DYNAMIC,) * required(operands, 1).shape[0], x.dtype),)
    shape = tuple(wanted)
    if broadcast((x.shape, shape)) != shape:
        raise InferenceError(f"{x.shape} does not broadcast to {shape}")
    return (TensorType(shape, x.dtype),)


def _infer_reverse(operands: Operands, attributes: Attributes) -> tuple[TensorType, ...]:
    x = required(operands, 0)
    for axis in int_list(constant(operands, 1)):
        normalized_axis(axis, x.type.rank)
    return (TensorType(x.shape, x.dtype),)


_PADS = np.array([[0, 0], [1, 0], [2, 1], [0, 0]], np.int32)
_PAD_VERSION = beyond_rank_4(4, by_dtype(int8=2, int16=3, bool=5))


def _transpose_version(node: Node) -> int:
    rank = node.operand(0).type.rank
    wide = 8 if rank > 6 else 6 if rank > 5 else 4 if rank > 4 else 1
    return max(wide, by_dtype(int8=2, int16=5, bool=3)(node))


OPS = (
    OpSpec(
        name="reshape",
        operands=("x", "shape"),
        attributes=ReshapeAttributes,
        infer=_infer_reshape,
        layout=RESHAPE,
        quant=SAME_SCALE,
        emit=Emit("RESHAPE", "ReshapeOptions"),
        fold=with_numpy(lambda node, a: a[0].reshape(node.result.shape)),
        support=support(
            "f32 f16 i8 u8 i16 i32 u32 i64 bool",
            xnnpack="f32 f16 i8 u8",
            tflm="f32 i8 i16 i32 i64 bool",
            xnnpack_when="a constant shape",
        ),
        in_place=InPlace.ALIASES,
        non_negative=NonNegative.OF_OPERANDS,
        carries=True,
        cases=(Case("merge", ((1, 2, 3, 4), np.array([2, 12], np.int32)), ReshapeAttributes((2, 12))),),
    ),
    OpSpec(
        name="transpose",
        operands=("x", "permutation"),
        infer=_infer_transpose,
        layout=FIXED,  # the layout pass composes permutations itself
        quant=SAME_SCALE,
        emit=Emit("TRANSPOSE", "TransposeOptions", _transpose_version),
        fold=with_numpy(lambda node, a: np.ascontiguousarray(np.transpose(a[0], int_list(a[1])))),
        support=support(
            "f32 f16 i8 u8 i16 i32 u32 i64 bool",
            xnnpack="f32 f16 i8 u8",
            tflm="f32 i8 i16",
            max_version=9,
            tflm_rank=5,
            xnnpack_when="a constant permutation",
        ),
        non_negative=NonNegative.OF_OPERANDS,
        cases=(Case("nchw_to_nhwc", ((1, 2, 3, 4), np.array([0, 2, 3, 1], np.int32))),),
    ),
    OpSpec(
        name="concatenation",
        operands=("inputs*",),
        attributes=ConcatenationAttributes,
        infer=_infer_concatenation,
        layout=axis_attribute("axis"),
        quant=SAME_SCALE,
        emit=Emit("CONCATENATION", "ConcatenationOptions", by_dtype(int8=2, int16=3)),
        fold=with_numpy(
            lambda node, a: np.concatenate(a, expect(node.attributes, ConcatenationAttributes).axis)
        ),
        support=support(
            "f32 f16 i8 u8 i16 i32 u32 i64 bool",
            xnnpack="f32 f16 i8 u8",
            tflm="f32 i8 i16 i32 i64 bool",
            max_version=7,
            tflm_rank=6,
            claims_any_rank=True,
            xnnpack_when="at most 5 inputs",
        ),
        non_negative=NonNegative.OF_OPERANDS,
        cases=(Case("two_inputs", ((1, 4, 4, 2), (1, 4, 4, 3)), ConcatenationAttributes(axis=3)),),
    ),
    OpSpec(
        name="pad",
        operands=("x", "paddings"),
        infer=_infer_pad,
        layout=vector_operands(1),
        quant=SAME_SCALE,
        emit=Emit("PAD", "PadOptions", _PAD_VERSION),
        fold=with_numpy(lambda node, a: np.pad(a[0], a[1].tolist())),
        support=support(
            "f32 f16 i8 u8 i16 i32 i64 bool",
            xnnpack="f32 f16 i8 u8",
            tflm="f32 i8 i16 i32",
            max_version=6,
            litert_rank=5,
            tflm_rank=5,
            xnnpack_when="constant paddings",
        ),
        non_negative=NonNegative.OF_OPERANDS,
        cases=(Case("spatial", ((1, 2, 3, 4), _PADS)),),
    ),
    OpSpec(
        name="padv2",
        operands=("x", "paddings", "value"),
        infer=_infer_pad,
        layout=vector_operands(1),
        quant=SAME_SCALE,
        emit=Emit("PADV2", "PadV2Options", _PAD_VERSION),
        fold=with_numpy(lambda node, a: np.pad(a[0], a[1].tolist(), constant_values=a[2].reshape(()))),
        support=support(
            "f32 f16 i8 u8 i16 i32 i64 bool", tflm="f32 i8 i16 i32", max_version=6, litert_rank=5, tflm_rank=5
        ),
        cases=(Case("spatial", ((1, 2, 3, 4), _PADS, np.array(1.5, np.float32))),),
    ),
    OpSpec(
        name="mirror_pad",
        operands=("x", "paddings"),
        attributes=MirrorPadAttributes,
        infer=_infer_pad,
        layout=vector_operands(1),
        quant=SAME_SCALE,
        emit=Emit("MIRROR_PAD", "MirrorPadOptions", by_dtype(int8=2, int16=3)),
        support=support("f32 f16 i8 u8 i16 i32 u32 i64 bool", tflm="f32 i8", max_version=3),
        non_negative=NonNegative.OF_OPERANDS,
        cases=(Case("reflect", ((1, 3, 3, 4), _PADS), MirrorPadAttributes()),),
    ),
    OpSpec(
        name="reverse_sequence",
        operands=("x", "lengths"),
        attributes=ReverseSequenceAttributes,
        infer=_infer_reverse_sequence,
        layout=FIXED,
        quant=unsupported("the kernel has no int8 form"),
        emit=Emit("REVERSE_SEQUENCE", "ReverseSequenceOptions"),
        support=support("f32 u8 i16 i32 i64"),
        non_negative=NonNegative.OF_OPERANDS,
        cases=(Case("time", ((4, 2, 3), np.array([3, 1], np.int32)), ReverseSequenceAttributes(0, 1)),),
    ),
    OpSpec(
        name="pack",
        operands=("inputs*",),
        attributes=PackAttributes,
        infer=_infer_pack,
        layout=FIXED,
        quant=SAME_SCALE,
        emit=Emit("PACK", "PackOptions", by_dtype(int8=2, int16=3)),
        fold=with_numpy(lambda node, a: np.stack(a, expect(node.attributes, PackAttributes).axis)),
        support=support("f32 i8 u8 i16 i32 u32 i64", tflm="f32 i8 i16 i32 i64", max_version=5),
        non_negative=NonNegative.OF_OPERANDS,
        cases=(Case("two", ((2, 3), (2, 3)), PackAttributes(2, 1)),),
    ),
    OpSpec(
        name="tile",
        operands=("x", "multiples"),
        infer=_infer_tile,
        layout=vector_operands(1),
        quant=SAME_SCALE,
        emit=Emit("TILE", "TileOptions", by_dtype(int8=3, int16=3)),
        fold=with_numpy(lambda node, a: np.tile(a[0], int_list(a[1]))),
        support=support("f32 f16 i8 u8 i16 i32 u32 i64 bool", max_version=3),
        non_negative=NonNegative.OF_OPERANDS,
        cases=(Case("double", ((2, 3), np.array([1, 2], np.int32))),),
    ),
    OpSpec(
        name="broadcast_to",
        operands=("x", "shape"),
        infer=_infer_broadcast_to,
        layout=FIXED,
        quant=SAME_SCALE,
        emit=Emit("BROADCAST_TO", "BroadcastToOptions", by_dtype(base=2, int8=3, int16=3)),
        fold=with_numpy(lambda node, a: np.broadcast_to(a[0], node.result.shape).copy()),
        support=support(
            "f32 f16 i8 u8 i16 i32 u32 i64 bool", tflm="f32 i8 i16 i32 i64 bool", max_version=4, tflm_rank=5
        ),
        non_negative=NonNegative.OF_OPERANDS,
        cases=(Case("rows", ((1, 3), np.array([4, 3], np.int32))),),
    ),
    OpSpec(
        name="reverse_v2",
        operands=("x", "axes"),
        infer=_infer_reverse,
        layout=REVERSE,
        quant=SAME_SCALE,
        emit=Emit("REVERSE_V2", "ReverseV2Options", by_dtype(bool=2, int16=3, int8=3)),
        fold=with_numpy(lambda node, a: np.flip(a[0], tuple(int_list(a[1])))),
        support=support(
            "f32 f16 i8 u8 i16 i32 i64 bool", tflm="f32 i8 i16 i32 i64 bool", max_version=4, tflm_rank=6
        ),
        non_negative=NonNegative.OF_OPERANDS,
        cases=(Case("one_axis", ((2, 3), np.array([1], np.int32))),),
    ),
)
