"""Determinants by Gaussian elimination with pivoting, written out for each column.

p = place of the largest |entry| of column 0       det ← det · a[p, 0] · (+1 if p = 0 else -1)
row p leaves, row 0 takes its place                a   ← a[1:, 1:] - a[1:, 0] / pivot · row p[1:]
"""

from __future__ import annotations

from math import prod

import numpy as np

from edgec.frontends.onnx.context import LoweringContext, LoweringError
from edgec.frontends.onnx.integers import number
from edgec.frontends.onnx.lowerings.movement import box
from edgec.frontends.onnx.registry import lowers
from edgec.ir import DType, Value
from edgec.ops import Builder
from edgec.ops.reduce import ArgMaxAttributes
from edgec.ops.slicing import GatherAttributes

_LARGEST = 64
"""Each column is a dozen nodes; larger matrices would make thousands."""


@lowers("Det")
def determinant(ctx: LoweringContext) -> Value:
    """The determinant of each matrix of the last two axes."""
    x = ctx.input(0)
    size = x.shape[-1] if x.type.rank else 0
    if x.type.rank < 2 or x.shape[-2] != size:
        raise LoweringError(
            f"has an operand of shape {list(x.shape)}",
            "A determinant needs square matrices.",
            "Correct the operand.",
        )
    if size > _LARGEST:
        raise LoweringError(
            f"takes the determinant of {size} x {size} matrices",
            f"It is written out column by column, which is done up to {_LARGEST}.",
            "Compute it outside of the model.",
        )
    batch = x.shape[:-2]
    rest, result = ctx.build.reshape(x, [prod(batch), size, size]), None
    while rest.shape[1] > 1:
        rest, factor = _eliminate(ctx, rest)
        result = factor if result is None else ctx.build.op("mul", [result, factor])
    last = ctx.build.reshape(rest, [prod(batch)])
    return ctx.build.reshape(last if result is None else ctx.build.op("mul", [result, last]), batch)


def _eliminate(ctx: LoweringContext, a: Value) -> tuple[Value, Value]:
    """Return the matrices [B, n-1, n-1] that are left, and the factors [B] of the determinants."""
    build, (batch, size, _) = ctx.build, a.shape
    column = build.reshape(_part(build, a, (0, 0), (size, 1)), [batch, size])
    place = build.op("arg_max", [build.op("abs", [column]), build.constant(1)], ArgMaxAttributes(DType.INT32))
    pivot_row = build.op("gather", [a, build.reshape(place, [batch, 1])], GatherAttributes(1, batch_dims=1))
    rows = build.constant(np.arange(size, dtype=np.int32).reshape(1, size, 1))
    is_pivot = build.op("equal", [build.reshape(place, [batch, 1, 1]), rows])
    swapped = build.op("select_v2", [is_pivot, _part(build, a, (0, 0), (1, size)), a])
    pivot = _part(build, pivot_row, (0, 0), (1, 1))
    # A column of zeros makes the determinant 0: any divisor but 0 will do then.
    zero, one = (number(ctx, value, a) for value in (0.0, 1.0))
    divisor = build.op("select_v2", [build.op("equal", [pivot, zero]), one, pivot])
    factors = build.op("div", [_part(build, swapped, (1, 0), (size - 1, 1)), divisor])
    step = build.op("mul", [factors, _part(build, pivot_row, (0, 1), (1, size - 1))])
    rest = build.op("sub", [_part(build, swapped, (1, 1), (size - 1, size - 1)), step])
    sign = build.op("select_v2", [build.op("equal", [place, build.constant(0)]), one, number(ctx, -1.0, a)])
    return rest, build.op("mul", [build.reshape(pivot, [batch]), sign])


def _part(build: Builder, a: Value, start: tuple[int, int], size: tuple[int, int]) -> Value:
    return box(build, a, [0, *start], [a.shape[0], *size])
