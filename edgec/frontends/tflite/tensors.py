"""`TensorT` → the IR's types and constants; weights are views of the file wherever alignment allows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from math import prod
from typing import Any

import numpy as np

from edgec.emit.options import schema
from edgec.frontends.tflite.blockwise import BlockError, blocks, is_blockwise, scales_of
from edgec.frontends.tflite.load import TfliteFile
from edgec.frontends.tflite.structure import numbers, text
from edgec.ir import Array, DType, Quantization, TensorType
from edgec.ir.packing import unpack_int4

Table = Any  # objects of the generated schema module, which has no type annotations


class TensorError(ValueError):
    """A tensor that the IR cannot hold; the message completes "tensor 'x' ..."."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor of a file: its type as written, and its data where it has some."""

    name: str
    type: TensorType
    declared: tuple[int, ...]
    data: Array | None
    is_variable: bool


def read_tensor(file: TfliteFile, table: Table, index: int, graph: Sequence[Table] = ()) -> Tensor:
    """Return a tensor; TensorError where its element type, packing or data cannot be taken.

    `graph` are all tensors of its graph: what is quantized in blocks has its scales in another one.
    """
    dtype = _dtype(table.type)
    shape = tuple(numbers(table.shape))
    declared = tuple(numbers(table.shapeSignature)) or shape
    if len(declared) != len(shape):
        raise TensorError(f"has shape {shape} but signature {declared}")
    if table.sparsity is not None:
        raise TensorError("is stored sparse, which is not read; convert the model without sparse weights")
    if table.externalBuffer:
        raise TensorError("keeps its data in another file, which is not read")
    type = TensorType(shape, dtype, _quantization(file, table.quantization, shape, dtype, graph))
    # the converter joins the names of all it fused with ';', the last operation first
    name = text(table.name).split(";")[0] or f"tensor_{index}"
    return Tensor(name, type, declared, _data(file, table, type), bool(table.isVariable))


def element_type(number: int) -> str:
    """Return the schema's name of an element type, for messages."""
    return _names("TensorType").get(number, f"type {number}")


@cache
def _names(enum: str) -> dict[int, str]:
    members = vars(getattr(schema(), enum)).items()
    return {value: name for name, value in members if isinstance(value, int) and not name.startswith("_")}


def enum_name(enum: str, number: int) -> str | None:
    """Return the member of a schema enum with this number, or None."""
    return _names(enum).get(number)


def _dtype(number: int) -> DType:
    name = element_type(number)
    dtype = DType.named(name.lower())
    if dtype is None:
        raise TensorError(f"is of element type {name}, which this compiler does not take")
    return dtype


def _quantization(
    file: TfliteFile, table: Table, shape: tuple[int, ...], dtype: DType, graph: Sequence[Table]
) -> Quantization | None:
    """Return the parameters; ranges without a scale (`min`, `max` alone) are notes, not quantization."""
    if table is not None and table.details is not None:
        return _with_details(file, table.details, shape, dtype, graph)
    if table is None or table.scale is None or isinstance(table.scale, int) or not len(table.scale):
        return None
    if dtype.is_float or dtype is DType.BOOL:
        return None
    scale = tuple(float(item) for item in table.scale)
    points = tuple(numbers(table.zeroPoint)) or (0,)
    if len(points) == 1:
        points *= len(scale)
    axis = int(table.quantizedDimension) if len(scale) > 1 else 0
    if len(points) != len(scale):
        raise TensorError(f"has {len(scale)} scales but {len(points)} zero points")
    if len(scale) > 1 and (axis >= len(shape) or shape[axis] != len(scale)):
        if shape != (len(scale),):  # files before the format was fixed name axis 3 of a 1-D bias
            raise TensorError(f"has {len(scale)} scales for axis {axis} of {shape}")
        axis = 0
    return Quantization(scale, points, axis)


def _with_details(
    file: TfliteFile, details: Table, shape: tuple[int, ...], dtype: DType, graph: Sequence[Table]
) -> Quantization:
    if not is_blockwise(details):
        name = type(details).__name__.removesuffix("T")
        raise TensorError(f"is quantized by {name}, which this compiler does not take")
    try:
        scales = scales_of(details, graph)
        raw = _bytes(file, scales.buffer)
        halves = None if raw is None else raw[: raw.size // 2 * 2].view(np.float16)
        return blocks(shape, dtype, int(details.blockSize), scales, halves)
    except BlockError as error:
        raise TensorError(str(error)) from None


def _data(file: TfliteFile, table: Table, type: TensorType) -> Array | None:
    raw = _bytes(file, table.buffer)
    if raw is None:
        return None
    if type.dtype is DType.INT4:
        try:
            return unpack_int4(raw, type.shape)
        except ValueError as error:
            raise TensorError(f"is {type} but has {error}") from None
    expected = prod(type.shape) * type.dtype.numpy.itemsize
    if raw.size != expected:
        raise TensorError(f"is {type} ({expected} bytes) but has {raw.size} bytes of data")
    return np.require(raw.view(type.dtype.numpy).reshape(type.shape), requirements="A")


def _bytes(file: TfliteFile, index: int) -> np.ndarray[Any, np.dtype[np.uint8]] | None:
    buffers = file.table.buffers or []
    if index == 0 or index >= len(buffers):
        return None  # by convention buffer 0 is the empty one, whatever an old writer left there
    buffer = buffers[index]
    if buffer.offset > 1:
        return np.frombuffer(file.raw, np.uint8, buffer.size, buffer.offset)
    if buffer.data is None or isinstance(buffer.data, int) or not len(buffer.data):
        return None
    return np.asarray(buffer.data, np.uint8)
