"""What a layer multiplies its weights with at some of its output positions: im2col on strided views.

conv, depthwise    window of the zero-padded input
transpose_conv     window of the input spread out by the stride, with the taps in reverse order:
                   out[o] = Σ_t x[(o + pad - t) / stride] · W[t] over the taps t that divide
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgec.ops import Padding
from edgec.ops.conv import Conv2DAttributes, DepthwiseConv2DAttributes, TransposeConvAttributes
from edgec.ops.infer import window_output
from edgec.repair.rounding.layers import Layer


class Columns:
    """The rows [positions, taps, channels] of one input array, cut out lazily."""

    def __init__(self, layer: Layer, x: np.ndarray) -> None:
        self._layer = layer
        self._windows = _windows(layer, x)
        self.positions = int(np.prod(self._windows.shape[:3]))

    def at(self, positions: np.ndarray) -> np.ndarray:
        """Return float32 [groups, positions, columns] at flat output positions."""
        image, row, column = np.unravel_index(positions, self._windows.shape[:3])
        found = self._windows[image, row, column]  # positions, channels, height, width
        count, channels = found.shape[:2]
        groups = self._layer.groups
        taps = found.reshape(count, groups, channels // groups, -1).transpose(1, 0, 3, 2)
        return np.ascontiguousarray(taps.reshape(groups, count, -1), np.float32)


def _windows(layer: Layer, x: np.ndarray) -> np.ndarray:
    """Return a view [batch, out_h, out_w, channels, kernel_h, kernel_w]."""
    attributes = layer.node.attributes
    if isinstance(attributes, Conv2DAttributes | DepthwiseConv2DAttributes):
        return _conv(layer, attributes, x)
    if isinstance(attributes, TransposeConvAttributes):
        return _transposed(layer, attributes, x)
    return x.reshape(-1, 1, 1, layer.columns, 1, 1)


def _conv(layer: Layer, conv: Conv2DAttributes | DepthwiseConv2DAttributes, x: np.ndarray) -> np.ndarray:
    kernel = layer.weights.shape[1:3]
    height = _Axis(x.shape[1], kernel[0], conv.stride_h, conv.dilation_h_factor, conv.padding)
    width = _Axis(x.shape[2], kernel[1], conv.stride_w, conv.dilation_w_factor, conv.padding)
    padded = np.pad(x, ((0, 0), height.pads, width.pads, (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (height.reach, width.reach), (1, 2))
    windows = windows[:, :: conv.stride_h, :: conv.stride_w, :, :: height.dilation, :: width.dilation]
    return windows[:, : height.outputs, : width.outputs]


@dataclass(frozen=True, slots=True)
class _Axis:
    """One axis of a convolution: `reach` is how far a dilated window extends."""

    size: int
    kernel: int
    stride: int
    dilation: int
    padding: Padding

    @property
    def reach(self) -> int:
        return (self.kernel - 1) * self.dilation + 1

    @property
    def outputs(self) -> int:
        return window_output(self.size, self.kernel, self.stride, self.dilation, self.padding)

    @property
    def pads(self) -> tuple[int, int]:
        if self.padding is Padding.VALID:
            return 0, 0
        total = max((self.outputs - 1) * self.stride + self.reach - self.size, 0)
        return total // 2, total - total // 2


def _transposed(layer: Layer, conv: TransposeConvAttributes, x: np.ndarray) -> np.ndarray:
    out_h, out_w = layer.node.result.shape[1:3]
    kernel_h, kernel_w = layer.weights.shape[1:3]
    x = _spread(x, 1, out_h, kernel_h, conv.stride_h, conv.padding)
    x = _spread(x, 2, out_w, kernel_w, conv.stride_w, conv.padding)
    windows = np.lib.stride_tricks.sliding_window_view(x, (kernel_h, kernel_w), (1, 2))
    return windows[..., ::-1, ::-1]


def _spread(x: np.ndarray, axis: int, outputs: int, kernel: int, stride: int, padding: Padding) -> np.ndarray:
    """Put stride - 1 zeros between neighbours, and zeros around, so that window o has out[o]'s operands."""
    pad = max((x.shape[axis] - 1) * stride + kernel - outputs, 0) // 2 if padding is Padding.SAME else 0
    shape = list(x.shape)
    shape[axis] = outputs + kernel - 1
    spread = np.zeros(shape, x.dtype)
    start = kernel - 1 - pad  # tap t of window o is at o + kernel - 1 - t, and meets x at i * stride + start
    places = np.arange(x.shape[axis]) * stride + start
    inside = (places >= 0) & (places < shape[axis])
    into: list[slice | np.ndarray] = [slice(None)] * x.ndim
    into[axis] = places[inside]
    spread[tuple(into)] = np.compress(inside, x, axis)
    return spread
