"""What the rules ask about XNNPACK, and the nodes that they share."""

from __future__ import annotations

import numpy as np

from edgec.ir import DType, Value
from edgec.ops import ActivationFunctionType, Builder, op_spec
from edgec.ops.conv import DepthwiseConv2DAttributes
from edgec.ops.pool import Pool2DAttributes
from edgec.passes.fuse.weighted import Wide
from edgec.rewrite import NoMatch, no_match

MAX_RANK = 4
"""Ranks 2 to 4 have an image form: [N, C] is [N, 1, 1, C], [N, T, C] is [N, T, 1, C]."""


def delegated(kind: str) -> bool:
    """Whether XNNPACK runs an op kind for int8."""
    return DType.INT8 in op_spec(kind).support.xnnpack


def inside(kind: str, *needed: str) -> NoMatch | None:
    """Say why a node needs no other form, or has none inside XNNPACK; None where it has."""
    if delegated(kind):
        return no_match(f"XNNPACK runs {kind} for int8")
    missing = [other for other in needed if not delegated(other)]
    return no_match(f"XNNPACK does not run {missing[0]} for int8") if missing else None


def has_image_form(x: Value) -> bool:
    """Whether a value can be read as an image with its last axis as channels."""
    return x.dtype is DType.FLOAT32 and x.type.is_static and 2 <= x.type.rank <= MAX_RANK


def scaled_channels(
    build: Builder, x: Value, factor: Wide, shift: Wide, activation: ActivationFunctionType
) -> Value:
    """Return activation(factor * x + shift), one factor and shift a channel: a 1x1 depthwise convolution.

    Weights have a scale for each channel and the bias 32 bits, where the constant operand of a mul or add
    has 8 bits for all channels together.
    """
    weights = build.constant(factor.astype(np.float32).reshape(1, 1, 1, -1))
    bias = build.constant(shift.astype(np.float32))
    attributes = DepthwiseConv2DAttributes(fused_activation_function=activation)
    y = build.op("depthwise_conv_2d", [_image(build, x), weights, bias], attributes)
    return build.reshape(y, x.shape)


def clamped(build: Builder, x: Value, activation: ActivationFunctionType) -> Value:
    """Return activation(x) in x's own scale: a 1x1 pool computes its fused activation and no more."""
    pool = Pool2DAttributes(fused_activation_function=activation)
    return build.reshape(build.op("max_pool_2d", [_image(build, x)], pool), x.shape)


def _image(build: Builder, x: Value) -> Value:
    """Return a value of rank 2 to 4 as [N, H, W, C]."""
    return build.reshape(x, (x.shape[0], *(*x.shape[1:-1], 1, 1)[:2], x.shape[-1]))
