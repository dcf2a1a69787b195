"""ConvTranspose of one to three spatial dimensions.

One axis: the full result has f = s * (i - 1) + (k - 1) * d + 1 cells; the node keeps `output` of them from
cell `low` on. Cells behind f belong to output_padding and hold the bias alone.

    SAME                   output of TensorFlow's SAME, where that crops `low` cells too
    VALID + slice          everything else that fits on a canvas of f .. f + s - 1 cells
    zeros between + conv   many groups, or results that start before cell 0 or end behind the canvas:
                           y = conv(zeros inserted into x, weights flipped), one op for all groups

Three axes: every plane and every tap along the depth by the above, as O * kD channels; each plane of the
result is the sum of those that lie on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgec.frontends.onnx.context import LoweringContext, LoweringError
from edgec.frontends.onnx.lowerings.col2im import summed_entries
from edgec.frontends.onnx.lowerings.convolution import convolve, permuted, zeros
from edgec.frontends.onnx.lowerings.padding import (
    Window,
    axis_ints,
    from_nhwc,
    pad_or_crop,
    spatial_rank,
    to_nhwc,
)
from edgec.frontends.onnx.registry import lowers
from edgec.ir import Value
from edgec.ops import Builder, Padding
from edgec.ops.conv import TransposeConvAttributes
from edgec.ops.movement import ConcatenationAttributes

_MOST_SPLITS = 4
"""Groups up to this count become one transpose_conv each: XNNPACK splits a tensor into four at most."""


@dataclass(frozen=True, slots=True)
class _Axis:
    size: int
    kernel: int
    stride: int
    dilation: int
    low: int
    output: int

    @property
    def extent(self) -> int:
        return (self.kernel - 1) * self.dilation + 1

    @property
    def full(self) -> int:
        return self.stride * (self.size - 1) + self.extent

    @property
    def canvas(self) -> int:
        """What transpose_conv shall write: up to stride - 1 cells behind the full result stay empty."""
        return max(self.full, self.low + self.output)

    @property
    def fits(self) -> bool:
        return self.low >= 0 and self.canvas < self.full + self.stride

    @property
    def is_same(self) -> bool:
        total = max(self.full - self.output, 0)
        return -(-self.output // self.stride) == self.size and self.low == total // 2


@lowers("ConvTranspose")
def conv_transpose(ctx: LoweringContext) -> Value:
    """Transposed convolution: y[s * i + d * t - low] += w[t] * x[i], plus bias."""
    x, weights, group = ctx.input(0), ctx.input(1), ctx.int("group", 1)
    rank = spatial_rank(x)
    if weights.shape[0] != x.shape[1] or weights.type.rank != x.type.rank or x.shape[1] % group:
        raise LoweringError(
            f"weights {list(weights.shape)} do not fit input {list(x.shape)} in {group} groups",
            "The first size must be the number of input channels.",
            "Export the model again.",
        )
    axes = _read_axes(ctx, x.shape[2:], weights.shape[2:])
    data, bias = to_nhwc(ctx, x), ctx.optional_input(2)
    constant = bias if bias is not None and bias.is_constant and rank < 3 else None
    if rank == 3:
        y = _by_planes(ctx.build, data, weights, axes, group)
    else:
        window = (axes[0], axes[1])
        y = _over_two_axes(ctx.build, data, _with_two_axes(ctx.build, weights), constant, window, group)
    y = ctx.build.op("add", [y, bias]) if bias is not None and constant is None else y
    return from_nhwc(ctx, y, rank)


def _over_two_axes(
    build: Builder, x: Value, weights: Value, bias: Value | None, axes: tuple[_Axis, _Axis], group: int
) -> Value:
    direct = all(axis.fits for axis in axes) and group <= _MOST_SPLITS
    lower = _by_transpose_conv if direct else _by_inserted_zeros
    return lower(build, x, weights, bias, axes, group)


def _by_planes(build: Builder, x: Value, weights: Value, axes: Sequence[_Axis], group: int) -> Value:
    """Return `[N, D, H, W, O]`: planes of all taps along the depth, summed where they meet."""
    (n, d, h, w, c), depth = x.shape, axes[0]
    rows, units, taps = weights.shape[:3]
    flat = permuted(build, weights, [rows, units * taps, *weights.shape[3:]], [0, 1, 2, 3])
    planes = build.reshape(x, [n * d, h, w, c])
    y = _over_two_axes(build, planes, flat, None, (axes[1], axes[2]), group)
    _, high, wide, channels = y.shape
    y = build.reshape(y, [n, d, high * wide, channels // taps, taps])
    y = build.reshape(build.transpose(y, [0, 1, 4, 2, 3]), [n, d * taps, high * wide, channels // taps])
    sources: list[list[int]] = [[] for _ in range(depth.output)]
    for plane, tap in np.ndindex(d, taps):
        place = plane * depth.stride + tap * depth.dilation - depth.low
        if 0 <= place < depth.output:
            sources[place].append(plane * taps + tap)
    summed = summed_entries(build, y, 1, sources)
    return build.reshape(summed, [n, depth.output, high, wide, channels // taps])


def _read_axes(ctx: LoweringContext, sizes: Sequence[int], kernel: Sequence[int]) -> list[_Axis]:
    rank = len(sizes)
    strides, dilations = axis_ints(ctx, "strides", rank, 1), axis_ints(ctx, "dilations", rank, 1)
    pads, extra = axis_ints(ctx, "pads", 2 * rank, 0), axis_ints(ctx, "output_padding", rank, 0)
    shape = ctx.ints("output_shape")
    wanted = shape[-rank:] if shape else None
    axes = [
        _axis(
            _Axis(sizes[a], kernel[a], strides[a], dilations[a], 0, 0),
            (pads[a], pads[a + rank]),
            extra[a],
            None if wanted is None else wanted[a],
            ctx.string("auto_pad", "NOTSET"),
        )
        for a in range(rank)
    ]
    return [_Axis(1, 1, 1, 1, 0, 1), *axes] if rank == 1 else axes


def _axis(axis: _Axis, pads: tuple[int, int], extra: int, wanted: int | None, auto_pad: str) -> _Axis:
    """Place the output. SAME gives i * s cells, but no more than there are, as in onnxruntime."""
    low, output = 0, axis.full + extra
    if wanted is None and auto_pad.startswith("SAME"):
        wanted = min(axis.size * axis.stride, output)
    if wanted is not None:
        total = axis.full + extra - wanted
        low = total // 2 if auto_pad == "SAME_UPPER" else total - total // 2
        output = wanted
    elif auto_pad in ("", "NOTSET"):
        low, output = pads[0], axis.full + extra - sum(pads)
    if output < 1:
        raise LoweringError(f"pads {pads} leave no cell of {axis.full}", "The result would be empty.")
    return _Axis(axis.size, axis.kernel, axis.stride, axis.dilation, low, output)


def _with_two_axes(build: Builder, weights: Value) -> Value:
    if weights.type.rank == 4:
        return weights
    rows, columns, taps = weights.shape
    return permuted(build, weights, [rows, columns, 1, taps], [0, 1, 2, 3])


def _by_transpose_conv(
    build: Builder, x: Value, weights: Value, bias: Value | None, axes: tuple[_Axis, _Axis], group: int
) -> Value:
    if group == 1:
        return _transpose_conv(build, x, _dilated(build, weights, axes), bias, axes)
    depth, units = x.shape[3] // group, weights.shape[1]
    kernels = _dilated(build, weights, axes)
    parts: list[Value] = []
    for index in range(group):
        begin, size = [0, 0, 0, index * depth], [*x.shape[:3], depth]
        part = build.op("slice", [x, build.constant(begin), build.constant(size)])
        rows = slice(index * depth, (index + 1) * depth)
        part_weights = build.constant(_constant_weights(kernels)[..., rows].copy(), name=weights.name)
        columns = slice(index * units, (index + 1) * units)
        part_bias = None if bias is None else build.constant(bias.constant()[columns], name=bias.name)
        parts.append(_transpose_conv(build, part, part_weights, part_bias, axes))
    return build.op("concatenation", parts, ConcatenationAttributes(axis=3))


def _dilated(build: Builder, weights: Value, axes: tuple[_Axis, _Axis]) -> Value:
    """Return `[I, O, kH, kW]` as `[O, eH, eW, I]` with zeros between the taps where dilation asks."""
    if all(axis.dilation == 1 for axis in axes):
        return permuted(build, weights, weights.shape, [1, 2, 3, 0])
    data = np.transpose(_constant_weights(weights), [1, 2, 3, 0])
    spread = np.zeros((data.shape[0], axes[0].extent, axes[1].extent, data.shape[3]), data.dtype)
    spread[:, :: axes[0].dilation, :: axes[1].dilation] = data
    return build.constant(spread, name=weights.name)


def _transpose_conv(
    build: Builder, x: Value, weights: Value, bias: Value | None, axes: tuple[_Axis, _Axis]
) -> Value:
    same = all(axis.is_same for axis in axes)
    sizes = [axis.output if same else axis.canvas for axis in axes]
    shape = build.constant([x.shape[0], *sizes, weights.shape[0]])
    attributes = TransposeConvAttributes(
        Padding.SAME if same else Padding.VALID, stride_h=axes[0].stride, stride_w=axes[1].stride
    )
    operands = [shape, weights, x] if bias is None else [shape, weights, x, bias]
    y = build.op("transpose_conv", operands, attributes)
    cuts = [(-a.low, a.low + a.output - size) for a, size in zip(axes, sizes, strict=True)]
    return y if same else pad_or_crop(build, y, [(0, 0), *cuts, (0, 0)])


def _by_inserted_zeros(
    build: Builder, x: Value, weights: Value, bias: Value | None, axes: tuple[_Axis, _Axis], group: int
) -> Value:
    spread = _insert_zeros(build, x, axes)
    depth, units = x.shape[3] // group, weights.shape[1]
    kernels = _constant_weights(weights)[:, :, ::-1, ::-1].reshape(group, depth, units, *weights.shape[2:])
    depthwise = depth == 1 and group > 1
    order = [1, 3, 4, 0, 2] if depthwise else [0, 2, 3, 4, 1]
    shape = (
        (1, *weights.shape[2:], group * units) if depthwise else (group * units, *weights.shape[2:], depth)
    )
    arranged = build.constant(kernels.transpose(order).reshape(shape), name=weights.name)
    pads = [(a.extent - 1 - a.low, a.output + a.low - a.stride * a.size) for a in axes]
    spread = pad_or_crop(build, spread, [(0, 0), *pads, (0, 0)])
    windows = [Window(size=0, kernel=axis.kernel, dilation=axis.dilation) for axis in axes]
    constant = bias if bias is not None else zeros(build, group * units)
    return convolve(build, spread, arranged, constant, windows, Padding.VALID, depthwise)


def _insert_zeros(build: Builder, x: Value, axes: tuple[_Axis, _Axis]) -> Value:
    """Return x with stride - 1 zeros behind every row and column (rank 3 throughout: pad stops at 5)."""
    n, h, w, c = x.shape
    height, width = axes[0].stride, axes[1].stride
    columns = build.reshape(x, [n * h * w, 1, c])
    columns = pad_or_crop(build, columns, [(0, 0), (0, width - 1), (0, 0)])
    rows = build.reshape(columns, [n * h, 1, w * width * c])
    rows = pad_or_crop(build, rows, [(0, 0), (0, height - 1), (0, 0)])
    return build.reshape(rows, [n, h * height, w * width, c])


def _constant_weights(weights: Value) -> np.ndarray:
    if weights.data is None:
        raise LoweringError(
            f"weights '{weights.name}' are computed at run time",
            "Groups and dilations rearrange them when the model is compiled.",
            "Make the weights an initializer.",
        )
    return weights.data
