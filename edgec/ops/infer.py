"""Shape inference shared by op families: operands and attributes in, result types out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from edgec.ir import DYNAMIC, Array, Attributes, DType, Shape, TensorType, Value
from edgec.ops.spec import InferenceError, Operands, Padding

A = TypeVar("A", bound=Attributes)


def expect(attributes: Attributes, kind: type[A]) -> A:
    """Return attributes as their own class; InferenceError if they are another op's."""
    if not isinstance(attributes, kind):
        raise InferenceError(f"attributes are {type(attributes).__name__}, not {kind.__name__}")
    return attributes


def required(operands: Operands, index: int) -> Value:
    """Return an operand that must be present."""
    value = operands[index] if index < len(operands) else None
    if value is None:
        raise InferenceError(f"operand {index} is missing")
    return value


def constant(operands: Operands, index: int) -> Array:
    """Return the data of an operand that must be a constant."""
    value = required(operands, index)
    if value.data is None:
        raise InferenceError(f"operand {index} ('{value.name}') has to be a constant")
    return value.data


def broadcast(shapes: Sequence[Shape]) -> Shape:
    """Return the NumPy broadcast of shapes; a dynamic dimension wins over 1."""
    rank = max((len(shape) for shape in shapes), default=0)
    padded = [(1,) * (rank - len(shape)) + shape for shape in shapes]
    result: list[int] = []
    for dims in zip(*padded, strict=True):
        distinct = {dim for dim in dims if dim != 1}
        if len(distinct - {DYNAMIC}) > 1:
            raise InferenceError(f"shapes {' and '.join(map(str, shapes))} do not broadcast")
        known = distinct - {DYNAMIC}
        result.append(known.pop() if known else (DYNAMIC if distinct else 1))
    return tuple(result)


def vector(operands: Operands, index: int, length: int | None = None) -> list[int] | None:
    """Return an operand of whole numbers where it is a constant, None where it is computed at run time.

    InferenceError where its shape is not `[length]` (any known length for None).
    """
    value = required(operands, index)
    if value.type.rank != 1 or DYNAMIC in value.shape or (length is not None and value.shape[0] != length):
        raise InferenceError(f"operand {index} is {value.type}, not a vector of {length or 'known length'}")
    return None if value.data is None else int_list(value.data)


def agree(*dims: int) -> bool:
    """Whether dimensions can be equal: the known ones are."""
    return len(set(dims) - {DYNAMIC}) <= 1


def refined(*dims: int) -> int:
    """Return the size that dimensions which agree have, DYNAMIC where none is known."""
    return max(dims)


def fits(type: TensorType, wanted: TensorType) -> bool:
    """Whether a tensor of one type may stand for another: equal but for dimensions `wanted` leaves open."""
    return (
        type.dtype is wanted.dtype
        and type.rank == wanted.rank
        and all(w in (d, DYNAMIC) for d, w in zip(type.shape, wanted.shape, strict=True))
    )


def common_type(types: Sequence[TensorType]) -> TensorType:
    """Return the type that all fit, open where they differ; InferenceError where rank or dtype differ."""
    first = types[0]
    if any(type.dtype is not first.dtype or type.rank != first.rank for type in types):
        raise InferenceError(f"{' and '.join(map(str, types))} differ in more than the size of dimensions")
    dims = zip(*(type.shape for type in types), strict=True)
    return TensorType(tuple(d[0] if len(set(d)) == 1 else DYNAMIC for d in dims), first.dtype)


def normalized_axis(axis: int, rank: int) -> int:
    """Return a non-negative axis; InferenceError where it is out of range."""
    if not -rank <= axis < rank:
        raise InferenceError(f"axis {axis} is out of range for rank {rank}")
    return axis % rank


def window_output(size: int, kernel: int, stride: int, dilation: int, padding: Padding) -> int:
    """Return the output size of a sliding window along one axis (TFLite's SAME and VALID)."""
    if size == DYNAMIC:
        return DYNAMIC
    if min(kernel, stride, dilation) < 1:
        raise InferenceError(f"kernel {kernel}, stride {stride} and dilation {dilation} must be positive")
    if padding is Padding.SAME:
        return -(-size // stride)
    effective = (kernel - 1) * dilation + 1
    if effective > size:
        raise InferenceError(f"window {effective} is larger than the input {size}")
    return (size - effective) // stride + 1


def same(operands: Operands, attributes: Attributes) -> tuple[TensorType, ...]:
    """The result is like operand 0."""
    source = required(operands, 0).type
    return (TensorType(source.shape, source.dtype),)


def binary(operands: Operands, attributes: Attributes) -> tuple[TensorType, ...]:
    """Broadcast of two operands of one dtype."""
    left, right = required(operands, 0), required(operands, 1)
    if left.dtype is not right.dtype:
        raise InferenceError(f"operands are {left.dtype} and {right.dtype}")
    return (TensorType(broadcast((left.shape, right.shape)), left.dtype),)


def same_shape(operands: Operands, attributes: Attributes) -> tuple[TensorType, ...]:
    """Two operands of one type, for kernels that do not broadcast."""
    left, right = required(operands, 0), required(operands, 1)
    if (
        left.dtype is not right.dtype
        or left.type.rank != right.type.rank
        or not all(map(agree, left.shape, right.shape))
    ):
        raise InferenceError(f"operands are {left.type} and {right.type}; the kernel does not broadcast")
    return (TensorType(tuple(map(refined, left.shape, right.shape)), left.dtype),)


def comparison(operands: Operands, attributes: Attributes) -> tuple[TensorType, ...]:
    """Broadcast of two operands to bool."""
    (like,) = binary(operands, attributes)
    return (TensorType(like.shape, DType.BOOL),)


def int_list(array: Array) -> list[int]:
    """Return a constant vector as Python ints."""
    return [int(item) for item in np.asarray(array).reshape(-1)]
