"""Forms of float nodes whose integer kernels in TFLM compute what LiteRT's reference kernels compute.

    fully_connected(x, w, b)   → reshape, conv_2d 1x1, reshape
    sum(x, axes)               → mul(mean(x, axes), n)

What is verified on a computer is then what the device computes, bit by bit. Measured with ai-edge-litert
2.3.0 and tflite-micro 2026-10 (`tools/bench_micro.py`): of all kernels with int8 results three differ.

    FULLY_CONNECTED   LiteRT's reference kernel multiplies in double (`integer_ops/fully_connected.h`,
                      overloads with float scales); TFLM, CMSIS-NN and LiteRT's CONV_2D multiply by 31 bits
                      and round twice: one result in 2^(shift + 1) is a step off, and later layers amplify it.
    SUM               LiteRT's reference kernel does not rescale.
    HARD_SWISH        LiteRT divides scales in float32, TFLM in double; cut to 16 bits, a multiplier in some
                      hundred differs. Scales of 8 bits keep both on one side of a cut (`quantize.scales`).

MUL, RELU, LEAKY_RELU and ABS divide like HARD_SWISH, but keep 31 bits: results of 8 bits do not show it,
those of 16 bits do. Powers of two divide exactly, so int16 activations have such scales.

A 1x1 convolution over one pixel is the same product: TFLM's two reference kernels take equal time (82 k MACs:
36.5 and 36.9 µs), weights have a scale for each channel in every version of TFLM, and with int4, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgec.ir import DType, Node, Value
from edgec.ops import Builder
from edgec.ops.conv import Conv2DAttributes
from edgec.ops.infer import expect
from edgec.ops.matmul import FullyConnectedAttributes
from edgec.ops.reduce import ReducerAttributes
from edgec.rewrite import NoMatch, no_match


@dataclass(frozen=True)
class FullyConnectedToConv2D:
    """fully_connected(x, w, b) → reshape(conv_2d(reshape(x, [rows, 1, 1, depth]), w as 1x1, b))"""

    name: str = "fully_connected_to_conv_2d"
    kinds: tuple[str, ...] = ("fully_connected",)

    def apply(self, node: Node, build: Builder) -> Sequence[Value] | NoMatch:
        """Read every row as a pixel."""
        x, weights, bias = node.operand(0), node.operand(1), node.optional_operand(2)
        if weights.data is None or x.dtype is not DType.FLOAT32 or weights.dtype is not DType.FLOAT32:
            return no_match("the weights are computed at run time, or not float")
        if not x.type.is_static:
            return no_match(f"the operand is {x.type}")
        units, depth = weights.shape
        filters = build.constant(weights.data.reshape(units, 1, 1, depth), name=weights.name)
        shift = bias if bias is not None else build.constant(np.zeros(units, np.float32))
        options = expect(node.attributes, FullyConnectedAttributes)
        attributes = Conv2DAttributes(fused_activation_function=options.fused_activation_function)
        pixels = build.reshape(x, (x.type.size // depth, 1, 1, depth))
        return [build.reshape(build.op("conv_2d", [pixels, filters, shift], attributes), node.result.shape)]


@dataclass(frozen=True)
class DecomposeSum:
    """sum(x, axes) → mul(mean(x, axes), n), n elements in each sum"""

    name: str = "decompose_sum"
    kinds: tuple[str, ...] = ("sum",)

    def apply(self, node: Node, build: Builder) -> Sequence[Value] | NoMatch:
        """Average, then multiply; where the ranges of mean and sum agree, that product is a copy."""
        x = node.operand(0)
        if x.dtype is not DType.FLOAT32 or not x.type.is_static or not node.result.type.size:
            return no_match(f"the operand is {x.type}")
        options = expect(node.attributes, ReducerAttributes)
        mean = build.op("mean", [x, node.operand(1)], options)
        return [build.op("mul", [mean, build.constant(float(x.type.size // node.result.type.size))])]
