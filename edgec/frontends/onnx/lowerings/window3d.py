"""Windows over three axes with kernels that slide over two; data is `[N, D, H, W, C]`.

    convolution   the k planes that an output plane sees, side by side as k * C channels: one conv_2d
                      y[d] = W · [x[d s], x[d s + dil], …]          [N * D_o, H, W, k * C]
    pool          first over H and W of every plane, then over D:    [N * D, H, W, C], [N, D, H * W, C]

conv_3d would say a convolution in one node, but it has no int8 kernel and XNNPACK does not take it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from edgec.frontends.onnx.lowerings.movement import concatenated
from edgec.frontends.onnx.lowerings.padding import Window, pad_or_crop
from edgec.ir import Value
from edgec.ops import Builder
from edgec.ops.slicing import StridedSliceAttributes

Slide = Callable[[Builder, Value, tuple[Window, Window]], Value]


def planes_as_channels(build: Builder, x: Value, depth: Window, group: int) -> Value:
    """Return `[N * D_o, H, W, group * kernel * C / group]`: what each output plane sees, group by group."""
    x = pad_or_crop(build, x, [(0, 0), (depth.low, depth.after), (0, 0), (0, 0), (0, 0)])
    n, d, h, w, c = x.shape
    planes = build.reshape(x, [n, d, h * w * group, c // group])
    taps = [_every(build, planes, depth, tap) for tap in range(depth.kernel)]
    joined = concatenated(build, taps, 3)
    return build.reshape(joined, [n * depth.output, h, w, depth.kernel * c])


def _every(build: Builder, planes: Value, depth: Window, tap: int) -> Value:
    """Return the planes that one tap of the window reads, of rank 4."""
    n, _, cells, channels = planes.shape
    first = tap * depth.dilation
    if depth.stride == 1:
        begin, size = [0, first, 0, 0], [n, depth.output, cells, channels]
        if tuple(size) == planes.shape:
            return planes
        return build.op("slice", [planes, build.constant(begin), build.constant(size)])
    last = first + (depth.output - 1) * depth.stride
    vectors = ([0, first, 0, 0], [n, last + 1, cells, channels], [1, depth.stride, 1, 1])
    return build.op("strided_slice", [planes, *map(build.constant, vectors)], StridedSliceAttributes())


def slide(build: Builder, x: Value, windows: Sequence[Window], step: Slide) -> Value:
    """Run a pool that is separable over axes: at once over two, or plane by plane and then over depth."""
    if len(windows) == 2:
        return step(build, x, (windows[0], windows[1]))
    n, d, h, w, c = x.shape
    y = step(build, build.reshape(x, [n * d, h, w, c]), (windows[1], windows[2]))
    _, high, wide, _ = y.shape
    cells = Window(high * wide, 1, output=high * wide)
    y = step(build, build.reshape(y, [n, d, high * wide, c]), (windows[0], cells))
    return build.reshape(y, [n, y.shape[1], high, wide, c])
