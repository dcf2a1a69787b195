"""Sliding windows: ONNX's explicit pads become TFLite's SAME, VALID, or an explicit pad + VALID.

One axis with input size i, window e = (kernel - 1) * dilation + 1, stride s, `low` cells before, o outputs:

    needed after the input = (o - 1) * s + e - i - low
    TensorFlow's SAME      : o = ceil(i / s), total = max((o - 1) * s + e - i, 0), low = total // 2

so SAME is used only where `o` and `low` are the source's own. Where i is known at run time only (DYNAMIC),
pads are explicit and VALID rounds down as ONNX does; SAME fits where the stride is 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from edgec.frontends.onnx.context import LoweringContext, LoweringError
from edgec.ir import DYNAMIC, Value
from edgec.ops import Builder, Padding


@dataclass(frozen=True, slots=True)
class Window:
    """A window along one axis; `low` and `high` are the source's pads (negative ones cut cells off).

    `same` says SAME_UPPER for a size that only the run time knows: its pads are not known either.
    """

    size: int
    kernel: int
    stride: int = 1
    dilation: int = 1
    low: int = 0
    high: int = 0
    output: int = 1
    same: bool = False

    @property
    def extent(self) -> int:
        """Cells from the window's first tap to its last."""
        return (self.kernel - 1) * self.dilation + 1

    @property
    def after(self) -> int:
        """Cells to add behind the input (negative: to cut) so that VALID takes exactly `output` steps."""
        if self.size == DYNAMIC:
            return self.high
        needed = (self.output - 1) * self.stride + self.extent - self.size - self.low
        return needed if needed >= 0 or -needed >= self.stride else 0

    @property
    def is_valid(self) -> bool:
        """Whether TFLite's VALID takes the same steps."""
        return self.low == 0 and self.after == 0 and not self.same

    @property
    def is_same(self) -> bool:
        """Whether TFLite's SAME takes the same steps."""
        if self.size == DYNAMIC:
            around = self.extent - 1
            fits = (self.low, self.high) == (around // 2, around - around // 2)
            return self.same or (self.stride == 1 and fits)
        total = max((self.output - 1) * self.stride + self.extent - self.size, 0)
        return self.output == -(-self.size // self.stride) and self.low == total // 2

    def taps(self) -> np.ndarray:
        """Return the input position of every tap, `int[output, kernel]`; positions in pads lie outside."""
        if self.size == DYNAMIC:
            raise _unknown_size("the cells that each window covers")
        steps = np.arange(self.output) * self.stride - self.low
        return steps[:, None] + np.arange(self.kernel) * self.dilation


def inside_taps(window: Window) -> np.ndarray:
    """Return the taps with those in pads replaced by the first real one: a maximum stays the same."""
    taps = window.taps()
    real = (taps >= 0) & (taps < window.size)
    refuse_empty(real.sum(axis=1))
    first = np.take_along_axis(taps, real.argmax(axis=1)[:, None], axis=1)
    return np.where(real, taps, first)


def refuse_empty(counted: np.ndarray) -> None:
    """Raise LoweringError where a pool's window holds no cell of the input."""
    if not counted.all():
        raise LoweringError(
            "a window lies in the pads alone",
            "It has neither a maximum nor an average.",
            "Use pads smaller than the kernel.",
        )


def _unknown_size(what: str) -> LoweringError:
    return LoweringError(
        f"needs {what}, and the size of the input is known at run time only",
        "They follow from the size.",
        "Fix the sizes with --input-shape.",
    )


UNIT = Window(size=1, kernel=1)
"""The extra axis that turns a one-dimensional operator into a two-dimensional one."""


def spatial_rank(x: Value) -> int:
    """Return 1, 2 or 3 for `[N, C, L]`, `[N, C, H, W]`, `[N, C, D, H, W]`; LoweringError for others."""
    rank = x.type.rank - 2
    if rank not in (1, 2, 3):
        raise LoweringError(
            f"has {rank} spatial dimensions (input {list(x.shape)})",
            "TFLite's window kernels slide over two, and a third is taken apart into planes.",
            "Use an operator with one to three spatial dimensions.",
        )
    if x.shape[1] == DYNAMIC or (rank == 3 and DYNAMIC in x.shape):
        raise LoweringError(
            f"reads {x.type}, whose sizes are known only at run time",
            "The number of channels has to be known, and with three spatial dimensions all sizes.",
            "Fix the sizes with --input-shape.",
        )
    return rank


def axis_ints(ctx: LoweringContext, name: str, count: int, default: int) -> list[int]:
    """Return an attribute with one integer for each of `count` axes; LoweringError for another count."""
    values = ctx.ints(name) or [default] * count
    if len(values) != count:
        raise LoweringError(
            f"attribute '{name}' is {values}", f"It needs {count} entries.", "Export the model again."
        )
    return values


def read_windows(
    ctx: LoweringContext, sizes: Sequence[int], kernel: Sequence[int], *, ceil: bool = False
) -> list[Window]:
    """Return the windows of H and W (H is `UNIT` for one spatial axis), or of D, H and W."""
    windows = axis_windows(ctx, sizes, kernel, ceil=ceil)
    return [UNIT, *windows] if len(windows) == 1 else windows


def axis_windows(
    ctx: LoweringContext, sizes: Sequence[int], kernel: Sequence[int], *, ceil: bool = False
) -> list[Window]:
    """Return the window of every spatial axis from the node's attributes."""
    rank = len(sizes)
    if len(kernel) != rank or min(kernel) < 1:
        raise LoweringError(f"kernel_shape {list(kernel)} does not fit {rank} spatial dimensions")
    strides, dilations = axis_ints(ctx, "strides", rank, 1), axis_ints(ctx, "dilations", rank, 1)
    pads = axis_ints(ctx, "pads", 2 * rank, 0)
    auto_pad = ctx.string("auto_pad", "NOTSET")
    windows: list[Window] = []
    for axis in range(rank):
        window = Window(sizes[axis], kernel[axis], strides[axis], dilations[axis])
        low, high = _pads(window, auto_pad, (pads[axis], pads[axis + rank]))
        output = _output(window, low, high, ceil)
        same = auto_pad == "SAME_UPPER" and window.size == DYNAMIC
        windows.append(replace(window, low=low, high=high, output=output, same=same))
    return windows


def _pads(window: Window, auto_pad: str, explicit: tuple[int, int]) -> tuple[int, int]:
    if auto_pad in ("", "NOTSET"):
        return explicit
    if auto_pad == "VALID":
        return 0, 0
    if auto_pad not in ("SAME_UPPER", "SAME_LOWER"):
        raise LoweringError(f"auto_pad '{auto_pad}' is unknown", "", "Export with explicit pads.")
    if window.size == DYNAMIC and window.stride > 1:
        if auto_pad == "SAME_UPPER":
            return 0, 0
        raise _unknown_size(f"the pads of auto_pad {auto_pad}")
    steps = -(-window.size // window.stride)
    total = max((steps - 1) * window.stride + window.extent - window.size, 0)
    total = window.extent - 1 if window.size == DYNAMIC else total
    low = total // 2 if auto_pad == "SAME_UPPER" else total - total // 2
    return low, total - low


def _output(window: Window, low: int, high: int, ceil: bool) -> int:
    if window.size == DYNAMIC:
        if ceil and window.stride > 1:
            raise _unknown_size("whether ceil_mode adds a window")
        return DYNAMIC
    free = window.size + low + high - window.extent
    output = (-(-free // window.stride) if ceil else free // window.stride) + 1
    if output < 1:
        raise LoweringError(
            f"the window covers {window.extent} cells, the padded input has {free + window.extent}",
            "The result would be empty.",
            "Use a larger input (--input-shape) or a smaller kernel.",
        )
    # A window that would start behind the input and its leading pad is left out.
    starts_outside = ceil and (output - 1) * window.stride >= window.size + low
    return output - 1 if starts_outside else output


def padded(build: Builder, x: Value, windows: Sequence[Window]) -> tuple[Value, Padding]:
    """Return NHWC data with zeros where the windows need them, and the padding the kernel shall use."""
    if all(window.is_valid for window in windows):
        return x, Padding.VALID
    if all(window.is_same for window in windows):
        return x, Padding.SAME
    return pad_or_crop(build, x, [(0, 0), *((w.low, w.after) for w in windows), (0, 0)]), Padding.VALID


def pad_or_crop(build: Builder, x: Value, pads: Sequence[tuple[int, int]]) -> Value:
    """Add zeros (positive) or cut cells off (negative) before and after each axis."""
    begin = [max(-low, 0) for low, _ in pads]
    end = [dim - max(-high, 0) for dim, (_, high) in zip(x.shape, pads, strict=True)]
    size = [stop - start for start, stop in zip(begin, end, strict=True)]
    if size != list(x.shape):
        x = build.op("slice", [x, build.constant(begin), build.constant(size)])
    added = np.array([[max(low, 0), max(high, 0)] for low, high in pads], np.int32)
    return build.op("pad", [x, build.constant(added)]) if added.any() else x


def to_nhwc(ctx: LoweringContext, x: Value) -> Value:
    """Return `[N, C, (D,) H, W]` as `[N, (D,) H, W, C]`, and `[N, C, L]` as `[N, 1, L, C]`."""
    rank = spatial_rank(x)
    x = ctx.to_channels_last(x)
    return x if rank > 1 else ctx.build.reshape(x, [x.shape[0], 1, *x.shape[1:]])


def from_nhwc(ctx: LoweringContext, x: Value, rank: int) -> Value:
    """Undo `to_nhwc` for a result with `rank` spatial dimensions."""
    if rank == 1:
        x = ctx.build.reshape(x, [x.shape[0], *x.shape[2:]])
    return ctx.to_channels_first(x)
