"""Grouped convolution for kernel libraries that have only the plain one.

conv_2d(x, weights of depth C/G) → concat(conv_2d(x[0], w[0], b[0]), … conv_2d(x[G-1], w[G-1], b[G-1]))

TFLM's reference kernel runs grouped convolutions; the vendors' optimized ones need not. Group g reads
channels [g·C/G, (g+1)·C/G) and makes output channels [g·O/G, (g+1)·O/G), so weights and bias are cut along
their first axis and their per-axis parameters with them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from edgec.ir import Node, Quantization, Value
from edgec.legalize.moves import Moves
from edgec.ops import Builder
from edgec.rewrite import NoMatch, no_match


@dataclass(frozen=True)
class DecomposeGroupedConv2D:
    """Grouped conv_2d → one conv_2d a group, joined along the channels."""

    name: str = "decompose_grouped_conv_2d"
    kinds: tuple[str, ...] = ("conv_2d",)

    def apply(self, node: Node, build: Builder) -> Sequence[Value] | NoMatch:
        """Cut operand, weights and bias into groups."""
        x, weights, bias = node.operand(0), node.operand(1), node.operand(2)
        if x.shape[3] == weights.shape[3]:
            return no_match("the convolution has one group")
        if weights.data is None or bias.data is None:
            return no_match("weights or bias are not constant")
        groups = x.shape[3] // weights.shape[3]
        read, made = Moves.like(x, build), Moves.like(node.result, build)
        parts: list[Value] = []
        for group in range(groups):
            cut = read.take(x, 3, group * weights.shape[3], weights.shape[3])
            own = [_part(value, group, groups, build) for value in (weights, bias)]
            parts.append(made.scaled(build.op("conv_2d", [cut, *own], node.attributes)))
        return [made.concatenate(parts, 3)]


def _part(value: Value, index: int, count: int, build: Builder) -> Value:
    """Return one of `count` equal parts of a constant along its first axis."""
    data = np.split(value.constant(), count, axis=0)[index]
    part = build.constant(np.ascontiguousarray(data), name=value.name)
    quantization = value.type.quantization
    if quantization is not None and quantization.per_axis:
        own = slice(index * data.shape[0], (index + 1) * data.shape[0])
        quantization = Quantization(
            quantization.scale[own], quantization.zero_point[own], quantization.quantized_dimension
        )
    part.type = replace(part.type, quantization=quantization)
    return part
