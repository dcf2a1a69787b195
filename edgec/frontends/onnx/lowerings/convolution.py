"""Conv of one to three spatial dimensions (three: see window3d.py).

group 1            → conv_2d            weights [O, I, kH, kW]   → [O, kH, kW, I]
group = C_in       → depthwise_conv_2d  weights [C*m, 1, kH, kW] → [1, kH, kW, C*m]
any other group    → conv_2d, grouped   weights [O, I/g, kH, kW] → [O, kH, kW, I/g]
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgec.frontends.onnx.context import LoweringContext, LoweringError
from edgec.frontends.onnx.lowerings.padding import (
    Window,
    from_nhwc,
    padded,
    read_windows,
    spatial_rank,
    to_nhwc,
)
from edgec.frontends.onnx.lowerings.window3d import planes_as_channels
from edgec.frontends.onnx.registry import lowers
from edgec.ir import Value
from edgec.ops import Builder, Padding
from edgec.ops.conv import Conv2DAttributes, DepthwiseConv2DAttributes
from edgec.ops.grids import moved


@lowers("Conv", dynamic=True)
def conv(ctx: LoweringContext) -> Value:
    """Cross-correlation: y[o] = sum over taps and channels of w[o] * x, plus bias[o]."""
    x, weights, group = ctx.input(0), ctx.input(1), ctx.int("group", 1)
    rank = spatial_rank(x)
    _check_channels(x, weights, group)
    windows = read_windows(ctx, x.shape[2:], ctx.ints("kernel_shape") or weights.shape[2:])
    if rank == 3:
        return _conv_3d(ctx, windows, group)
    depthwise = group == x.shape[1] > 1
    data, padding = padded(ctx.build, to_nhwc(ctx, x), windows)
    shape = [*weights.shape[:2], *(window.kernel for window in windows)]
    axes = [1, 2, 3, 0] if depthwise else [0, 2, 3, 1]
    arranged = permuted(ctx.build, weights, shape, axes)
    return from_nhwc(ctx, with_bias(ctx, data, arranged, windows, padding, depthwise), rank)


def _conv_3d(ctx: LoweringContext, windows: Sequence[Window], group: int) -> Value:
    """One conv_2d over `[N * D_o, H, W, k * C]`."""
    x, weights, depth = ctx.input(0), ctx.input(1), windows[0]
    planes = planes_as_channels(ctx.build, ctx.to_channels_last(x), depth, group)
    data, padding = padded(ctx.build, planes, windows[1:])
    arranged = weights_for_planes(ctx.build, weights)
    y = with_bias(ctx, data, arranged, windows[1:], padding, depthwise=False)
    return ctx.to_channels_first(ctx.build.reshape(y, [x.shape[0], depth.output, *y.shape[1:]]))


def weights_for_planes(build: Builder, weights: Value) -> Value:
    """Return `[O, I, kD, kH, kW]` as the `[O, kH, kW, kD * I]` that fits `planes_as_channels`."""
    arranged = permuted(build, weights, weights.shape, [0, 3, 4, 2, 1])
    shape = [*arranged.shape[:3], arranged.shape[3] * arranged.shape[4]]
    if arranged.data is None:
        return build.reshape(arranged, shape)
    return moved(build, arranged, arranged.data.reshape(shape))


def _check_channels(x: Value, weights: Value, group: int) -> None:
    if weights.type.rank != x.type.rank:
        raise LoweringError(f"weights {list(weights.shape)} do not fit input {list(x.shape)}")
    if group < 1 or x.shape[1] != weights.shape[1] * group or weights.shape[0] % group:
        raise LoweringError(
            f"weights {list(weights.shape)} do not fit {x.shape[1]} channels in {group} groups",
            "The first two sizes must be (C_out, C_in / group).",
            "Export the model again.",
        )


def with_bias(
    ctx: LoweringContext,
    data: Value,
    weights: Value,
    windows: Sequence[Window],
    padding: Padding,
    depthwise: bool,
) -> Value:
    """Return the convolution of NHWC data with arranged weights and the node's optional bias (input 2)."""
    channels = weights.shape[3] if depthwise else weights.shape[0]
    bias = ctx.optional_input(2)
    if bias is not None and bias.shape != (channels,):
        raise LoweringError(f"bias {list(bias.shape)} does not fit {channels} output channels")
    # Kernels want a constant bias (XNNPACK packs it with the weights): one computed at run time is added.
    constant = bias if bias is not None and bias.is_constant else zeros(ctx.build, channels)
    y = convolve(ctx.build, data, weights, constant, windows, padding, depthwise)
    return y if bias is None or bias.is_constant else ctx.build.op("add", [y, bias])


def convolve(
    build: Builder,
    data: Value,
    weights: Value,
    bias: Value,
    windows: Sequence[Window],
    padding: Padding,
    depthwise: bool,
) -> Value:
    """Emit `conv_2d` or `depthwise_conv_2d` with the windows' strides and dilations."""
    height, width = windows
    if depthwise:
        settings = DepthwiseConv2DAttributes(
            padding=padding,
            stride_h=height.stride,
            stride_w=width.stride,
            depth_multiplier=weights.shape[3] // data.shape[3],
            dilation_h_factor=height.dilation,
            dilation_w_factor=width.dilation,
        )
        return build.op("depthwise_conv_2d", [data, weights, bias], settings)
    attributes = Conv2DAttributes(
        padding=padding,
        stride_h=height.stride,
        stride_w=width.stride,
        dilation_h_factor=height.dilation,
        dilation_w_factor=width.dilation,
    )
    return build.op("conv_2d", [data, weights, bias], attributes)


def zeros(build: Builder, count: int) -> Value:
    """Return a bias of zeros: LiteRT 2.3 refuses a convolution without bias."""
    return build.constant(np.zeros(count, np.float32), name=f"{build.source}/zero_bias")


def permuted(build: Builder, value: Value, shape: Sequence[int], axes: Sequence[int]) -> Value:
    """Return `transpose(reshape(value, shape), axes)`, computed at once for a constant."""
    if value.data is None:
        return build.transpose(build.reshape(value, shape), axes)
    data = np.ascontiguousarray(np.transpose(value.data.reshape(shape), axes))
    return moved(build, value, data, axes)  # scales lie along the first two axes, which keep their number
