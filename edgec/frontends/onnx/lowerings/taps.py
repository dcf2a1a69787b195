"""Reading an image between its cells: taps (positions and weights) of each axis, and their weighted sum.

Positions are floats `[N, P, 1]`, one for each sample n and point p. An axis turns them into t taps:

    nearest   x, rounded before         weight 1
    linear    floor(x) + 0, 1           1 - f, f                with f = x - floor(x)
    cubic     floor(x) - 1, 0, 1, 2     Keys' kernel, a = -3/4

Points then read all combinations of their axes' taps in one gather of rows `[cells, channels]`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from edgec.frontends.onnx.lowerings.movement import concatenated
from edgec.ir import DType, Value
from edgec.ops import Builder
from edgec.ops.elementwise import CastAttributes
from edgec.ops.reduce import ReducerAttributes
from edgec.ops.slicing import GatherAttributes

_CUBIC = -0.75


@dataclass(frozen=True, slots=True)
class Taps:
    """Cells (whole floats) and weights of one axis, `[N, P, t]`; no weights where all are 1."""

    cells: Value
    weights: Value | None


def nearest_taps(build: Builder, x: Value) -> Taps:
    """Return the cell at x, which is rounded already."""
    return Taps(x, None)


def linear_taps(build: Builder, x: Value) -> Taps:
    """Return the cells on both sides."""
    low = build.op("floor", [x])
    fraction = build.op("sub", [x, low])
    rest = build.op("sub", [build.constant(1.0), fraction])
    return Taps(_offset(build, low, range(2)), concatenated(build, [rest, fraction], 2))


def cubic_taps(build: Builder, x: Value) -> Taps:
    """Return the two cells on both sides, weighted by Keys' cubic convolution kernel."""
    low = build.op("floor", [x])
    fraction = build.op("sub", [x, low])
    rest = build.op("sub", [build.constant(1.0), fraction])
    weights = [_far(build, fraction), _near(build, fraction), _near(build, rest), _far(build, rest)]
    return Taps(_offset(build, low, range(-1, 3)), concatenated(build, weights, 2))


def _offset(build: Builder, low: Value, offsets: range) -> Value:
    return build.op("add", [low, build.constant(np.array(offsets, np.float32))])


def _near(build: Builder, f: Value) -> Value:
    """((a + 2) f - (a + 3)) f² + 1: the kernel at distance f < 1."""
    return _polynomial(build, f, [_CUBIC + 2, -(_CUBIC + 3), 0.0, 1.0])


def _far(build: Builder, f: Value) -> Value:
    """a f³ - 2 a f² + a f: the kernel at distance 1 + f."""
    return _polynomial(build, f, [_CUBIC, -2 * _CUBIC, _CUBIC, 0.0])


def _polynomial(build: Builder, f: Value, coefficients: Sequence[float]) -> Value:
    """Horner's scheme, highest power first."""
    y = build.op("mul", [f, build.constant(coefficients[0])])
    for coefficient in coefficients[1:-1]:
        y = build.op("add", [y, build.constant(coefficient)]) if coefficient else y
        y = build.op("mul", [y, f])
    return build.op("add", [y, build.constant(coefficients[-1])]) if coefficients[-1] else y


def clamped(build: Builder, x: Value, low: float, high: float) -> Value:
    """Return x held within [low, high]."""
    return build.op("minimum", [build.op("maximum", [x, build.constant(low)]), build.constant(high)])


def zero_outside(build: Builder, taps: Taps, size: int) -> Taps:
    """Give cells outside of [0, size) the weight 0, and a cell inside to read."""
    inside = clamped(build, taps.cells, 0.0, size - 1.0)
    mask = to_float(build, build.op("equal", [inside, taps.cells]))
    return Taps(inside, mask if taps.weights is None else build.op("mul", [taps.weights, mask]))


def to_float(build: Builder, x: Value) -> Value:
    """Return bools or integers as float32."""
    return build.op("cast", [x], CastAttributes(x.dtype, DType.FLOAT32))


def to_int(build: Builder, x: Value) -> Value:
    """Return whole floats as int32."""
    return build.op("cast", [x], CastAttributes(x.dtype, DType.INT32))


def read_rows(
    build: Builder, rows: Value, axes: Sequence[Taps], sizes: Sequence[int], first: Value | None
) -> Value:
    """Return what every combination of taps reads, `[N, P, t * t …, channels]`.

    `first` (int32, broadcasts to `[N, P, 1]`) is the row of a sample's cell 0; None where all begin at row 0.
    """
    cells = [to_int(build, taps.cells) for taps in axes]
    index = cells[0]
    for cell, size in zip(cells[1:], sizes[1:], strict=True):
        index = build.op("mul", [index, build.constant(size)])
        index = _pairs(build, "add", index, cell)
    if first is not None:
        index = build.op("add", [index, first])
    return build.op("gather", [rows, index], GatherAttributes(axis=0))


def weights_of(build: Builder, axes: Sequence[Taps]) -> Value | None:
    """Return the product of the weights of every combination of taps, `[N, P, t * t …, 1]`, or None for 1."""
    product: Value | None = None
    for taps in axes:
        if taps.weights is not None:
            product = taps.weights if product is None else _pairs(build, "mul", product, taps.weights)
    return None if product is None else build.reshape(product, [*product.shape, 1])


def weighted_sum(build: Builder, picked: Value, weights: Value | None) -> Value:
    """Return the sum of what taps read, times their weights, `[N, P, channels]`."""
    if weights is not None:
        picked = build.op("mul", [picked, weights])
    if picked.shape[2] == 1:
        return build.reshape(picked, [*picked.shape[:2], picked.shape[3]])
    return build.op("sum", [picked, build.constant([2])], ReducerAttributes(keep_dims=False))


def _pairs(build: Builder, kind: str, left: Value, right: Value) -> Value:
    """Combine every entry of `[N, P, s]` with every entry of `[N, P, t]` to `[N, P, s * t]`."""
    if left.shape[2] > 1 and right.shape[2] > 1:
        left = build.reshape(left, [*left.shape, 1])
        right = build.reshape(right, [*right.shape[:2], 1, right.shape[2]])
    y = build.op(kind, [left, right])
    return build.reshape(y, [*y.shape[:2], prod(y.shape[2:])])
