"""A convolution and a 1x1 convolution behind it, with nothing in between: one convolution.

    conv_2d(conv_2d(x, v, a), w, b), w 1x1    →  conv_2d(x, w v, w a + b)

As networks of inverted bottlenecks have it where a block ends without a shortcut and the next begins. In
int8 the result between them is not rounded, and nobody stores it. Only where the product has no more weights
than its factors: then it takes no more multiplications either.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgec.ir import Node, Value
from edgec.ops import Builder
from edgec.ops.conv import Conv2DAttributes
from edgec.passes.canonicalize.matching import NONE, activation_of, owned
from edgec.passes.fuse.weighted import bias_of, fits_float32, rebuilt, weights_of
from edgec.rewrite import NoMatch, no_match


@dataclass(frozen=True)
class ComposePointwise:
    """conv_2d(conv_2d(x, v, a), w, b), w 1x1 → conv_2d(x, w v, w a + b)"""

    name: str = "compose_pointwise"
    kinds: tuple[str, ...] = ("conv_2d",)

    def apply(self, node: Node, build: Builder) -> Sequence[Value] | NoMatch:
        """Multiply the weights, in float64, where that makes no more of them."""
        inner = owned(node.operand(0), "conv_2d")
        if not is_pointwise(node) or inner is None or activation_of(inner) is not NONE:
            return no_match("not a 1x1 convolution of an unshared convolution without activation")
        first, second = weights_of(inner), weights_of(node)
        if first is None or second is None or inner.operand(0).shape[3] != inner.operand(1).shape[3]:
            return no_match("weights or bias of the first are computed, or it has groups")
        left = node.operand(1).constant().astype(np.float64)[:, 0, 0, :]
        right = inner.operand(1).constant().astype(np.float64)
        weights = np.tensordot(left, right, axes=1)
        if weights.size > left.size + right.size:
            return no_match(f"{weights.size} weights in place of {left.size + right.size}")
        own, before = bias_of(node, second), bias_of(inner, first)
        bias = (0 if own is None else own) + (0 if before is None else left @ before)
        bias = np.broadcast_to(bias, weights.shape[:1])
        if not fits_float32(weights, bias):
            return no_match("the products do not fit float32")
        changes = {1: build.constant(weights.astype(np.float32)), 2: build.constant(bias.astype(np.float32))}
        return [rebuilt(build, inner, changes, activation_of(node))]


def is_pointwise(node: Node) -> bool:
    """Whether a node is a 1x1 convolution of every pixel and all channels, with constant numbers."""
    options = node.attributes
    if not isinstance(options, Conv2DAttributes) or weights_of(node) is None:
        return False
    strides = (options.stride_h, options.stride_w)
    whole = node.operand(0).shape[3] == node.operand(1).shape[3]
    return whole and strides == (1, 1) and node.operand(1).shape[1:3] == (1, 1)
