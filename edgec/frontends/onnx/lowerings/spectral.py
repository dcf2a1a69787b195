"""Discrete Fourier transforms as products with matrices of cosines and sines, worked out in float64.

    X[k] = Σ_n x[n] · e^(∓2πi kn / N)      complex numbers are pairs in the last axis, so that a transform is
                                           one fully_connected from [N · parts] to [K · parts]

Long transforms with N = A · B take two small matrices instead of a large one (Cooley and Tukey, 1965):

    x[B a + b]  ── A points for each b ──▶  · e^(∓2πi b k / N)  ── B points for each k ──▶  X[k + A l]
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt

import numpy as np

from edgec.frontends.onnx.axes import checked_axis
from edgec.frontends.onnx.context import LoweringContext, LoweringError
from edgec.frontends.onnx.lowerings.matmul import fully_connected, reshaped
from edgec.frontends.onnx.lowerings.movement import sliced
from edgec.frontends.onnx.registry import lowers
from edgec.ir import Array, Shape, Value
from edgec.ops import Builder
from edgec.ops.conv import Conv2DAttributes
from edgec.ops.slicing import GatherAttributes

_DIRECT = 512
"""Up to this many points one matrix is used: 1 MiB at most for a one-sided transform of real data."""
_LARGEST = 1 << 25
"""Entries of a matrix that are still written to the file: 128 MiB."""


@dataclass(frozen=True, slots=True)
class _Transform:
    """`points` of a transform, forward or inverse, and how many of its results are wanted.

    `hermitian` is the inverse of a one-sided spectrum: its other half is known, and the results are real.
    """

    points: int
    wanted: int
    inverse: bool = False
    hermitian: bool = False

    def matrix(self, entries: int, parts: int) -> Array:
        """Return float64 [wanted, parts out, entries, parts in]: results from entries."""
        angles = (
            np.outer(np.arange(self.wanted), np.arange(entries)) % self.points * (2 * np.pi / self.points)
        )
        cos, sin = np.cos(angles), np.sin(angles) * (1 if self.inverse else -1)
        full = np.stack([np.stack([cos, -sin], -1), np.stack([sin, cos], -1)], 1)
        if self.inverse:
            full /= self.points
        if self.hermitian:
            mirrored = np.arange(entries)
            doubled = (mirrored > 0) & (2 * mirrored != self.points)
            full = full[:, :1] * np.where(doubled, 2.0, 1.0)[:, None]
        return full[..., :parts]


@lowers("DFT", since=17)
def dft_along_attribute(ctx: LoweringContext) -> Value:
    """The transform along the axis of the attribute, which counts from 0 unless negative."""
    return _dft(ctx, ctx.int("axis", 1))


@lowers("DFT", since=20)
def dft(ctx: LoweringContext) -> Value:
    """The transform along the axis of operand 2, or the last but one."""
    return _dft(ctx, -2 if ctx.optional_input(2) is None else ctx.constant_ints(2)[0])


def _dft(ctx: LoweringContext, axis: int) -> Value:
    x = ctx.input(0)
    rank, axis = x.type.rank, checked_axis(axis, x.type.rank)
    transform = _settings(ctx, x, axis)
    order = [*(a for a in range(rank - 1) if a != axis), axis, rank - 1]
    used = transform.points // 2 + 1 if transform.hermitian else transform.points
    x = ctx.build.transpose(x, order)
    x = sliced(ctx.build, x, rank - 2, 0, min(used, x.shape[-2]))
    return ctx.build.transpose(_transformed(ctx.build, x, transform), [order.index(a) for a in range(rank)])


def _settings(ctx: LoweringContext, x: Value, axis: int) -> _Transform:
    inverse, onesided = bool(ctx.int("inverse")), bool(ctx.int("onesided"))
    parts = x.shape[-1]
    if axis == x.type.rank - 1 or parts not in (1, 2) or (onesided and parts != (2 if inverse else 1)):
        raise LoweringError(
            f"transforms {list(x.shape)} along axis {axis} with inverse={int(inverse)}, "
            f"onesided={int(onesided)}",
            "The last axis holds real numbers, or real and imaginary parts; one-sided transforms go from "
            "real to complex numbers, and their inverses back.",
            "Correct the operand or the attributes.",
        )
    default = 2 * (x.shape[axis] - 1) if inverse and onesided else x.shape[axis]
    points = default if ctx.optional_input(1) is None else ctx.constant_ints(1)[0]
    if points < 1:
        raise LoweringError(f"has a length of {points}", "A transform has a point.", "Correct dft_length.")
    wanted = points // 2 + 1 if onesided and not inverse else points
    return _Transform(points, wanted, inverse, inverse and onesided)


def _transformed(build: Builder, x: Value, transform: _Transform) -> Value:
    """Transform `[..., entries, parts]`; entries that are missing count as zeros."""
    entries, parts = x.shape[-2:]
    first = _divisor(transform.points)
    if transform.points > _DIRECT and first > 1 and entries == transform.points and not transform.hermitian:
        return _in_two_steps(build, x, transform, first)
    matrix = _checked(transform, entries, parts).matrix(entries, parts)
    rows = build.reshape(x, [x.type.size // (entries * parts), entries * parts])
    return build.reshape(_product(build, rows, matrix), [*x.shape[:-2], *matrix.shape[:2]])


def _checked(transform: _Transform, entries: int, parts: int) -> _Transform:
    size = 2 * transform.wanted * entries * parts
    if size > _LARGEST:
        raise LoweringError(
            f"transforms {transform.points} points",
            f"This length needs a matrix of {size} numbers; only full lengths with divisors are split.",
            "Pad the data to a power of two.",
        )
    return transform


def _product(build: Builder, rows: Value, matrix: Array) -> Value:
    weights = matrix.reshape(-1, rows.shape[-1]).astype(np.float32)
    return fully_connected(build, rows, build.constant(weights, name=f"{build.source}/dft"), None)


def _divisor(points: int) -> int:
    """Return the largest divisor up to the square root."""
    return next(divisor for divisor in range(isqrt(points), 0, -1) if points % divisor == 0)


def _in_two_steps(build: Builder, x: Value, transform: _Transform, first: int) -> Value:
    """Transform `[..., A · B, parts]`, see the top of this file."""
    batch, parts = x.shape[:-2], x.shape[-1]
    second, count = transform.points // first, x.type.size // (transform.points * parts)
    grid = build.transpose(build.reshape(x, [count, first, second, parts]), [0, 2, 1, 3])
    inner = _transformed(build, grid, _Transform(first, first, transform.inverse))
    turned = _turned(build, inner, transform)
    columns = build.transpose(turned, [0, 2, 1, 3])
    outer = _transformed(build, columns, _Transform(second, second, transform.inverse))
    result = build.reshape(build.transpose(outer, [0, 2, 1, 3]), [count, transform.points, 2])
    result = sliced(build, result, 1, 0, transform.wanted)
    return build.reshape(result, [*batch, transform.wanted, 2])


def _turned(build: Builder, x: Value, transform: _Transform) -> Value:
    """Multiply entry [:, b, k] of complex `[count, B, A, 2]` by e^(∓2πi bk / N)."""
    turns = np.outer(np.arange(x.shape[1]), np.arange(x.shape[2])) % transform.points
    angles = turns * (2 * np.pi / transform.points) * (1 if transform.inverse else -1)
    cos = np.repeat(np.cos(angles)[..., None], 2, -1).astype(np.float32)
    sin = np.stack([-np.sin(angles), np.sin(angles)], -1).astype(np.float32)
    swapped = build.op("gather", [x, build.constant([1, 0])], GatherAttributes(3))
    straight = build.op("mul", [x, build.constant(cos)])
    return build.op("add", [straight, build.op("mul", [swapped, build.constant(sin)])])


@lowers("STFT", since=17)
def stft(ctx: LoweringContext) -> Value:
    """The transform of overlapping frames: a convolution with the windowed matrix, or of gathered frames."""
    signal, window = ctx.input(0), ctx.optional_input(2)
    step, length = ctx.constant_ints(1)[0], _frame_length(ctx, signal)
    parts, onesided = signal.shape[2], bool(ctx.int("onesided", 1))
    if onesided and parts == 2:
        raise LoweringError(
            "is one-sided with a complex signal",
            "Only the spectrum of a real signal has two equal halves.",
            "Set onesided=0.",
        )
    transform = _Transform(length, length // 2 + 1 if onesided else length)
    if length <= _DIRECT and (window is None or window.data is not None):
        return _convolved(ctx.build, signal, transform, None if window is None else window.data, step)
    frames = _frames(ctx.build, signal, length, step)
    if window is not None:
        frames = ctx.build.op("mul", [frames, reshaped(ctx.build, window, [length, 1])])
    return _transformed(ctx.build, frames, transform)


def _frame_length(ctx: LoweringContext, signal: Value) -> int:
    window = ctx.optional_input(2)
    if signal.type.rank != 3 or signal.shape[2] not in (1, 2):
        raise LoweringError(
            f"has a signal of shape {list(signal.shape)}",
            "It takes [batch, length, 1] for real and [batch, length, 2] for complex numbers.",
            "Add the last axis.",
        )
    length = signal.shape[1] if window is None else window.shape[0]
    if ctx.optional_input(3) is not None:
        length = ctx.constant_ints(3)[0]
    step = ctx.constant_ints(1)[0]
    if step < 1 or not 1 <= length <= signal.shape[1] or (window is not None and window.shape != (length,)):
        raise LoweringError(
            f"takes frames of {length} every {step} of {signal.shape[1]} samples"
            + ("" if window is None else f", with a window of {list(window.shape)}"),
            "Frames lie inside the signal, and the window is as long as a frame.",
            "Correct frame_step, frame_length or the window.",
        )
    return length


def _convolved(
    build: Builder, signal: Value, transform: _Transform, window: Array | None, step: int
) -> Value:
    batch, samples, parts = signal.shape
    matrix = transform.matrix(transform.points, parts)
    if window is not None:
        matrix = np.multiply(matrix, np.asarray(window, np.float64)[:, None])
    units = 2 * transform.wanted
    filters = matrix.reshape(units, 1, transform.points, parts).astype(np.float32)
    rows = build.reshape(signal, [batch, 1, samples, parts])
    bias = build.constant(np.zeros(units, np.float32))
    operands = [rows, build.constant(filters, name=f"{build.source}/dft"), bias]
    spectrum = build.op("conv_2d", operands, Conv2DAttributes(stride_w=step))
    return build.reshape(spectrum, [batch, spectrum.shape[2], transform.wanted, 2])


def _frames(build: Builder, signal: Value, length: int, step: int) -> Value:
    """Return the frames [batch, frames, length, parts] of a signal [batch, samples, parts]."""
    count = (signal.shape[1] - length) // step + 1
    places: Shape = (count, length)
    indices = np.arange(count)[:, None] * step + np.arange(length)
    return build.op(
        "gather", [signal, build.constant(indices.astype(np.int32).reshape(places))], GatherAttributes(1)
    )
