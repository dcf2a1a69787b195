"""What a layer multiplies its weights with at some of its output positions: im2col of those alone.

Output o of one axis meets input i through tap t, or padding where there is no such input:

    conv, depthwise    i = o · stride - pad + t · dilation
    transpose_conv     i = (o + pad - t) / stride where that divides: out[o] = Σ_t x[i] · W[t]
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from edgec.ir import Array
from edgec.ops import Padding
from edgec.ops.conv import Conv2DAttributes, DepthwiseConv2DAttributes, TransposeConvAttributes
from edgec.ops.infer import window_output
from edgec.repair.rounding.layers import Layer

Integers = npt.NDArray[np.int64]


class Columns:
    """The rows [positions, taps, channels] of a layer's inputs, whose shape is `shape`."""

    def __init__(self, layer: Layer, shape: tuple[int, ...]) -> None:
        self.shape, self._axes = shape, _axes(layer, shape)
        self._channels = shape[-1] if self._axes else layer.columns
        self._images = shape[0] if self._axes else math.prod(shape) // layer.columns
        self.positions = math.prod((self._images, *map(len, self._axes)))

    def at(self, x: Array, positions: Integers, zero: int = 0) -> Array:
        """Return rows of an input, as it is stored, at flat output positions; padding reads `zero`."""
        if not self._axes:
            return x.reshape(-1, 1, self._channels)[positions]
        height, width = self._axes
        image, row, column = np.unravel_index(positions, (self._images, len(height), len(width)))
        i, j = height[row][:, :, None], width[column][:, None]
        found = x[image[:, None, None], i, j]
        outside = (i < 0) | (j < 0)
        if outside.any():
            found[outside] = zero
        return found.reshape(len(found), -1, self._channels)


def _axes(layer: Layer, shape: tuple[int, ...]) -> tuple[Integers, ...]:
    """Return for height and width which input each output meets through each tap, -1 where there is none.

    Nothing where every row of the input is a position.
    """
    conv, kernel = layer.node.attributes, layer.weights.shape[1:3]
    if isinstance(conv, Conv2DAttributes | DepthwiseConv2DAttributes):
        height = _conv(shape[1], kernel[0], conv.stride_h, conv.dilation_h_factor, conv.padding)
        return height, _conv(shape[2], kernel[1], conv.stride_w, conv.dilation_w_factor, conv.padding)
    if isinstance(conv, TransposeConvAttributes):
        outputs = layer.node.result.shape[1:3]
        height = _transposed(shape[1], outputs[0], kernel[0], conv.stride_h, conv.padding)
        return height, _transposed(shape[2], outputs[1], kernel[1], conv.stride_w, conv.padding)
    return ()


def _conv(size: int, kernel: int, stride: int, dilation: int, padding: Padding) -> Integers:
    outputs = window_output(size, kernel, stride, dilation, padding)
    total = (outputs - 1) * stride + (kernel - 1) * dilation + 1 - size
    pad = max(total, 0) // 2 if padding is Padding.SAME else 0
    return _inside(np.arange(outputs)[:, None] * stride - pad + np.arange(kernel) * dilation, size)


def _transposed(size: int, outputs: int, kernel: int, stride: int, padding: Padding) -> Integers:
    pad = max((size - 1) * stride + kernel - outputs, 0) // 2 if padding is Padding.SAME else 0
    spread = np.arange(outputs)[:, None] + pad - np.arange(kernel)
    return _inside(np.where(spread % stride == 0, spread // stride, -1), size)


def _inside(inputs: Integers, size: int) -> Integers:
    return np.where(inputs < size, np.maximum(inputs, -1), -1)
