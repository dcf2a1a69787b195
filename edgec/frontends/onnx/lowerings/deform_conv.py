"""DeformConv: a convolution whose taps each have an offset of their own at every output cell.

samples[n, g, tap, o] = x at (o * stride - pad + tap * dilation + offset[n, g, tap, o])     bilinear
y[n, o] = W · (samples * mask)[n, o]                                                       one product
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from edgec.frontends.onnx.context import LoweringContext, LoweringError
from edgec.frontends.onnx.lowerings.convolution import permuted
from edgec.frontends.onnx.lowerings.matmul import multiply
from edgec.frontends.onnx.lowerings.movement import sliced
from edgec.frontends.onnx.lowerings.padding import Window, read_windows
from edgec.frontends.onnx.lowerings.sampling import first_rows
from edgec.frontends.onnx.lowerings.taps import linear_taps, read_rows, weighted_sum, weights_of, zero_outside
from edgec.frontends.onnx.registry import lowers
from edgec.ir import Value


@dataclass(frozen=True, slots=True)
class _Shape:
    """Sizes of one node: samples, groups of channels that share offsets, taps, output cells."""

    batch: int
    groups: int
    taps: int
    cells: int


@lowers("DeformConv", since=19)
def deform_conv(ctx: LoweringContext) -> Value:
    """Deformable convolution of `[N, C, H, W]` with optional bias and mask."""
    x, weights = ctx.input(0), ctx.input(1)
    if x.type.rank != 4:
        raise LoweringError(f"reads {list(x.shape)}", "Images have two spatial axes.", "Use a 2-D operator.")
    windows = read_windows(ctx, x.shape[2:], ctx.ints("kernel_shape") or weights.shape[2:])
    outputs = (windows[0].output, windows[1].output)
    shape = _Shape(x.shape[0], ctx.int("offset_group", 1), prod(weights.shape[2:]), prod(outputs))
    _check(ctx, shape, outputs)
    samples = _samples(ctx, shape, windows)
    y = _product(ctx, samples, shape)
    bias = ctx.optional_input(3)
    y = y if bias is None else ctx.build.op("add", [y, bias])
    return ctx.to_channels_first(ctx.build.reshape(y, [shape.batch, *outputs, weights.shape[0]]))


def _check(ctx: LoweringContext, shape: _Shape, outputs: tuple[int, int]) -> None:
    x, weights, offset = (ctx.input(index) for index in range(3))
    group = ctx.int("group", 1)
    expected = (shape.batch, shape.groups * shape.taps * 2, *outputs)
    divides = shape.groups > 0 < group and not x.shape[1] % shape.groups and not weights.shape[0] % group
    if offset.shape != expected or not divides or weights.shape[1] * group != x.shape[1]:
        raise LoweringError(
            f"has input {list(x.shape)}, weights {list(weights.shape)} and offsets {list(offset.shape)}",
            f"Offsets are {list(expected)}; groups divide the channels.",
            "Export the model again.",
        )


def _samples(ctx: LoweringContext, shape: _Shape, windows: Sequence[Window]) -> Value:
    """Return the image at every displaced tap, times the mask, `[N * groups, taps * cells, C / groups]`."""
    x, build = ctx.input(0), ctx.build
    _, channels, *sizes = x.shape
    images, each = shape.batch * shape.groups, channels // shape.groups
    points = build.reshape(ctx.input(2), [images, shape.taps, 2, shape.cells])
    axes = [
        zero_outside(build, linear_taps(build, _positions(ctx, points, axis, windows)), sizes[axis])
        for axis in (0, 1)
    ]
    rows = build.reshape(x, [images, each, *sizes])
    rows = build.reshape(ctx.to_channels_last(rows), [images * prod(sizes), each])
    first = first_rows(build, images, prod(sizes)) if images > 1 else None
    samples = weighted_sum(build, read_rows(build, rows, axes, sizes, first), weights_of(build, axes))
    mask = ctx.optional_input(4)
    if mask is None:
        return samples
    return build.op("mul", [samples, build.reshape(mask, [images, shape.taps * shape.cells, 1])])


def _positions(ctx: LoweringContext, points: Value, axis: int, windows: Sequence[Window]) -> Value:
    """Return offsets plus the places that an ordinary convolution reads, `[N * groups, taps * cells, 1]`."""
    build = ctx.build
    images, taps, _, cells = points.shape
    lines = [window.taps() for window in windows]  # [output, kernel]
    grid = lines[axis].T[:, None, :, None] if axis == 0 else lines[axis].T[None, :, None, :]
    kernels, outputs = [w.kernel for w in windows], [w.output for w in windows]
    base = np.broadcast_to(grid, (*kernels, *outputs)).reshape(taps, 1, cells)
    offset = sliced(build, points, 2, axis, 1)
    x = build.op("add", [offset, build.constant(base.astype(np.float32)[None])])
    return build.reshape(x, [images, taps * cells, 1])


def _product(ctx: LoweringContext, samples: Value, shape: _Shape) -> Value:
    """Return `[N * cells, C_out]`: samples in the weights' order (channel, tap), group by group."""
    build, weights, group = ctx.build, ctx.input(1), ctx.int("group", 1)
    units, depth = weights.shape[0] // group, weights.shape[1] * shape.taps
    each = samples.shape[2]
    rows = build.reshape(samples, [shape.batch, shape.groups, shape.taps, shape.cells, each])
    rows = build.transpose(rows, [0, 3, 1, 4, 2])
    if group == 1:
        arranged = permuted(build, weights, [units, depth], [1, 0])
        return multiply(build, build.reshape(rows, [shape.batch * shape.cells, depth]), arranged)
    rows = build.transpose(build.reshape(rows, [shape.batch * shape.cells, group, depth]), [1, 0, 2])
    arranged = permuted(build, weights, [group, units, depth], [0, 2, 1])
    y = build.transpose(multiply(build, rows, arranged), [1, 0, 2])
    return build.reshape(y, [shape.batch * shape.cells, group * units])
