"""A factor and a shift for each channel that no convolution before took in (batch norm behind an activation).

    x * c + d  →  depthwise_conv_2d(x, c, d), 1x1

XNNPACK takes mul and add with a constant for each channel one pixel at a time. In int8 the constant has one
scale for all channels, so a small factor beside a large one keeps few bits; weights have a scale each.

Measured in int8 with ai-edge-litert 2.3.0 on x86-64, one thread, between 1x1 convolutions, time per op:

    image, channels    mul + add    depthwise    SQNR of four, mul + add    depthwise
    28x28, 64          15 µs        6.4 µs       32.8 dB                    33.9 dB
    256x1, 128         8.9 µs       4.3 µs       31.2 dB                    32.2 dB
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgec.ir import Node, Value
from edgec.ops import Builder
from edgec.passes.canonicalize.matching import NONE, activation_of, owned
from edgec.passes.fuse.weighted import Wide, per_channel
from edgec.quantize.prepare.delegate import delegated, has_image_form, scaled_channels
from edgec.rewrite import NoMatch, no_match


@dataclass(frozen=True)
class ScaleChannels:
    """x * c + d → depthwise_conv_2d(x, c, d), where c or d differ from channel to channel"""

    name: str = "scale_channels"
    kinds: tuple[str, ...] = ("mul", "add")

    def apply(self, node: Node, build: Builder) -> Sequence[Value] | NoMatch:
        """Take a product and the sum behind it together."""
        if not delegated("depthwise_conv_2d"):
            return no_match("XNNPACK does not run depthwise_conv_2d for int8")
        x, numbers = node.operand(0), _numbers(node)
        if numbers is None:
            return no_match("the right operand is not a constant that varies along the channels alone")
        factor, shift = (numbers, np.zeros_like(numbers)) if node.kind == "mul" else (None, numbers)
        if node.kind == "mul" and _feeds_sum(node):
            return no_match("the sum behind it takes it along")
        product = owned(x, "mul") if factor is None else None
        inner = None if product is None or activation_of(product) is not NONE else _numbers(product)
        if product is not None and inner is not None:
            x, factor = product.operand(0), inner
        factor = np.ones_like(shift) if factor is None else factor
        if _equal(factor) and _equal(shift):
            return no_match("one number serves all channels")
        return [scaled_channels(build, x, factor, shift, activation_of(node))]


def _numbers(node: Node) -> Wide | None:
    """Return the constant of a product or sum, one number a channel."""
    x, constant = node.operand(0), node.operand(1)
    if not constant.is_constant or x.shape != node.result.shape or not has_image_form(x):
        return None
    return per_channel(constant, x.shape[-1])


def _feeds_sum(node: Node) -> bool:
    if activation_of(node) is not NONE or not node.result.has_single_use():
        return False
    user = node.result.users[0]
    return user.kind == "add" and user.operand(0) is node.result and _numbers(user) is not None


def _equal(numbers: Wide) -> bool:
    return bool((numbers == numbers[0]).all())
