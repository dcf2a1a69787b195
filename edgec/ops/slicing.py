"""Ops whose results are parts of what they read: split, slices, gathers. On constants they fold in NumPy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgec.ir import DYNAMIC, Array, Attributes, Node, TensorType
from edgec.ops.folding import with_numpy
from edgec.ops.infer import (
    constant,
    expect,
    int_list,
    normalized_axis,
    required,
    vector,
)
from edgec.ops.layout import (
    FIXED,
    GATHER,
    STRIDED_SLICE,
    axis_operand,
    vector_operands,
)
from edgec.ops.spec import (
    SAME_SCALE,
    Case,
    Emit,
    InferenceError,
    NonNegative,
    Operands,
    OpSpec,
    support,
)
from edgec.ops.versions import beyond_rank_4, by_dtype


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
class GatherAttributes(Attributes):
    """Settings of gather; indices must lie in [0, size)."""

    axis: int = 0
    batch_dims: int = 0


TO_THE_END = -1
"""A size of a slice."""


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


_SLICE_ARGS = (np.array([0, 1, 0, 2], np.int32), np.array([1, 1, 3, 2], np.int32))


_STRIDES = tuple(np.array(v, np.int32) for v in ([0, 0, 2, 0], [1, 2, 0, 4], [1, 1, -1, 2]))


_STRIDED_SLICE_VERSION = by_dtype(int8=2, bool=3, int16=5)


def _gather_version(node: Node) -> int:
    batched = expect(node.attributes, GatherAttributes).batch_dims != 0
    return 5 if batched else by_dtype(int8=2, bool=3, int16=4)(node)


OPS = (
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
        fold=with_numpy(lambda node, a: np.split(a[1], len(node.results), int(a[0]))),
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
        fold=with_numpy(_fold_slice),
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
        fold=with_numpy(_fold_strided_slice),
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
        name="gather",
        operands=("x", "indices"),
        attributes=GatherAttributes,
        infer=_infer_gather,
        layout=GATHER,
        quant=SAME_SCALE,
        emit=Emit("GATHER", "GatherOptions", _gather_version),
        fold=with_numpy(_fold_gather),
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
        fold=with_numpy(lambda node, a: a[0][tuple(np.moveaxis(a[1], -1, 0))]),
        support=support("f32 f16 i8 u8 i16 i32 i64 bool", tflm="f32 i8", max_version=6),
        non_negative=NonNegative.OF_OPERANDS,
        cases=(Case("pairs", ((2, 3, 4), np.array([[0, 2], [1, 0]], np.int32))),),
    ),
)
