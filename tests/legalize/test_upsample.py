"""Nearest-neighbour resizing by whole factors is copying, which XNNPACK takes."""

from __future__ import annotations

import numpy as np
import pytest

from edgec.legalize.upsample import DecomposeResizeNearest
from edgec.ops.resize import ResizeNearestNeighborAttributes
from tests.legalize.graphs import ONE_PARTITION, Net, rewritten

RULE = DecomposeResizeNearest()


def resized(height: int, width: int, *, int8: bool = False, channels: int = 3, **flags: bool) -> Net:
    net = Net(int8)
    operands = [net.input(2, 3, 5, channels), net.ints([height, width])]
    return net.returns(net.op("resize_nearest_neighbor", operands, ResizeNearestNeighborAttributes(**flags)))


@pytest.mark.parametrize("int8", [False, True], ids=["float32", "int8"])
@pytest.mark.parametrize("half_pixel_centers", [False, True])
@pytest.mark.parametrize("size", [(6, 10), (3, 10), (9, 5), (12, 15)])
def test_same_pixels_in_one_partition(size: tuple[int, int], half_pixel_centers: bool, int8: bool) -> None:
    """Whole factors repeat pixels, whichever of the two coordinate rules is asked for."""
    net = resized(*size, int8=int8, half_pixel_centers=half_pixel_centers)
    assert net.partitions().outside == ("RESIZE_NEAREST_NEIGHBOR",)
    (x,) = net.samples()
    before = net.run()
    assert rewritten(net, RULE) == []
    (after,) = net.run()
    np.testing.assert_array_equal(before[0], after)
    np.testing.assert_array_equal(x.repeat(size[0] // 3, 1).repeat(size[1] // 5, 2), after)
    assert net.partitions() == ONE_PARTITION


@pytest.mark.parametrize(
    ("net", "reason"),
    [
        (resized(7, 10), "3x5 to 7x10 is no whole factor"),
        (resized(3, 5), "factors 1x1 are not within 2..8"),
        (resized(6, 10, align_corners=True), "aligned corners do not repeat pixels evenly"),
        (resized(6, 10, channels=129), "a pixel of 516 bytes is copied faster by the builtin kernel"),
        (
            resized(6, 10, channels=33, int8=True),
            "a pixel of 33 bytes is copied faster by the builtin kernel",
        ),
    ],
)
def test_reason_where_it_does_not_fire(net: Net, reason: str) -> None:
    """Anything but copies that pay off keeps the builtin kernel."""
    assert rewritten(net, RULE) == [reason]
    assert net.kinds() == ["resize_nearest_neighbor"]
