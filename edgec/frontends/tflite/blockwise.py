"""Weights in blocks: their scales stand in a float16 tensor of their own.

weights [rows, depth] int4, details: blocks of b, scales ──▶ float16 [rows, depth / b]
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edgec.emit.options import schema
from edgec.frontends.tflite.structure import numbers
from edgec.ir import Array, DType, Quantization, Shape

Table = Any  # objects of the generated schema module, which has no type annotations

NO_TENSOR = -1


class BlockError(ValueError):
    """Blocks that the IR cannot hold; the message completes "tensor 'x' ..."."""


def is_blockwise(details: Table) -> bool:
    """Whether the details of a quantization are blocks, the only ones that the IR can hold."""
    return isinstance(details, schema().BlockwiseQuantizationT)


def scales_of(details: Table, tensors: Sequence[Table]) -> Table:
    """Return the tensor that holds the scales; BlockError where there is none, or with zero points."""
    if not 0 <= details.scales < len(tensors):
        raise BlockError(f"is quantized in blocks whose scales are tensor {details.scales} of {len(tensors)}")
    if details.zeroPoints != NO_TENSOR:
        raise BlockError("is quantized in blocks with zero points, which this compiler does not take")
    return tensors[details.scales]


def blocks(shape: Shape, dtype: DType, size: int, table: Table, scales: Array | None) -> Quantization:
    """Return the parameters; BlockError where type, shape and scales do not fit together."""
    if dtype is not DType.INT4:
        raise BlockError(f"is {dtype} in blocks; kernels take int4")
    if len(shape) != 2 or size < 1 or shape[1] % size:
        raise BlockError(f"has shape {shape}, which does not divide into blocks of {size}")
    if table.type != schema().TensorType.FLOAT16 or scales is None:
        raise BlockError("is quantized in blocks whose scales are no float16 constant")
    wanted = (shape[0], shape[1] // size)
    if tuple(numbers(table.shape)) != wanted or scales.size != wanted[0] * wanted[1]:
        raise BlockError(f"is quantized in blocks of {size} with scales {numbers(table.shape)}, not {wanted}")
    stored = tuple(float(scale) for scale in scales.reshape(-1))
    if not all(0 < scale < float("inf") for scale in stored):
        raise BlockError("is quantized in blocks with a scale that is no positive number")
    return Quantization(stored, (0,) * len(stored), block_size=size)
