"""Tensor types: element type, shape and, for quantized tensors, scale and zero point."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from math import prod

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.generic]
Shape = tuple[int, ...]

DYNAMIC = -1
"""A dimension known only at run time (the value TFLite's `shape_signature` uses)."""


class DType(StrEnum):
    """Element types, named as in TFLite's `TensorType`, in lower case."""

    FLOAT32 = "float32"
    FLOAT16 = "float16"
    FLOAT64 = "float64"
    INT4 = "int4"
    INT8 = "int8"
    INT16 = "int16"
    INT32 = "int32"
    INT64 = "int64"
    UINT8 = "uint8"
    UINT16 = "uint16"
    UINT32 = "uint32"
    UINT64 = "uint64"
    BOOL = "bool"
    RESOURCE = "resource"

    @property
    def numpy(self) -> np.dtype[np.generic]:
        """The NumPy dtype that holds one element.

        An int4 has a byte of its own until it is written; a resource is a variable's number at run time.
        """
        return np.dtype({DType.INT4: "int8", DType.RESOURCE: "int32"}.get(self, self.value))

    @property
    def is_float(self) -> bool:
        """Whether elements are floating point."""
        return self in (DType.FLOAT32, DType.FLOAT16, DType.FLOAT64)

    @property
    def is_integer(self) -> bool:
        """Whether elements are integers (bool is not)."""
        return not self.is_float and self not in (DType.BOOL, DType.RESOURCE)

    @staticmethod
    def named(name: str) -> DType | None:
        """Return the element type of this name, or None where TFLite has none."""
        return DType(name) if name in set(DType.__members__.values()) else None

    @staticmethod
    def of(array: Array) -> DType:
        """Return the element type of a NumPy array; ValueError if TFLite has none for it."""
        return DType(array.dtype.name)


@dataclass(frozen=True, slots=True)
class Quantization:
    """`real = scale * (q - zero_point)`, per tensor (one entry), per axis (one entry a slice) or in blocks.

    `quantized_dimension` is the axis of per-axis parameters. Scales are float32 values held as floats. With a
    `block_size`, every so many neighbours in a row of a matrix have a scale (float16), row by row.
    """

    scale: tuple[float, ...]
    zero_point: tuple[int, ...]
    quantized_dimension: int = 0
    block_size: int = 0

    @property
    def per_axis(self) -> bool:
        """Whether each slice along `quantized_dimension` has its own scale."""
        return len(self.scale) > 1 and not self.block_size

    @staticmethod
    def per_tensor(scale: float, zero_point: int = 0) -> Quantization:
        """Return per-tensor parameters; the scale is rounded to float32 as the file will hold it."""
        return Quantization((float(np.float32(scale)),), (int(zero_point),))


@dataclass(frozen=True, slots=True)
class TensorType:
    """What a value is: `float32[1,8,8,3]`, or with `quantization` for quantized tensors."""

    shape: Shape
    dtype: DType = DType.FLOAT32
    quantization: Quantization | None = None

    @property
    def rank(self) -> int:
        """Number of dimensions."""
        return len(self.shape)

    @property
    def is_static(self) -> bool:
        """Whether every dimension is known."""
        return DYNAMIC not in self.shape

    @property
    def size(self) -> int:
        """Number of elements; ValueError for a dynamic shape."""
        if not self.is_static:
            raise ValueError(f"size of dynamic shape {self.shape}")
        return prod(self.shape)

    def with_shape(self, shape: Shape) -> TensorType:
        """Return the same element type and quantization in another shape."""
        return replace(self, shape=shape)

    def __str__(self) -> str:
        dims = ",".join("?" if dim == DYNAMIC else str(dim) for dim in self.shape)
        text = f"{self.dtype}[{dims}]"
        if self.quantization is None:
            return text
        q = self.quantization
        if q.block_size:
            return f"{text} blocks of {q.block_size} scales {len(q.scale)}"
        if q.per_axis:
            return f"{text} axis {q.quantized_dimension} scales {len(q.scale)}"
        return f"{text} scale {q.scale[0]:.8g} zero_point {q.zero_point[0]}"
