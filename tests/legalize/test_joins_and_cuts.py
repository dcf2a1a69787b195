"""Movement rules: what they replace computes the same bytes, and XNNPACK takes all of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from edgec.ir import Quantization
from edgec.kernels import Runner
from edgec.legalize.cuts import DecomposeGather, DecomposeSplit, DecomposeStridedSlice
from edgec.legalize.joins import DecomposeBroadcast, DecomposeConcatenation, DecomposePack, DecomposeTile
from edgec.ops.movement import ConcatenationAttributes, PackAttributes
from edgec.ops.slicing import GatherAttributes, SplitAttributes, StridedSliceAttributes
from edgec.rewrite import Rule
from tests.legalize.graphs import ONE_PARTITION, Net, rewritten

Build = Callable[[Net], None]


def concatenation_of(count: int) -> Build:
    def build(net: Net) -> None:
        inputs = [net.input(1, 2, 3, 1 + index % 3, name=f"x{index}") for index in range(count)]
        net.returns(net.op("concatenation", inputs, ConcatenationAttributes(axis=3)))

    return build


def split_of(count: int) -> Build:
    def build(net: Net) -> None:
        x = net.input(1, 4, 12, 2)
        net.returns(*net.ops("split", [net.ints(2), x], SplitAttributes(count)))

    return build


def gather_of(indices: object, axis: int = 3) -> Build:
    def build(net: Net) -> None:
        operands = [net.input(2, 3, 4, 8), net.ints(indices)]
        net.returns(net.op("gather", operands, GatherAttributes(axis=axis)))

    return build


def strided(begin: list[int], end: list[int], strides: list[int], shrink: int = 0) -> Build:
    def build(net: Net) -> None:
        operands = [net.input(1, 8, 12, 3), *(net.ints(v) for v in (begin, end, strides))]
        net.returns(net.op("strided_slice", operands, StridedSliceAttributes(shrink_axis_mask=shrink)))

    return build


def focus(net: Net) -> None:
    x = net.input(1, 8, 12, 3)
    corners = [
        net.op(
            "strided_slice",
            [x, net.ints([0, row, column, 0]), net.ints([1, 8, 12, 3]), net.ints([1, 2, 2, 1])],
            StridedSliceAttributes(),
        )
        for column in (0, 1)
        for row in (0, 1)
    ]
    net.returns(net.op("concatenation", corners, ConcatenationAttributes(axis=3)))


def pack(net: Net) -> None:
    values = [net.input(2, 3, name=f"x{index}") for index in range(3)]
    net.returns(net.op("pack", values, PackAttributes(3, 1)))


def tile(net: Net) -> None:
    net.returns(net.op("tile", [net.input(1, 2, 3), net.ints([1, 2, 4])]))


XNNPACK_CONCATENATION = DecomposeConcatenation(5, "xnnpack")
FIRES: dict[str, tuple[Rule, Build]] = {
    "concatenation_6": (XNNPACK_CONCATENATION, concatenation_of(6)),
    "concatenation_30": (XNNPACK_CONCATENATION, concatenation_of(30)),
    "split_6": (DecomposeSplit(), split_of(6)),
    "gather_run": (DecomposeGather(), gather_of([2, 3, 4])),
    "gather_two_runs": (DecomposeGather(), gather_of([4, 5, 0, 1, 2])),
    "gather_reversed_channels": (DecomposeGather(), gather_of([2, 1, 0])),
    "gather_one": (DecomposeGather(), gather_of(1, axis=1)),
    "gather_matrix": (DecomposeGather(), gather_of([[2, 3], [4, 5]])),
    "stride_2_rows": (DecomposeStridedSlice(), strided([0, 1, 0, 0], [1, 8, 12, 3], [1, 2, 1, 1])),
    "strides_2_and_3": (DecomposeStridedSlice(), strided([0, 1, 2, 1], [1, 8, 12, 3], [1, 2, 3, 1])),
    "stride_part": (DecomposeStridedSlice(), strided([0, 3, 0, 0], [1, 7, 12, 3], [1, 2, 1, 1])),
    "dropped_axis": (DecomposeStridedSlice(), strided([0, 3, 0, 0], [1, 4, 12, 3], [1, 1, 1, 1], shrink=2)),
    "focus": (DecomposeStridedSlice(), focus),
    "pack": (DecomposePack(), pack),
    "tile": (DecomposeTile("xnnpack"), tile),
}


@pytest.mark.parametrize("int8", [False, True], ids=["float32", "int8"])
@pytest.mark.parametrize("name", FIRES)
def test_same_bytes_in_one_partition(name: str, int8: bool) -> None:
    """Before, a node stays outside of XNNPACK; after, none does, and every byte is what it was."""
    rule, build = FIRES[name]
    net = Net(int8)
    build(net)
    assert net.partitions().outside
    before = net.run()

    rewritten(net, rule)

    for old, new in zip(before, net.run(), strict=True):
        np.testing.assert_array_equal(old, new)
    assert net.partitions() == ONE_PARTITION
    assert len({value.type.quantization for node in net.graph for value in node.results}) == 1


NO_MATCH: dict[str, tuple[Rule, Build, str]] = {
    "few_operands": (XNNPACK_CONCATENATION, concatenation_of(5), "5 operands are no more than 5"),
    "few_results": (DecomposeSplit(), split_of(4), "4 results are no more than 4"),
    "many_runs": (DecomposeGather(), gather_of([6, 5, 4, 3, 2, 1]), "indices form 6 runs, more than 5"),
    "all_taken": (DecomposeGather(), gather_of(list(range(8))), "all of the operand is taken"),
    "plain_slice": (
        DecomposeStridedSlice(),
        strided([0, 1, 0, 0], [1, 8, 12, 3], [1, 1, 1, 1]),
        "XNNPACK takes it as it is",
    ),
    "odd_stride": (
        DecomposeStridedSlice(),
        strided([0, 0, 0, 0], [1, 8, 12, 3], [1, 3, 1, 1]),
        "an axis of 8 does not divide by its stride 3",
    ),
    "reversed": (
        DecomposeStridedSlice(),
        strided([0, 7, 0, 0], [1, 0, 12, 3], [1, -1, 1, 1]),
        "a stride is negative",
    ),
}


@pytest.mark.parametrize("name", NO_MATCH)
def test_reason_where_it_does_not_fire(name: str) -> None:
    """A rule that does not fire leaves the graph alone and says why."""
    rule, build, reason = NO_MATCH[name]
    net = Net()
    build(net)
    kinds = net.kinds()
    assert rewritten(net, rule) == [reason]
    assert net.kinds() == kinds


def test_smallest_operands_are_joined_first() -> None:
    """Of six operands the two smallest neighbours are joined, so the large ones are copied once."""
    net = Net()
    sizes = [50, 40, 1, 2, 40, 50]
    inputs = [net.input(1, size, name=f"x{index}") for index, size in enumerate(sizes)]
    net.returns(net.op("concatenation", inputs, ConcatenationAttributes(axis=1)))
    rewritten(net, XNNPACK_CONCATENATION)
    inner, outer = net.graph
    assert [value.shape[1] for value in inner.operands if value is not None] == [1, 2]
    assert len(outer.operands) == 5


def test_unequal_scales_are_left_to_the_quantization_check() -> None:
    """A movement node whose result has another scale is an error elsewhere; no rule hides it."""
    net = Net(int8=True)
    split_of(6)(net)
    result = net.graph.outputs[0]
    result.type = replace(result.type, quantization=Quantization.per_tensor(0.1))
    assert rewritten(net, DecomposeSplit()) == ["operand and result differ in scale"]


def test_strided_slices_share_one_reshape() -> None:
    """The four corners of a focus layer read one reshaped tensor, not four copies of it."""
    net = Net()
    focus(net)
    rewritten(net, DecomposeStridedSlice())
    x = net.graph.inputs[0]
    assert [node.kind for node in x.users] == ["reshape"]


def test_broadcast_is_a_product_by_one() -> None:
    """Infinities, zeros of both signs and NaN pass a product by one; a subnormal number becomes zero."""
    net = Net()
    x = net.input(1, 5)
    net.returns(net.op("broadcast_to", [x, net.ints([3, 5])]))
    rewritten(net, DecomposeBroadcast())
    assert net.kinds() == ["mul"]
    row = np.array([[np.inf, -np.inf, -0.0, np.nan, 1e-40]], np.float32)
    (result,) = Runner(net.bytes()).run([row])
    np.testing.assert_array_equal(result, np.broadcast_to([np.inf, -np.inf, -0.0, np.nan, 0.0], (3, 5)))
    assert np.signbit(result[:, 2]).all()
    assert net.partitions() == ONE_PARTITION


def test_broadcast_of_int8_stays() -> None:
    """No int8 product by one is exact for every scale."""
    net = Net(int8=True)
    net.returns(net.op("broadcast_to", [net.input(1, 5), net.ints([3, 5])]))
    assert rewritten(net, DecomposeBroadcast()) == ["a product by one is exact for float32, not for int8"]
