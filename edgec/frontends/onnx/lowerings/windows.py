"""Windows for short-time transforms and the mel filter bank: constants, once their sizes are known."""

from __future__ import annotations

import numpy as np

from edgec.frontends.onnx.context import LoweringContext, LoweringError
from edgec.frontends.onnx.lowerings.cast import element_type
from edgec.frontends.onnx.registry import lowers
from edgec.frontends.onnx.sizes import scalar
from edgec.ir import Array, DType, Value

_COSINES = {
    "HannWindow": (0.5, -0.5),
    "HammingWindow": (25 / 46, -21 / 46),
    "BlackmanWindow": (0.42, -0.5, 0.08),
}
"""Factors of cos(0), cos(t), cos(2t) with t = 2πn / N, as ONNX defines them."""


@lowers(*_COSINES, since=17)
def window(ctx: LoweringContext) -> Value:
    """Σ factor_j · cos(j · 2πn / N), with N the size (periodic) or one less (symmetric)."""
    if ctx.input(0).data is None:
        return _computed(ctx)
    size = ctx.constant_ints(0)[0]
    period = size if ctx.int("periodic", 1) else size - 1
    turns = 2 * np.pi * np.arange(size) / max(period, 1)
    data = sum((f * np.cos(j * turns) for j, f in enumerate(_COSINES[ctx.op_type])), np.zeros(size))
    return _typed(ctx, data)


def _computed(ctx: LoweringContext) -> Value:
    """Return a window [?] whose size is known at run time only."""
    build, size = ctx.build, scalar(ctx.build, ctx.input(0))
    steps = build.op("range", [build.constant(0), size, build.constant(1)])
    period = size if ctx.int("periodic", 1) else build.op("sub", [size, build.constant(1)])
    period = ctx.cast(build.op("maximum", [period, build.constant(1)]), DType.FLOAT32)
    share = build.op("div", [ctx.cast(steps, DType.FLOAT32), period])
    constant, *factors = _COSINES[ctx.op_type]
    total = build.constant(constant)
    for turns, factor in enumerate(factors, start=1):
        wave = build.op("cos", [build.op("mul", [share, build.constant(2 * np.pi * turns)])])
        total = build.op("add", [total, build.op("mul", [wave, build.constant(factor)])])
    return ctx.cast(total, element_type(ctx.int("output_datatype", 1)))


@lowers("MelWeightMatrix", since=17)
def mel_weight_matrix(ctx: LoweringContext) -> Value:
    """Triangles over the bins of a one-sided spectrum, with corners at equal distances on the mel scale.

    mel(f) = 2595 · log10(1 + f / 700). The corners are rounded down to bins, as ONNX defines it.
    """
    bands, length, rate = (ctx.constant_ints(index)[0] for index in range(3))
    low, high = (float(ctx.constant(index).reshape(-1)[0]) for index in (3, 4))
    bins = length // 2 + 1
    ends = 2595 * np.log10(1 + np.array([low, high]) / 700)
    mels = ends[0] + np.arange(bands + 2) * ((ends[1] - ends[0]) / (bands + 2))
    corners = ((length + 1) * (700 * (10 ** (mels / 2595) - 1)) // rate).astype(np.int64)
    if not 0 <= corners.min() <= corners.max() <= bins:
        raise LoweringError(
            f"has bands from {low:g} to {high:g} Hz",
            f"At {rate} samples a second the spectrum's {bins} bins do not reach that far.",
            "Correct the edges or the sample rate.",
        )
    weights = np.zeros((bins, bands))
    for band in range(bands):
        weights[:, band] = _triangle(bins, *corners[band : band + 3].tolist())
    return _typed(ctx, weights)


def _triangle(bins: int, left: int, peak: int, right: int) -> Array:
    """Return a ramp up from `left` to 1 at `peak` and down to `right`; a side without width is absent."""
    at = np.arange(bins)
    rising = (at - left) / max(peak - left, 1)
    falling = (right - at) / max(right - peak, 1)
    sides = np.where((at >= left) & (at < right), np.where(at < peak, rising, falling), 0.0)
    return np.where(at == peak, 1.0, sides)


def _typed(ctx: LoweringContext, data: Array) -> Value:
    dtype = element_type(ctx.int("output_datatype", 1))
    return ctx.build.constant(data.astype(np.float32).astype(dtype.numpy))  # so that a peak is 1, not 0.999…
