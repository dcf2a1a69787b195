"""Second spellings of what other kinds say: select (version 1), one_hot, add_n, relu_0_to_1."""

from __future__ import annotations

from functools import reduce

import numpy as np

from edgec.frontends.tflite.context import Context, LoweringError
from edgec.frontends.tflite.registry import lowers
from edgec.ir import Value


@lowers("SELECT")
def select(ctx: Context) -> list[Value]:
    """Like select_v2, but a condition of rank 1 chooses rows."""
    condition, x, y = (ctx.input(index) for index in range(3))
    if condition.type.rank == 1 and x.type.rank > 1:
        condition = ctx.reshape(condition, [*condition.shape, *[1] * (x.type.rank - 1)])
    return ctx.move("select_v2", [condition, x, y])


@lowers("ONE_HOT")
def one_hot(ctx: Context) -> list[Value]:
    """`on` where an index equals the position along a new axis, else `off`; others give `off` alone."""
    indices, depth = ctx.input(0), ctx.ints(1, "depth")[0]
    on, off = ctx.input(2), ctx.input(3)
    rank = indices.type.rank
    axis = rank if ctx.option("axis", -1) == -1 else ctx.option("axis")
    if depth < 0 or not 0 <= axis <= rank:
        raise LoweringError(f"makes {depth} entries along axis {axis} of {rank + 1}", "The file is damaged.")
    column = ctx.reshape(indices, [*indices.shape[:axis], 1, *indices.shape[axis:]])
    positions = np.arange(depth, dtype=indices.dtype.numpy).reshape([depth, *[1] * (rank - axis)])
    matches = ctx.build.op("equal", [column, ctx.build.constant(positions)])
    return ctx.move("select_v2", [matches, on, off])


@lowers("ADD_N")
def add_n(ctx: Context) -> list[Value]:
    """The sum of all operands."""
    values = [ctx.input(index) for index in range(len(ctx.inputs))]
    return [reduce(lambda total, value: ctx.build.op("add", [total, value]), values)]


@lowers("RELU_0_TO_1")
def relu_0_to_1(ctx: Context) -> list[Value]:
    """min(max(x, 0), 1)."""
    x = ctx.input(0)
    if not x.dtype.is_float:
        raise LoweringError("is quantized relu_0_to_1", "No kind of ours keeps its integers as they are.")
    low = ctx.build.op("maximum", [x, ctx.build.constant(0.0)])
    return [ctx.build.op("minimum", [low, ctx.build.constant(1.0)])]
