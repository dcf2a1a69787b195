"""Ops that write rows to places named by indices: segment reductions, scatter_nd, dynamic_update_slice.

unsorted_segment_max(x, ids, n)[k] = max of x[i] over all i with ids[i] = k; the lowest number if none
scatter_nd(indices, x, shape)      = zeros(shape), to which every x[i] is added at indices[i]
dynamic_update_slice(x, update, s) = x with `update` in place of the box that starts at s
"""

from __future__ import annotations

import numpy as np

from edgec.ir import DYNAMIC, Array, Attributes, DType, Node, TensorType
from edgec.ops.infer import constant, int_list, required
from edgec.ops.layout import FIXED
from edgec.ops.spec import SAME_SCALE, Case, Emit, InferenceError, Operands, OpSpec, support, unsupported


def _infer_segments(operands: Operands, attributes: Attributes) -> tuple[TensorType, ...]:
    x, ids = required(operands, 0), required(operands, 1)
    count = int_list(constant(operands, 2))[0]
    if ids.dtype is not DType.INT32 or ids.shape != x.shape[: ids.type.rank]:
        raise InferenceError(f"ids {ids.type} do not name a segment for each row of {x.shape}")
    if ids.data is not None and ids.data.size and int(ids.data.max()) >= count:
        raise InferenceError(f"id {int(ids.data.max())} is beyond {count} segments")
    return (TensorType((count, *x.shape[ids.type.rank :]), x.dtype),)


def _infer_scatter_nd(operands: Operands, attributes: Attributes) -> tuple[TensorType, ...]:
    indices, x = required(operands, 0), required(operands, 1)
    shape = tuple(int_list(constant(operands, 2)))
    if indices.type.rank == 0 or indices.shape[-1] > len(shape):
        raise InferenceError(f"indices {indices.shape} do not name entries of {shape}")
    if x.shape != indices.shape[:-1] + shape[indices.shape[-1] :]:
        raise InferenceError(f"updates {x.shape} do not fit indices {indices.shape} into {shape}")
    return (TensorType(shape, x.dtype),)


def _infer_update(operands: Operands, attributes: Attributes) -> tuple[TensorType, ...]:
    x, update, start = (required(operands, index) for index in range(3))
    fits = update.type.rank == x.type.rank and all(
        part <= whole or DYNAMIC in (part, whole) for part, whole in zip(update.shape, x.shape, strict=True)
    )
    if not fits or update.dtype is not x.dtype or start.shape != (x.type.rank,):
        raise InferenceError(f"update {update.type} at {start.shape} does not fit into {x.type}")
    return (TensorType(x.shape, x.dtype),)


def _fold_update(node: Node) -> tuple[Array, ...]:
    x, update, start = (node.operand(index).constant() for index in range(3))
    # The kernel moves a box that would stick out back inside.
    begin = np.clip(np.asarray(start, np.int64), 0, np.subtract(x.shape, update.shape)).tolist()
    result = x.copy()
    result[tuple(slice(b, b + size) for b, size in zip(begin, update.shape, strict=True))] = update
    return (result,)


def _update_version(node: Node) -> int:
    return 2 if node.operand(2).dtype is DType.INT64 else 1


def _segment_reduction(name: str) -> OpSpec:
    ids = np.array([2, 0, 2], np.int32)
    return OpSpec(
        name=f"unsorted_segment_{name}",
        operands=("x", "ids", "count"),
        infer=_infer_segments,
        layout=FIXED,
        quant=unsupported("the kernel has no int8 form"),
        emit=Emit(f"UNSORTED_SEGMENT_{name.upper()}", f"UnsortedSegment{name.capitalize()}Options"),
        support=support("f32 i32"),
        cases=(
            Case("rows", ((3, 4), ids, np.array(3, np.int32))),
            Case("numbers", ((3,), ids, np.array(5, np.int32))),
        ),
    )


OPS = (
    *(_segment_reduction(name) for name in ("sum", "prod", "max", "min")),
    OpSpec(
        name="scatter_nd",
        operands=("indices", "x", "shape"),
        infer=_infer_scatter_nd,
        layout=FIXED,
        quant=unsupported("the kernel fills with the number 0, which is not the zero point"),
        emit=Emit("SCATTER_ND", "ScatterNdOptions"),
        support=support("f32 i8 u8 i32 i64 bool"),
        cases=(
            Case("rows", (np.array([[1], [1]], np.int32), (2, 4), np.array([3, 4], np.int32))),
            Case("entries", (np.array([[1, 3], [0, 2]], np.int32), (2,), np.array([3, 4], np.int32))),
        ),
    ),
    OpSpec(
        name="dynamic_update_slice",
        operands=("x", "update", "start"),
        infer=_infer_update,
        layout=FIXED,
        quant=SAME_SCALE,
        emit=Emit("DYNAMIC_UPDATE_SLICE", "DynamicUpdateSliceOptions", _update_version),
        fold=_fold_update,
        support=support("f32 f16 i8 u8 i16 i32 u32 i64 bool", tflm="f32 i8 i16 i32", max_version=6),
        cases=(
            Case("box", ((3, 4), (2, 2), np.array([1, 2], np.int32))),
            Case("moved_inside", ((3, 4), (2, 2), np.array([2, 3], np.int32))),
        ),
    ),
)
