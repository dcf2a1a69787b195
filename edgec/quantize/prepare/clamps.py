"""relu, relu6 and relu_n1_to_1 that no node before them takes in: int8 saturates, so they cost nothing.

    relu(x), nobody else reads x      → max_pool_2d(x, 1x1) {RELU}
    relu(x), x has other readers      → depthwise_conv_2d(x, 1, 1x1) {RELU}

A 1x1 pool shares its operand's scale, so an operand that nobody else reads gets the
result's range [0, high] and stores everything below zero as zero; the pool is then idle and disappears
(`legalize.clamps`). So it goes through whatever moves elements before it.

Where others read the operand, sharing its scale would cost precision; the convolution has a scale of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgec.ir import Node, Value
from edgec.ops import Builder
from edgec.passes.canonicalize.matching import ACTIVATION_KINDS
from edgec.quantize.prepare.delegate import clamped, has_image_form, inside, scaled_channels
from edgec.rewrite import NoMatch, no_match

_ACTIVATIONS = {kind: activation for activation, kind in ACTIVATION_KINDS.items()}


@dataclass(frozen=True)
class PoolActivation:
    """relu(x) → max_pool_2d(x, 1x1) {RELU}, or depthwise_conv_2d(x, 1) {RELU} where x has other readers"""

    name: str = "pool_activation"
    kinds: tuple[str, ...] = tuple(_ACTIVATIONS)

    def apply(self, node: Node, build: Builder) -> Sequence[Value] | NoMatch:
        """Clip by a fused activation."""
        refused = inside(node.kind, "max_pool_2d", "depthwise_conv_2d")
        if refused is not None:
            return refused
        x, activation = node.operand(0), _ACTIVATIONS[node.kind]
        if not has_image_form(x):
            return no_match(f"{x.type} has no form as an image")
        if x.producer is not None and x.has_single_use():
            return [clamped(build, x, activation)]
        ones = np.ones(x.shape[-1])
        return [scaled_channels(build, x, ones, np.zeros_like(ones), activation)]
