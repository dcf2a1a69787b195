"""Pads that only the run time knows: every result position along an axis reads one entry of the input.

position p = -low … size + high - 1        (negative pads cut entries off before: size is what is left)
edge       p held within [0, size)
wrap       p mod size
reflect    min(m, period - m) with m = p mod period, period = 2 (size - 1)
constant   as edge, and the constant wherever p is outside
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgec.frontends.onnx.axes import checked_axis
from edgec.frontends.onnx.context import LoweringContext, LoweringError
from edgec.frontends.onnx.sizes import Size, as_value, dim, entry, int32, length, placed
from edgec.ir import DYNAMIC, Value
from edgec.ops import Builder
from edgec.ops.slicing import GatherAttributes

Pads = Sequence[tuple[Size, Size]]


def read_pads(ctx: LoweringContext, pads_at: int, axes_at: int) -> list[tuple[Size, Size]]:
    """Return (low, high) of every axis from operands of which some are computed at run time."""
    build, rank = ctx.build, ctx.input(0).type.rank
    pads = int32(build, ctx.input(pads_at))
    count = length(ctx, pads_at) // 2
    axes = ctx.optional_input(axes_at)
    axes = None if axes is None else int32(build, axes)
    if (rank if axes is None else axes.shape[0]) != count:
        raise LoweringError(
            f"has {2 * count} pads for {rank} axes", "Each axis needs two.", "Correct the pads."
        )
    named = range(rank)
    if axes is not None and axes.data is not None:
        named = [checked_axis(int(axis), rank) for axis in axes.data]
    halves = [
        placed(
            build,
            build.op("slice", [pads, build.constant([start]), build.constant([count])]),
            axes,
            build.constant(np.zeros(rank, np.int32)),
        )
        for start in (0, count)
    ]
    return [
        (entry(build, halves[0], axis), entry(build, halves[1], axis)) if axis in named else (0, 0)
        for axis in range(rank)
    ]


def pad_at_run_time(build: Builder, x: Value, pads: Pads, mode: str, fill: Value | None) -> Value:
    """Return x padded and cut along every axis whose pads are not known to be 0."""
    for axis, (low, high) in enumerate(pads):
        if (low, high) != (0, 0):
            x = _padded(build, x, axis, as_value(build, low), as_value(build, high), mode, fill)
    return x


def _padded(
    build: Builder, x: Value, axis: int, low: Value, high: Value, mode: str, fill: Value | None
) -> Value:
    zero, one = (build.constant(np.asarray(n, np.int32)) for n in (0, 1))
    cut = [build.op("maximum", [build.op("neg", [pad]), zero]) for pad in (low, high)]
    added = [build.op("maximum", [pad, zero]) for pad in (low, high)]
    size = as_value(build, dim(build, x, axis))
    for gone in cut:
        size = build.op("sub", [size, gone])
    place = build.op("range", [build.op("neg", [added[0]]), build.op("add", [size, added[1]]), one])
    last = build.op("sub", [size, one])
    if mode == "wrap":
        held = build.op("floor_mod", [place, size])
    elif mode == "reflect":
        period = build.op("maximum", [build.op("add", [last, last]), one])
        within = build.op("floor_mod", [place, period])
        held = build.op("minimum", [within, build.op("sub", [period, within])])
    else:
        held = build.op("minimum", [build.op("maximum", [place, zero]), last])
    y = build.op("gather", [x, build.op("add", [held, cut[0]])], GatherAttributes(axis))
    if mode != "constant":
        return y
    inside = build.op("equal", [place, held])
    inside = build.reshape(inside, [DYNAMIC if a == axis else 1 for a in range(x.type.rank)])
    fill = build.constant(np.zeros((), x.dtype.numpy)) if fill is None else fill
    return build.op("select_v2", [inside, y, fill])


def centred(build: Builder, x: Value, axis: int, size: Value) -> tuple[Value, Value]:
    """Return the pads that bring an axis to a size: as much in front as behind, or one less in front."""
    missing = build.op("sub", [size, as_value(build, dim(build, x, axis))])
    low = build.op("div", [missing, build.constant(np.asarray(2, np.int32))])  # rounds towards zero
    return low, build.op("sub", [missing, low])
