"""A pad becomes SAME exactly where TensorFlow's SAME puts the same cells."""

from __future__ import annotations

import numpy as np
import pytest

from edgec.ir import Value
from edgec.ops import Builder, Padding
from edgec.ops.conv import Conv2DAttributes
from edgec.ops.pool import Pool2DAttributes
from edgec.passes.fuse import FUSE_PADDING
from edgec.passes.fuse.padding import FusePad
from tests.support.ir_graphs import Body, conv, depthwise, kinds, make_model, reasons, rewritten


def padded(b: Builder, x: Value, height: tuple[int, int], width: tuple[int, int]) -> Value:
    return b.op("pad", [x, b.constant(np.array([(0, 0), height, width, (0, 0)], np.int32))])


@pytest.mark.parametrize(
    ("size", "pads", "stride", "dilation"),
    [
        (5, (1, 1), 1, 1),
        (5, (1, 1), 2, 1),  # o = 3, total = 2 * 2 + 3 - 5 = 2
        (6, (0, 1), 2, 1),  # o = 3, total = 2 * 2 + 3 - 6 = 1, and the odd cell is behind
        (7, (2, 2), 1, 2),  # the window covers 5 cells
    ],
)
def test_same_split_becomes_same(size: int, pads: tuple[int, int], stride: int, dilation: int) -> None:
    attributes = Conv2DAttributes(
        stride_w=stride, stride_h=stride, dilation_w_factor=dilation, dilation_h_factor=dilation
    )
    body: Body = lambda b, x: conv(b, padded(b, x, pads, pads), attributes=attributes)  # noqa: E731
    result = rewritten(FUSE_PADDING, body, (1, size, size, 2))
    assert result.kinds == ["conv_2d"]
    (node,) = result.model.graph
    assert getattr(node.attributes, "padding", None) is Padding.SAME


def test_depthwise_convolution_and_axes_of_different_size() -> None:
    """5 rows need (1, 1), 6 columns need (0, 1) at stride 2."""

    def body(b: Builder, x: Value) -> Value:
        return depthwise(b, padded(b, x, (1, 1), (0, 1)), stride_w=2, stride_h=2)

    assert rewritten(FUSE_PADDING, body, (1, 5, 6, 3)).kinds == ["depthwise_conv_2d"]


def test_pad_stays_for_its_other_readers() -> None:
    def body(b: Builder, x: Value) -> list[Value]:
        y = padded(b, x, (1, 1), (1, 1))
        return [conv(b, y), b.op("abs", [y])]

    assert sorted(rewritten(FUSE_PADDING, body, (1, 5, 6, 3)).kinds) == ["abs", "conv_2d", "pad"]


def test_other_splits_stay() -> None:
    """The symmetric pads of other frameworks at stride 2: SAME would put both cells elsewhere."""
    attributes = Conv2DAttributes(stride_w=2, stride_h=2)
    body: Body = lambda b, x: conv(b, padded(b, x, (1, 1), (1, 1)), attributes=attributes)  # noqa: E731
    assert reasons(FusePad(), body, (1, 6, 6, 3)) == [
        "the paddings are [[0, 0], [1, 1], [1, 1], [0, 0]], SAME's are [[0, 0], [0, 1], [0, 1], [0, 0]]"
    ]


def test_convolution_that_pads_by_itself_keeps_the_pad() -> None:
    attributes = Conv2DAttributes(Padding.SAME)
    body: Body = lambda b, x: conv(b, padded(b, x, (1, 1), (1, 1)), attributes=attributes)  # noqa: E731
    assert reasons(FusePad(), body, (1, 6, 6, 3)) == ["the convolution pads by itself"]


def test_pools_keep_their_pad() -> None:
    """Zeros count in the mean; SAME would leave them out."""
    pool = Pool2DAttributes(Padding.VALID, 1, 1, 3, 3)
    body: Body = lambda b, x: b.op("average_pool_2d", [padded(b, x, (1, 1), (1, 1))], pool)  # noqa: E731
    model = make_model(body, (1, 5, 6, 3))
    assert not FUSE_PADDING.run(model).modified
    assert kinds(model) == ["pad", "average_pool_2d"]
