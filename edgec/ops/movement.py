"""Ops that only move data. On constants they fold in NumPy: no kernel needed to know the result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod

import numpy as np

from edgec.ir import DYNAMIC, Array, Attributes, Node, TensorType
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
    GATHER,
    RESHAPE,
    REVERSE,
    STRIDED_SLICE,
    axis_attribute,
    axis_operand,
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
class SplitAttributes(Attributes):
    """Settings of split; operand 0 is the axis, operand 1 the data."""

    num_splits: int = 1


@dataclass(frozen=True, slots=True)
class StridedSliceAttributes(Attributes):
    """Settings of strided_slice; bit i of a mask speaks of axis i."""

    begin_mask: int = 0
    end_mask: int = 0
    ellipsis_mask: int = 0
    new_axis_mask: int = 0
    shrink_axis_mask: int = 0
    offset: bool = False


@dataclass(frozen=True, slots=True)
class MirrorPadAttributes(Attributes):
    """Settings of mirror_pad."""

    mode: MirrorPadMode = MirrorPadMode.REFLECT


@dataclass(frozen=True, slots=True)
class GatherAttributes(Attributes):
    """Settings of gather; indices must lie in [0, size)."""

    axis: int = 0
    batch_dims: int = 0


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


TO_THE_END = -1
"""A size of a slice."""


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


def _infer_split(operands: Operands, attributes: Attributes) -> tuple[TensorType, ...]:
    count = expect(attributes, SplitAttributes).num_splits
    x = required(operands, 1)
    axis = normalized_axis(int_list(constant(operands, 0))[0], x.type.rank)
    whole = x.shape[axis]
    if count < 1 or (whole != DYNAMIC and whole % count):
        raise InferenceError(f"{whole} does not divide into {count} parts")
    shape = (*x.shape[:axis], DYNAMIC if whole == DYNAMIC else whole // count, *x.shape[axis + 1 :])
    return (TensorType(shape, x.dtype),) * count


def _infer_slice(operands: Operands, attributes: Attributes) -> tuple[TensorType, ...]:
    x = required(operands, 0)
    begin, size = vector(operands, 1, x.type.rank), vector(operands, 2, x.type.rank)
    if size is None:
        return (TensorType((DYNAMIC,) * x.type.rank, x.dtype),)
    if begin is None:  # the kernel checks at run time that the box lies inside
        return (TensorType(tuple(DYNAMIC if s == TO_THE_END else s for s in size), x.dtype),)
    shape: list[int] = []
    for dim, b, s in zip(x.shape, begin, size, strict=True):
        if b < 0 or s < TO_THE_END or b + s > dim != DYNAMIC:
            raise InferenceError(f"begin {begin} with size {size} leaves {x.shape}")
        shape.append(s if s != TO_THE_END else DYNAMIC if dim == DYNAMIC else dim - b)
    return (TensorType(tuple(shape), x.dtype),)


def strided_ranges(node_operands: Operands, attributes: Attributes) -> list[range]:
    """Return for each axis the indices a strided_slice takes."""
    options = expect(attributes, StridedSliceAttributes)
    x = required(node_operands, 0)
    begin, end, strides = (int_list(constant(node_operands, index)) for index in (1, 2, 3))
    ranges: list[range] = []
    for axis, (dim, b, e, s) in enumerate(zip(x.shape, begin, end, strides, strict=True)):
        if s == 0:
            raise InferenceError("a stride is 0")
        start = None if options.begin_mask >> axis & 1 else b
        stop = None if options.end_mask >> axis & 1 else e
        ranges.append(range(*slice(start, stop, s).indices(max(dim, 0))))
    return ranges


def _infer_strided_slice(operands: Operands, attributes: Attributes) -> tuple[TensorType, ...]:
    x = required(operands, 0)
    options = expect(attributes, StridedSliceAttributes)
    if options.ellipsis_mask or options.new_axis_mask:
        raise InferenceError("ellipsis and new-axis masks are not used here")
    vectors = [vector(operands, index, x.type.rank) for index in (1, 2, 3)]
    if None in vectors:
        whole = options.begin_mask & options.end_mask if vectors[2] == [1] * x.type.rank else 0
        dims = [dim if whole >> axis & 1 else DYNAMIC for axis, dim in enumerate(x.shape)]
    else:
        ranges = strided_ranges(operands, attributes)
        dims = [DYNAMIC if dim == DYNAMIC else len(r) for dim, r in zip(x.shape, ranges, strict=True)]
    shape = [dim for axis, dim in enumerate(dims) if not options.shrink_axis_mask >> axis & 1]
    return (TensorType(tuple(shape), x.dtype),)


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


def _infer_gather(operands: Operands, attributes: Attributes) -> tuple[TensorType, ...]:
    options = expect(attributes, GatherAttributes)
    x, indices = required(operands, 0), required(operands, 1)
    axis = normalized_axis(options.axis, x.type.rank)
    if indices.data is not None and indices.data.size:
        low, high = int(indices.data.min()), int(indices.data.max())
        if low < 0 or high >= x.shape[axis] != DYNAMIC:
            raise InferenceError(f"indices {low}..{high} leave axis {axis} of {x.shape}")
    shape = x.shape[:axis] + indices.shape[options.batch_dims :] + x.shape[axis + 1 :]
    return (TensorType(shape, x.dtype),)


def _infer_gather_nd(operands: Operands, attributes: Attributes) -> tuple[TensorType, ...]:
    x, indices = required(operands, 0), required(operands, 1)
    if indices.type.rank == 0 or not 1 <= indices.shape[-1] <= x.type.rank:
        raise InferenceError(f"indices {indices.shape} do not name entries of {x.shape}")
    return (TensorType(indices.shape[:-1] + x.shape[indices.shape[-1] :], x.dtype),)


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


def _fold(compute: Callable[[Node, list[Array]], Array | list[Array]]) -> Callable[[Node], tuple[Array, ...]]:
    """Wrap a NumPy function of (node, operand arrays); called only where all operands are constants."""

    def fold(node: Node) -> tuple[Array, ...]:
        result = compute(node, [value.constant() for value in node.operands if value is not None])
        return tuple(result) if isinstance(result, list) else (result,)

    return fold


def _fold_slice(node: Node, arrays: list[Array]) -> Array:
    begin, size = int_list(arrays[1]), int_list(arrays[2])
    ends = (None if s == TO_THE_END else b + s for b, s in zip(begin, size, strict=True))
    return arrays[0][tuple(slice(b, e) for b, e in zip(begin, ends, strict=True))]


def _fold_strided_slice(node: Node, arrays: list[Array]) -> Array:
    data = arrays[0]
    for axis, indices in enumerate(strided_ranges(node.operands, node.attributes)):
        data = data.take(np.asarray(indices, np.intp), axis=axis)
    return data.reshape(node.result.shape)


def _fold_gather(node: Node, arrays: list[Array]) -> Array:
    options = expect(node.attributes, GatherAttributes)
    indices = arrays[1].astype(np.intp)
    if options.batch_dims:
        flat = arrays[0].reshape(-1, *arrays[0].shape[options.batch_dims :])
        indices = arrays[1].reshape(-1, *arrays[1].shape[options.batch_dims :])
        rows = [
            np.take(x, i, axis=options.axis - options.batch_dims) for x, i in zip(flat, indices, strict=True)
        ]
        return np.stack(rows).reshape(node.result.shape)
    return np.take(arrays[0], indices, axis=options.axis)


_PADS = np.array([[0, 0], [1, 0], [2, 1], [0, 0]], np.int32)
_PAD_VERSION = beyond_rank_4(4, by_dtype(int8=2, int16=3, bool=5))
_SLICE_ARGS = (np.array([0, 1, 0, 2], np.int32), np.array([1, 1, 3, 2], np.int32))
_STRIDES = tuple(np.array(v, np.int32) for v in ([0, 0, 2, 0], [1, 2, 0, 4], [1, 1, -1, 2]))


_STRIDED_SLICE_VERSION = by_dtype(int8=2, bool=3, int16=5)


def _gather_version(node: Node) -> int:
    batched = expect(node.attributes, GatherAttributes).batch_dims != 0
    return 5 if batched else by_dtype(int8=2, bool=3, int16=4)(node)


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
        fold=_fold(lambda node, a: a[0].reshape(node.result.shape)),
        support=support(
            "f32 f16 i8 u8 i16 i32 u32 i64 bool",
            xnnpack="f32 f16 i8 u8",
            tflm="f32 i8 i16 i32 i64 bool",
            xnnpack_when="a constant shape",
        ),
        in_place=InPlace.ALIASES,
        non_negative=NonNegative.OF_OPERANDS,
        cases=(Case("merge", ((1, 2, 3, 4), np.array([2, 12], np.int32)), ReshapeAttributes((2, 12))),),
    ),
    OpSpec(
        name="transpose",
        operands=("x", "permutation"),
        infer=_infer_transpose,
        layout=FIXED,  # the layout pass composes permutations itself
        quant=SAME_SCALE,
        emit=Emit("TRANSPOSE", "TransposeOptions", _transpose_version),
        fold=_fold(lambda node, a: np.ascontiguousarray(np.transpose(a[0], int_list(a[1])))),
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
        fold=_fold(lambda node, a: np.concatenate(a, expect(node.attributes, ConcatenationAttributes).axis)),
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
        name="split",
        operands=("axis", "x"),
        attributes=SplitAttributes,
        infer=_infer_split,
        layout=axis_operand(0, 1),
        quant=SAME_SCALE,
        emit=Emit(
            "SPLIT", "SplitOptions", lambda node: {"int8": 2, "int16": 4}.get(node.operand(1).dtype, 1)
        ),
        fold=_fold(lambda node, a: np.split(a[1], len(node.results), int(a[0]))),
        support=support(
            "f32 i8 u8 i16 i32 i64",
            xnnpack="f32 f16 i8 u8",
            tflm="f32 i8 i16 i32",
            max_version=5,
            claims_any_rank=True,
            xnnpack_when="at most 4 results",
        ),
        non_negative=NonNegative.OF_OPERANDS,
        cases=(Case("halves", (np.array(3, np.int32), (1, 2, 3, 4)), SplitAttributes(2)),),
    ),
    OpSpec(
        name="slice",
        operands=("x", "begin", "size"),
        infer=_infer_slice,
        layout=vector_operands(1, 2),
        quant=SAME_SCALE,
        emit=Emit(
            "SLICE",
            "SliceOptions",
            lambda n: max(5 if n.operand(0).type.rank > 4 else 1, by_dtype(int8=2, int16=4)(n)),
        ),
        fold=_fold(_fold_slice),
        support=support(
            "f32 f16 i8 u8 i16 i32 u32 i64 bool",
            xnnpack="f32 f16 i8 u8",
            tflm="f32 i8 i16 i32 bool",
            max_version=8,
            tflm_rank=5,
            xnnpack_when="constant begin and explicit sizes",
        ),
        non_negative=NonNegative.OF_OPERANDS,
        cases=(Case("box", ((1, 2, 3, 4), *_SLICE_ARGS)),),
    ),
    OpSpec(
        name="strided_slice",
        operands=("x", "begin", "end", "strides"),
        attributes=StridedSliceAttributes,
        infer=_infer_strided_slice,
        layout=STRIDED_SLICE,
        quant=SAME_SCALE,
        emit=Emit("STRIDED_SLICE", "StridedSliceOptions", beyond_rank_4(4, _STRIDED_SLICE_VERSION)),
        fold=_fold(_fold_strided_slice),
        support=support(
            "f32 f16 i8 u8 i16 i32 u32 i64 bool",
            xnnpack="f32 f16 i8 u8",
            tflm="f32 i8 i16 i32 bool",
            max_version=8,
            tflm_rank=4,
            xnnpack_when="strides of 1 and no axis dropped",
        ),
        non_negative=NonNegative.OF_OPERANDS,
        cases=(Case("reverse", ((1, 2, 3, 4), *_STRIDES), StridedSliceAttributes(end_mask=0b0100)),),
    ),
    OpSpec(
        name="pad",
        operands=("x", "paddings"),
        infer=_infer_pad,
        layout=vector_operands(1),
        quant=SAME_SCALE,
        emit=Emit("PAD", "PadOptions", _PAD_VERSION),
        fold=_fold(lambda node, a: np.pad(a[0], a[1].tolist())),
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
        fold=_fold(lambda node, a: np.pad(a[0], a[1].tolist(), constant_values=a[2].reshape(()))),
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
        name="gather",
        operands=("x", "indices"),
        attributes=GatherAttributes,
        infer=_infer_gather,
        layout=GATHER,
        quant=SAME_SCALE,
        emit=Emit("GATHER", "GatherOptions", _gather_version),
        fold=_fold(_fold_gather),
        support=support("f32 f16 i8 u8 i16 i32 i64 bool", tflm="f32 i8", max_version=8),
        non_negative=NonNegative.OF_OPERANDS,
        cases=(Case("axis2", ((1, 2, 3, 4), np.array([2, 0], np.int32)), GatherAttributes(axis=2)),),
    ),
    OpSpec(
        name="gather_nd",
        operands=("x", "indices"),
        infer=_infer_gather_nd,
        layout=FIXED,
        quant=SAME_SCALE,
        emit=Emit("GATHER_ND", "GatherNdOptions", by_dtype(int8=2, int16=3, bool=5)),
        fold=_fold(lambda node, a: a[0][tuple(np.moveaxis(a[1], -1, 0))]),
        support=support("f32 f16 i8 u8 i16 i32 i64 bool", tflm="f32 i8", max_version=6),
        non_negative=NonNegative.OF_OPERANDS,
        cases=(Case("pairs", ((2, 3, 4), np.array([[0, 2], [1, 0]], np.int32))),),
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
        fold=_fold(lambda node, a: np.stack(a, expect(node.attributes, PackAttributes).axis)),
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
        fold=_fold(lambda node, a: np.tile(a[0], int_list(a[1]))),
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
        fold=_fold(lambda node, a: np.broadcast_to(a[0], node.result.shape).copy()),
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
        fold=_fold(lambda node, a: np.flip(a[0], tuple(int_list(a[1])))),
        support=support(
            "f32 f16 i8 u8 i16 i32 i64 bool", tflm="f32 i8 i16 i32 i64 bool", max_version=4, tflm_rank=6
        ),
        non_negative=NonNegative.OF_OPERANDS,
        cases=(Case("one_axis", ((2, 3), np.array([1], np.int32))),),
    ),
)
