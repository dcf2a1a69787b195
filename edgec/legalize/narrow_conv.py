"""Int8 convolutions over few channels: neighbours along a row become channels of one wider pixel.

    x [N, H, W, C]  ─ reshape ─▶  [N, H, W/F, F C]  ─ conv_2d, stride 1 along the row ─▶  [N, H', W'/P, P O]
                                                     ─ reshape ─▶  [N, H', W', O]             P = F / stride

XNNPACK's int8 kernels multiply 4 or 8 channels at a time and pad the rest of each tap with zeros, so a
convolution over one channel does 4 to 8 times its work. A pixel of F neighbours fills the group. P windows
begin in one such pixel; each gets output channels of its own, whose weights are those of the window moved
along the pixel and zero elsewhere. The sums are the same integers, so the result is bit-equal.

The reshapes are free: in NHWC order a row's channels lie behind each other already. A column image (W = 1)
is turned into a row, by a reshape too. Padding becomes a node in front.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from edgec.ir import Array, DType, Node, Quantization, Value
from edgec.legalize.moves import Moves
from edgec.ops import Builder, Padding
from edgec.ops.conv import Conv2DAttributes
from edgec.ops.infer import expect
from edgec.passes.canonicalize.matching import owned
from edgec.rewrite import NoMatch, no_match

MAX_CHANNELS = 64
"""Pixels wider than this gain nothing: the groups are full."""

MIN_GAIN = 1.25
MAX_GROWTH = 2.5
MAX_ADDED_BYTES = 16384
"""Weights may grow this much, by the zeros between the moved windows: by a factor, or by a few bytes."""

_GROUPS = (8, 4)
"""Channels that kernels multiply at a time: 8 with VNNI and i8mm, 4 with the dot product of ARMv8.2."""

_OUTPUTS = 16
"""Output channels that kernels compute at a time."""


@dataclass(frozen=True, slots=True)
class _Row:
    """A convolution along one row: sizes of image, window and stride, and the padding before the row."""

    width: int
    windows: int
    kernel: int
    stride: int
    before: int
    depth: int
    outputs: int

    def folded(self, factor: int) -> _Folded | None:
        """Return the same convolution over pixels of `factor` neighbours, where one exists."""
        phases = factor // self.stride
        if factor % self.stride or self.windows % phases:
            return None
        taps = -(-(factor - self.stride + self.kernel) // factor)
        after = (self.windows // phases - 1 + taps) * factor - self.before - self.width
        return _Folded(factor, phases, taps, self.before, after) if after >= 0 else None

    def cost(self, taps: int, depth: int, outputs: int, group: int) -> float:
        """Return multiplications for one output, with the zeros that fill up groups."""
        return taps * _filled(depth, group) * _filled(outputs, _OUTPUTS) / outputs


@dataclass(frozen=True, slots=True)
class _Folded:
    """Pixels of `factor` neighbours: `phases` windows begin in each, and together they cover `taps` pixels.

    The row is padded by `before` and `after` neighbours, which makes it whole pixels.
    """

    factor: int
    phases: int
    taps: int
    before: int
    after: int

    def gain(self, row: _Row, group: int) -> float:
        """Return how much less a kernel multiplies."""
        plain = row.cost(row.kernel, row.depth, row.outputs, group)
        return plain / row.cost(self.taps, self.factor * row.depth, self.phases * row.outputs, group)

    def growth(self, row: _Row) -> float:
        """Return the weights' size over what it was."""
        return self.phases * self.taps * self.factor / row.kernel

    def moved(self, weights: Array, stride: int) -> Array:
        """Return weights [O, kH, k, C] as [P O, kH, taps, F C]."""
        outputs, height, kernel, depth = weights.shape
        wide = np.zeros((self.phases, outputs, height, self.taps * self.factor, depth), weights.dtype)
        for phase in range(self.phases):
            wide[phase, :, :, phase * stride : phase * stride + kernel] = weights
        return wide.reshape(self.phases * outputs, height, self.taps, self.factor * depth)


@dataclass(frozen=True)
class WidenNarrowConv2D:
    """conv_2d over few channels → reshape, conv_2d over pixels of several neighbours, reshape"""

    name: str = "widen_narrow_conv_2d"
    kinds: tuple[str, ...] = ("conv_2d",)

    def apply(self, node: Node, build: Builder) -> Sequence[Value] | NoMatch:
        """Choose the pixel that saves most on every kind of kernel."""
        x, weights, bias = node.operand(0), node.operand(1), node.operand(2)
        options = expect(node.attributes, Conv2DAttributes)
        if x.dtype is not DType.INT8 or weights.dtype is not DType.INT8 or not x.type.is_static:
            return no_match("not an int8 convolution of static shape")
        if weights.data is None or bias.data is None or x.shape[3] != weights.shape[3]:
            return no_match("weights are not constant, or there are groups")
        if (options.dilation_h_factor, options.dilation_w_factor) != (1, 1):
            return no_match("the window is dilated")
        source = _source(node, options)
        upright = source.columns == (0, 0) and weights.shape[2] == 1 and options.stride_w == 1
        upright = upright and source.x.shape[2] == 1
        row = _row_of(node, options, source, upright)
        best = _best(row, weights.type.size)
        if best is None:
            return no_match(f"{x.shape[3]} channels and windows of {row.kernel} gain less than {MIN_GAIN}")
        return [_rebuilt(node, options, source, upright, row, best, build)]


@dataclass(frozen=True, slots=True)
class _Source:
    """What a convolution reads before any padding, and its padding by rows and columns (before, after)."""

    x: Value
    rows: tuple[int, int]
    columns: tuple[int, int]


def _source(node: Node, options: Conv2DAttributes) -> _Source:
    """Look through a pad that only this convolution reads: XNNPACK would have merged the two."""
    x, result, weights = node.operand(0), node.result, node.operand(1)
    pad = owned(x, "pad") if options.padding is Padding.VALID else None
    sizes = None if pad is None else pad.operand(1).data
    if pad is not None and sizes is not None and not sizes[[0, 3]].any():
        (top, bottom), (left, right) = sizes[1:3].tolist()
        return _Source(pad.operand(0), (top, bottom), (left, right))
    rows, columns = (
        _padding(x.shape[axis], result.shape[axis], weights.shape[axis], stride, options.padding)
        for axis, stride in ((1, options.stride_h), (2, options.stride_w))
    )
    return _Source(x, rows, columns)


def _row_of(node: Node, options: Conv2DAttributes, source: _Source, upright: bool) -> _Row:
    weights, result = node.operand(1), node.result
    axis, stride = (1, options.stride_h) if upright else (2, options.stride_w)
    before, _ = source.rows if upright else source.columns
    sizes = (source.x.shape[axis], result.shape[axis], weights.shape[axis])
    return _Row(*sizes, stride, before, source.x.shape[3], weights.shape[0])


def _padding(size: int, windows: int, kernel: int, stride: int, padding: Padding) -> tuple[int, int]:
    if padding is Padding.VALID:
        return 0, 0
    total = max((windows - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def _best(row: _Row, size: int) -> _Folded | None:
    """Return the pixel with the largest gain, the smallest of several; none that is worse on any kernel."""
    factors = range(max(row.stride, 2), min(row.width, MAX_CHANNELS // row.depth) + 1)
    found = [folded for factor in factors if (folded := row.folded(factor)) is not None]
    fitting = [
        folded
        for folded in found
        if (folded.growth(row) <= MAX_GROWTH or (folded.growth(row) - 1) * size <= MAX_ADDED_BYTES)
        and folded.gain(row, _GROUPS[0]) >= MIN_GAIN
        and all(folded.gain(row, group) >= 1 for group in _GROUPS)
    ]
    return max(fitting, key=lambda folded: folded.gain(row, _GROUPS[0]), default=None)


def _rebuilt(
    node: Node,
    options: Conv2DAttributes,
    source: _Source,
    upright: bool,
    row: _Row,
    folded: _Folded,
    build: Builder,
) -> Value:
    weights, bias, result = node.operand(1), node.operand(2), node.result
    plain = np.swapaxes(weights.constant(), 1, 2) if upright else weights.constant()
    operands = [
        _pixels(source, upright, folded, build),
        _tiled(weights, folded.moved(plain, row.stride), folded.phases, build),
        _tiled(bias, np.tile(bias.constant(), folded.phases), folded.phases, build),
    ]
    stride_h = 1 if upright else options.stride_h
    attributes = Conv2DAttributes(Padding.VALID, 1, stride_h, options.fused_activation_function)
    made = Moves.like(result, build)
    return made.reshape(made.scaled(build.op("conv_2d", operands, attributes)), result.shape)


def _pixels(source: _Source, upright: bool, folded: _Folded, build: Builder) -> Value:
    """Return the operand padded, with the row's pixels merged.

    Padding by whole pixels comes last: XNNPACK takes it into the convolution. Other padding works on the row
    as one axis, which XNNPACK copies at once: with an axis of few channels behind it, it copies these one by
    one, and that costs more than the wider pixels gain.
    """
    x, moves = source.x, Moves.like(source.x, build)
    n, height, width, depth = (x.shape[0], 1, x.shape[1], x.shape[3]) if upright else x.shape
    rows = (0, 0) if upright else source.rows
    factor, pads = folded.factor, (folded.before, folded.after)
    if not any((*rows, *pads)):
        return moves.reshape(x, (n, height, width // factor, factor * depth))
    if folded.before % factor == 0 and width % factor == 0:
        x = moves.reshape(x, (n, height, width // factor, factor * depth))
        return moves.pad(x, [[0, 0], [*rows], [pads[0] // factor, pads[1] // factor], [0, 0]])
    line = moves.reshape(x, (n, height, width * depth))
    line = moves.pad(line, [[0, 0], [*rows], [pads[0] * depth, pads[1] * depth]])
    merged = factor * depth
    return moves.reshape(line, (n, line.shape[1], line.shape[2] // merged, merged))


def _tiled(value: Value, data: Array, phases: int, build: Builder) -> Value:
    """Return a constant with the scales of an old one, once for each phase."""
    made = build.constant(data, name=value.name)
    old = value.type.quantization
    if old is not None and old.per_axis:
        scales, points = old.scale * phases, old.zero_point * phases
        old = Quantization(scales, points, old.quantized_dimension)
    made.type = replace(made.type, quantization=old)
    return made


def _filled(size: int, group: int) -> int:
    return -(-size // group) * group
