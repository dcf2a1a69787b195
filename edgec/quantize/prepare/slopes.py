"""PRELU: one kernel outside XNNPACK that takes many times as long as the convolution before it.

    prelu(x) = a x + (1 - a) relu(x)

As a depthwise convolution with two taps over x and relu(x), laid one above the other: two products, one sum,
one rounding, as in the node itself. The relu is a 1x1 pool, which shares x's scale and copies integers.

    x [N, H, W, C] ─ reshape ──────────────▶ [N, 1, H W, C] ─┐
                   └ max_pool_2d {RELU} ───▶ [N, 1, H W, C] ─┴ concat ─▶ [N, 2, H W, C]
                                              ─ depthwise_conv_2d, 2x1, weights a and 1 - a ─▶ [N, 1, H W, C]

Measured in int8 with ai-edge-litert 2.3.0 on x86-64, one thread: time of four 3x3 convolutions with slopes
over the same convolutions alone, and SQNR of the result in dB.

    image, channels    prelu         this form     x + relu((a - 1) x)    two convolutions
    94x94, 10          21    30.7    1.6   30.5    1.65  30.0             3.4   32.4
    45x45, 16          17    31.3    1.5   31.0    1.7   30.6             3.5   33.0
    20x20, 32          9.6   29.2    1.25  29.0    1.3   28.5             3.2   30.6
    10x10, 64          5.2   29.6    1.13  29.4    1.2   29.0             3.1   30.9
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgec.ir import Node, Value
from edgec.ops import ActivationFunctionType, Builder
from edgec.ops.conv import DepthwiseConv2DAttributes
from edgec.ops.elementwise import LeakyReluAttributes
from edgec.ops.movement import ConcatenationAttributes
from edgec.passes.canonicalize.matching import float_constant
from edgec.passes.fuse.weighted import Wide, per_channel
from edgec.quantize.prepare.delegate import clamped, has_image_form, inside
from edgec.rewrite import NoMatch, no_match

_RELU = ActivationFunctionType.RELU


@dataclass(frozen=True)
class DecomposePRelu:
    """prelu(x, a) → depthwise_conv_2d([x, relu(x)], [a, 1 - a]); one slope: leaky_relu(x)"""

    name: str = "decompose_prelu"
    kinds: tuple[str, ...] = ("prelu",)

    def apply(self, node: Node, build: Builder) -> Sequence[Value] | NoMatch:
        """Weigh x and its positive part."""
        x, alpha = node.operand(0), float_constant(node.operand(1))
        refused = inside("prelu", "depthwise_conv_2d", "max_pool_2d", "leaky_relu", "add", "sub", "mul")
        if refused is not None:
            return refused
        if alpha is None:
            return no_match("the slopes are computed at run time")
        if not has_image_form(x):
            return no_match(f"{x.type} has no form as an image")
        first = float(alpha.flat[0])
        if 0 < first < 1 and bool((alpha == first).all()):
            return [build.op("leaky_relu", [x], LeakyReluAttributes(first))]
        slopes = per_channel(node.operand(1), x.shape[-1])
        if slopes is None:
            return [_weighed_elements(build, x, node.operand(1))]
        return [_weighed_channels(build, x, slopes)]


def _weighed_channels(build: Builder, x: Value, slopes: Wide) -> Value:
    """Return a x + (1 - a) relu(x), one a for each channel."""
    batch, channels = x.shape[0], x.shape[-1]
    row = (batch, 1, x.type.size // (batch * channels), channels)
    parts = [build.reshape(part, row) for part in (x, clamped(build, x, _RELU))]
    stacked = build.op("concatenation", parts, ConcatenationAttributes(axis=1))
    weights = np.stack([slopes, 1 - slopes]).reshape(1, 2, 1, channels).astype(np.float32)
    operands = [stacked, build.constant(weights), build.constant(np.zeros(channels, np.float32))]
    return build.reshape(build.op("depthwise_conv_2d", operands, DepthwiseConv2DAttributes()), x.shape)


def _weighed_elements(build: Builder, x: Value, slopes: Value) -> Value:
    """Return relu(x) + a (x - relu(x)) for slopes of any shape."""
    positive = clamped(build, x, _RELU)
    rest = build.op("sub", [x, positive])
    return build.op("add", [positive, build.op("mul", [rest, slopes])])
