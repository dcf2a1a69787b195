"""A pad by zeros in front of a convolution becomes its SAME padding, where both put the same cells.

TensorFlow's SAME, along one axis of n cells with a window over e cells and stride s:

    o = ceil(n / s)      total = max((o - 1) s + e - n, 0)      before = total // 2, after = total - before
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from edgec.ir import Node, Value
from edgec.ops import Builder, Padding
from edgec.ops.conv import Conv2DAttributes, DepthwiseConv2DAttributes
from edgec.passes.canonicalize.matching import made_by
from edgec.passes.contract import RulePass
from edgec.rewrite import NoMatch, no_match


@dataclass(frozen=True, slots=True)
class FusePad:
    """conv_2d(pad(x, p)) {VALID} → conv_2d(x) {SAME}, where p is SAME's own split

    Other pads stay: XNNPACK fuses a zero pad with the VALID convolution behind it. Pools are no match, for
    their SAME leaves pads out of the mean and the maximum.
    """

    name: str = "fuse_pad"
    kinds: tuple[str, ...] = ("conv_2d", "depthwise_conv_2d")

    def apply(self, node: Node, build: Builder) -> Sequence[Value] | NoMatch:
        """Read the unpadded value; the pad stays for its other readers."""
        conv = node.attributes
        pad = made_by(node.operand(0), "pad")
        paddings = None if pad is None else pad.operand(1).data
        if pad is None or paddings is None or not pad.operand(0).type.is_static:
            return no_match("the operand is not made by a pad with constant paddings of a known shape")
        if not isinstance(conv, Conv2DAttributes | DepthwiseConv2DAttributes) or conv.padding is Padding.SAME:
            return no_match("the convolution pads by itself")
        x, kernel = pad.operand(0), node.operand(1).shape[1:3]
        axes = (
            _same_split(x.shape[1], (kernel[0] - 1) * conv.dilation_h_factor + 1, conv.stride_h),
            _same_split(x.shape[2], (kernel[1] - 1) * conv.dilation_w_factor + 1, conv.stride_w),
        )
        expected = [[0, 0], *map(list, axes), [0, 0]]
        if paddings.tolist() != expected:
            return no_match(f"the paddings are {paddings.tolist()}, SAME's are {expected}")
        operands = [x, *node.operands[1:]]
        return [build.op(node.kind, operands, replace(conv, padding=Padding.SAME))]


def _same_split(size: int, extent: int, stride: int) -> tuple[int, int]:
    total = max((-(-size // stride) - 1) * stride + extent - size, 0)
    return total // 2, total - total // 2


FUSE_PADDING = RulePass("fuse_padding", (FusePad(),))
