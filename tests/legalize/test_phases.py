"""Phases of an image, joined for a convolution, are the image with wider windows."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from edgec.ir import Value
from edgec.legalize.phases import JoinPhases
from edgec.ops import Padding
from edgec.ops.movement import ConcatenationAttributes
from edgec.ops.slicing import StridedSliceAttributes
from tests.legalize.graphs import Net, rewritten

RULE = JoinPhases()
FOUR: list[tuple[int, int]] = [(0, 0), (0, 1), (1, 0), (1, 1)]
NOT_PHASES = "the operand does not join phases of an image"
NOT_ALL = "they are not all phases of one image, each once"


def cut(net: Net, x: Value, begin: list[int], end: list[int], strides: list[int]) -> Value:
    return net.op("strided_slice", [x, *map(net.ints, (begin, end, strides))], StridedSliceAttributes())


def phase(net: Net, x: Value, place: tuple[int, int], steps: tuple[int, int]) -> Value:
    """Rows, then columns, as ONNX exporters cut them."""
    n, height, width, channels = x.shape
    rows = cut(net, x, [0, place[0], 0, 0], [n, height, width, channels], [1, steps[0], 1, 1])
    return cut(net, rows, [0, 0, place[1], 0], list(rows.shape), [1, 1, steps[1], 1])


def focus(
    places: list[tuple[int, int]] | None = None,
    *,
    steps: tuple[int, int] = (2, 2),
    shape: tuple[int, ...] = (2, 8, 12, 3),
    kernel: int = 3,
    axis: int = 3,
    channels: int = 5,
    groups: int = 1,
    **attributes: object,
) -> Net:
    net = Net()
    x = net.input(*shape)
    whole = list(product(range(steps[0]), range(steps[1])))
    parts = [phase(net, x, place, steps) for place in places or whole]
    joined = net.op("concatenation", parts, ConcatenationAttributes(axis=axis))
    return net.returns(net.conv(joined, channels, kernel, groups=groups, **attributes))


MATCHES = {
    "same": focus(padding=Padding.SAME),
    "valid": focus(),
    "columns_first": focus([(0, 0), (1, 0), (0, 1), (1, 1)], padding=Padding.SAME),  # YOLOX's order
    "strides": focus(stride_w=2, stride_h=1),
    "kernel_of_one": focus(kernel=1),
    "three_rows": focus(steps=(3, 1), shape=(1, 9, 7, 2), padding=Padding.SAME),
    "columns_alone": focus(steps=(1, 4), padding=Padding.SAME),
}


@pytest.mark.parametrize("net", MATCHES.values(), ids=MATCHES.keys())
def test_same_values_from_one_convolution(net: Net) -> None:
    """The same products in another order: sums of at most 108 numbers near 1 differ by a few roundings."""
    before = net.run()
    rewritten(net, RULE)
    assert net.kinds() == ["conv_2d"]
    (after,) = net.run()
    assert np.abs(np.subtract(after, before[0])).max() < 2e-5


def test_the_channels_of_a_last_axis_may_be_counted_from_behind() -> None:
    """Axis -1 is axis 3."""
    net = focus(axis=-1)
    rewritten(net, RULE)
    assert net.kinds() == ["conv_2d"]


@pytest.mark.parametrize(
    ("net", "reason"),
    [
        (focus([(0, 0), (0, 0), (1, 0), (1, 1)]), NOT_ALL),
        (focus([(0, 0), (1, 0)]), NOT_ALL),
        (focus(axis=2), NOT_PHASES),
        (
            focus(kernel=2, padding=Padding.SAME),
            "padding has one more pixel on one side, and would have several",
        ),
        (focus(padding=Padding.SAME, dilation_h_factor=2), "the window is dilated"),
        (focus(kernel=1, groups=2, channels=4), "the convolution has groups"),
    ],
    ids=["twice", "missing", "other_axis", "uneven_padding", "dilated", "groups"],
)
def test_reason_where_it_does_not_fire(net: Net, reason: str) -> None:
    """Phases that are no whole image, and windows that would look elsewhere."""
    assert reason in rewritten(net, RULE)
    assert "strided_slice" in net.kinds()


def test_phases_of_two_images_stay() -> None:
    """They are not all of one."""
    net = Net()
    x, y = net.input(1, 4, 4, 1), net.input(1, 4, 4, 1, name="y")
    parts = [phase(net, image, place, (2, 2)) for image, place in zip((x, x, x, y), FOUR, strict=True)]
    joined = net.op("concatenation", parts, ConcatenationAttributes(axis=3))
    net.returns(net.conv(joined, 2))
    assert NOT_ALL in rewritten(net, RULE)


def test_an_image_whose_last_row_is_left_out_stays() -> None:
    """Phases of 8 of 9 rows: a window of the whole image would see the ninth."""
    net = Net()
    x = net.input(1, 9, 4, 1)
    parts = [cut(net, x, [0, a, b, 0], [1, 8, 4, 1], [1, 2, 2, 1]) for a, b in FOUR]
    joined = net.op("concatenation", parts, ConcatenationAttributes(axis=3))
    net.returns(net.conv(joined, 2))
    assert NOT_ALL in rewritten(net, RULE)


def test_phases_that_others_read_are_left_to_them() -> None:
    """The convolution reads the image; the second reader keeps the phases."""
    net = Net()
    x = net.input(1, 4, 4, 3)
    parts = [phase(net, x, place, (2, 2)) for place in FOUR]
    joined = net.op("concatenation", parts, ConcatenationAttributes(axis=3))
    net.returns(net.conv(joined, 2), joined)
    before = net.run()
    rewritten(net, RULE)
    for old, new in zip(before, net.run(), strict=True):
        assert np.abs(np.subtract(new, old)).max() < 2e-5
