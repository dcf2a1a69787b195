"""Quantization parameters as ONNX operators give them: scale and zero point, per tensor, axis or block."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgec.frontends.onnx.context import LoweringContext, LoweringError
from edgec.frontends.onnx.lowerings.cast import element_type
from edgec.frontends.onnx.lowerings.matmul import reshaped
from edgec.ir import DYNAMIC, DType, Quantization, Value
from edgec.ops import Builder
from edgec.ops.grids import shifted
from edgec.ops.slicing import GatherAttributes

_SHIFTS = {DType.INT8: 0, DType.UINT8: 128}
"""Element types of int8 grids, and what to subtract from their integers."""


@dataclass(frozen=True)
class Parameters:
    """Scale and zero point operands of one tensor. `axis` counts from 0; `block` is 0 without blocks."""

    scale: Value
    zero_point: Value | None
    dtype: DType
    axis: int = 0
    block: int = 0

    @property
    def per_tensor(self) -> bool:
        """Whether one scale serves all elements."""
        points = 1 if self.zero_point is None else self.zero_point.type.size
        return self.scale.type.size == points == 1 and not self.block

    def grid(self) -> Quantization | None:
        """Return the parameters of an int8 or uint8 tensor as constants; None where there are none."""
        if self.scale.data is None or self.block or self.dtype not in _SHIFTS or self.scale.type.rank > 1:
            return None
        scale = self.scale.data.reshape(-1).astype(np.float32)
        points = np.zeros(scale.shape, np.int64)
        if self.zero_point is not None:
            if self.zero_point.data is None or self.zero_point.data.size not in (1, scale.size):
                return None
            points = np.broadcast_to(self.zero_point.data.reshape(-1).astype(np.int64), scale.shape)
        if not np.all(np.isfinite(scale) & (scale > 0)):
            return None
        axis = self.axis if scale.size > 1 else 0
        return Quantization(tuple(map(float, scale)), tuple(map(int, points)), axis)

    def int8_grid(self) -> Quantization | None:
        """Return the grid with its integers as int8."""
        grid = self.grid()
        return None if grid is None else shifted(grid, -_SHIFTS[self.dtype])

    def spread(self, build: Builder, x: Value) -> tuple[Value, Value | None]:
        """Return scale and zero point in shapes that broadcast to `x`."""
        point = None if self.zero_point is None else self._spread(build, self.zero_point, x)
        return self._spread(build, self.scale, x), point

    def _spread(self, build: Builder, value: Value, x: Value) -> Value:
        if value.type.size == 1:
            return reshaped(build, value, [])
        if self.block:
            blocks = np.arange(x.shape[self.axis], dtype=np.int32) // self.block
            return build.op("gather", [value, build.constant(blocks)], GatherAttributes(axis=self.axis))
        if value.type.rank != 1:
            return value
        shape = [1] * x.type.rank
        shape[self.axis] = value.shape[0]
        return reshaped(build, value, shape)


def read_parameters(ctx: LoweringContext, first: int, x: Value, dtype: DType) -> Parameters:
    """Return the parameters of a Quantize- or DequantizeLinear, whose scale is operand `first`."""
    axis, block = ctx.int("axis", 1), ctx.int("block_size")
    rank = x.type.rank
    scale = ctx.input(first)
    if scale.type.size > 1 and not -rank <= axis < rank:
        raise LoweringError(f"axis {axis} is out of range for {list(x.shape)}", "", "Export the model again.")
    axis = axis % rank if rank else 0
    if block and x.shape[axis] == DYNAMIC:
        raise LoweringError(
            f"has blocks along axis {axis} of {x.type}, whose size is known only at run time",
            "Which block an element belongs to follows from the size.",
            "Fix the size with --input-shape.",
        )
    return Parameters(scale, ctx.optional_input(first + 1), dtype, axis, block)


def quantized_type(ctx: LoweringContext) -> DType:
    """Return the element type a QuantizeLinear makes: its zero point's, else `output_dtype`, else uint8."""
    zero_point = ctx.optional_input(2)
    if zero_point is not None:
        _refuse_packed(ctx, ctx.node.input[2])
        return zero_point.dtype
    return element_type(ctx.int("output_dtype")) if ctx.int("output_dtype") else DType.UINT8


def _refuse_packed(ctx: LoweringContext, name: str) -> None:
    """Refuse a zero point that the file stores in less than a byte: its range is not that of the byte."""
    from onnx import TensorProto

    types = {tensor.name: tensor.data_type for tensor in ctx.inner.scope.proto.initializer}
    narrow = (TensorProto.INT4, TensorProto.UINT4, TensorProto.INT2, TensorProto.UINT2)
    if types.get(name) in narrow:
        raise LoweringError(
            f"quantizes to {TensorProto.DataType.Name(types[name]).lower()}",
            "Kernels have no such element type for activations.",
            "Store quantized weights in the model, or use 8 bits.",
        )
