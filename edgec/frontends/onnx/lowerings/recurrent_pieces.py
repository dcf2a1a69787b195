"""Small pieces of recurrences that stay constant where their operands are: cut, join, sum, matrix product."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgec.ir import Value
from edgec.ops import Builder
from edgec.ops.matmul import BatchMatMulAttributes, FullyConnectedAttributes
from edgec.ops.movement import ConcatenationAttributes
from edgec.ops.slicing import SplitAttributes


@dataclass(frozen=True, slots=True)
class Linear:
    """x ↦ x · Wᵀ + bias over the last axis of a rank-3 x; made once and used at every step."""

    build: Builder
    weights: Value
    bias: Value | None

    @staticmethod
    def of(build: Builder, weights: Value, bias: Value | None = None) -> Linear:
        """Prepare weights `[1, units, depth]` and bias `[1, units]`."""
        if weights.data is None:
            return Linear(build, weights, bias)
        if bias is not None and bias.data is not None:
            bias = build.constant(bias.data[0], name=bias.name)
        return Linear(build, build.constant(weights.data[0], name=weights.name), bias)

    def __call__(self, x: Value) -> Value:
        """Return the product; weights computed at run time go to batch_matmul, which XNNPACK also takes."""
        if self.weights.data is None:
            attributes = BatchMatMulAttributes(adj_y=True)
            return self._plus_bias(self.build.op("batch_matmul", [x, self.weights], attributes))
        attributes = FullyConnectedAttributes(keep_num_dims=True)
        if self.bias is not None and self.bias.data is not None:
            return self.build.op("fully_connected", [x, self.weights, self.bias], attributes)
        return self._plus_bias(self.build.op("fully_connected", [x, self.weights], attributes))

    def _plus_bias(self, product: Value) -> Value:
        return product if self.bias is None else self.build.op("add", [product, self.bias])


def add(build: Builder, x: Value | None, y: Value | None) -> Value | None:
    """Return x + y, where None is zero; of constants a constant."""
    if x is None or y is None:
        return y if x is None else x
    if x.data is not None and y.data is not None:
        return build.constant(np.add(x.data, y.data, dtype=np.float32), name=x.name)
    return build.op("add", [x, y])


def join(build: Builder, parts: Sequence[Value], axis: int) -> Value:
    """Concatenate; one part is itself, of constants a constant."""
    if len(parts) == 1:
        return parts[0]
    arrays = [part.data for part in parts if part.data is not None]
    if len(arrays) == len(parts):
        return build.constant(np.concatenate(arrays, axis), name=parts[0].name)
    return build.op("concatenation", parts, ConcatenationAttributes(axis))


def cut(build: Builder, x: Value, axis: int, start: int, size: int) -> Value:
    """Return `size` entries of an axis from `start` on; the whole is x itself, of a constant a constant."""
    if (start, size) == (0, x.shape[axis]):
        return x
    if x.data is not None:
        index = (*[slice(None)] * axis, slice(start, start + size))
        return build.constant(np.ascontiguousarray(x.data[index]), name=x.name)
    begin, sizes = [0] * x.type.rank, list(x.shape)
    begin[axis], sizes[axis] = start, size
    return build.op("slice", [x, build.constant(begin), build.constant(sizes)])


def split(build: Builder, x: Value, count: int) -> tuple[Value, ...]:
    """Cut the last axis into equal parts."""
    axis = build.constant(x.type.rank - 1)
    return build.node("split", [axis, x], SplitAttributes(count)).results


def transpose(build: Builder, x: Value, permutation: Sequence[int]) -> Value:
    """Transpose; of a constant a constant."""
    if x.data is None:
        return build.transpose(x, permutation)
    return build.constant(np.ascontiguousarray(x.data.transpose(permutation)), name=x.name)
