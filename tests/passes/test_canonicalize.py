"""Canonical form of movement: one spelling for one meaning, and a reason where a rule holds back."""

from __future__ import annotations

import numpy as np
import pytest

from edgec.ir import DType, Value
from edgec.ops import Builder, Padding
from edgec.ops.movement import ConcatenationAttributes, PackAttributes
from edgec.ops.pool import Pool2DAttributes
from edgec.ops.slicing import GatherAttributes, SplitAttributes, StridedSliceAttributes
from edgec.passes.canonicalize import CANONICALIZE, FOLD_UNIT_TRANSPOSES
from edgec.passes.canonicalize.joins import FlattenConcatenation, SplitToSlice
from edgec.passes.canonicalize.pads import AbsorbBroadcast
from edgec.passes.canonicalize.reshapes import EliminateReshapeRoundTrip
from edgec.passes.canonicalize.slices import GatherToSlice, SliceOfConcatenation, StridedSliceToSlice
from edgec.passes.canonicalize.transposes import FoldUnitTranspose
from edgec.passes.contract import RulePass
from edgec.rewrite import Rule
from tests.passes.canonical import canonical
from tests.support.ir_graphs import (
    Body,
    constant,
    conv,
    ints,
    make_model,
    ramp,
    reasons,
    rewritten,
)

# Transposes and reshapes


def test_identity_transpose_and_reshape_vanish() -> None:
    def body(b: Builder, x: Value) -> Value:
        x = b.op("transpose", [b.op("abs", [x]), ints(b, 0, 1, 2)])
        return b.op("neg", [b.op("reshape", [x, ints(b, 2, 3, 4)])])

    assert canonical(body, (2, 3, 4)).kinds == ["abs", "neg"]


def test_transposes_compose_and_inverse_ones_cancel() -> None:
    def compose(b: Builder, x: Value) -> Value:
        return b.transpose(b.transpose(x, [0, 2, 3, 1]), [0, 2, 1, 3])

    def cancel(b: Builder, x: Value) -> Value:
        return b.op("abs", [b.transpose(b.transpose(b.op("neg", [x]), [0, 2, 3, 1]), [0, 3, 1, 2])])

    assert canonical(compose, (1, 2, 3, 4)).kinds == ["transpose"]
    assert canonical(cancel, (1, 2, 3, 4)).kinds == ["neg", "abs"]


def test_shared_transpose_stays_for_its_other_reader() -> None:
    """The first transpose is read by `abs` as well, so only the second one goes."""

    def body(b: Builder, x: Value) -> list[Value]:
        first = b.transpose(x, [0, 2, 3, 1])
        return [b.op("neg", [b.transpose(first, [0, 3, 1, 2])]), b.op("abs", [first])]

    assert sorted(canonical(body, (1, 2, 3, 4)).kinds) == ["abs", "neg", "transpose"]


def test_graph_input_does_not_become_a_graph_output() -> None:
    """Both tensors have names a user knows, so even a node that does nothing stays between them."""
    result = canonical(lambda b, x: b.op("reshape", [x, ints(b, 2, 3)]), (2, 3))
    assert result.kinds == ["reshape"]
    assert not result.modified


def test_two_outputs_stay_two_tensors() -> None:
    def body(b: Builder, x: Value) -> list[Value]:
        y = b.op("abs", [x])
        return [y, b.op("transpose", [y, ints(b, 0, 1)])]

    assert canonical(body, (2, 3)).kinds == ["abs", "transpose"]


def test_reshapes_merge() -> None:
    body: Body = lambda b, x: b.reshape(b.reshape(x, [6, 4]), [2, 12])  # noqa: E731
    assert canonical(body, (1, 2, 3, 4)).kinds == ["reshape"]


@pytest.mark.parametrize("kind", ["softmax", "exp"])
def test_reshapes_around_a_function_vanish(kind: str) -> None:
    """Rows of the last axis are the same rows in [2, 3, 4] and in [6, 4]."""

    def body(b: Builder, x: Value) -> Value:
        return b.reshape(b.op(kind, [b.reshape(x, [6, 4])]), [2, 3, 4])

    assert canonical(body, (2, 3, 4)).kinds == [kind]


def test_reshapes_around_functions_of_shapes_stay() -> None:
    """softmax along rows of 12 is not softmax along rows of 4, and a pool needs its height and width."""
    body: Body = lambda b, x: b.reshape(b.op("softmax", [b.reshape(x, [2, 12])]), x.shape)  # noqa: E731
    rule = EliminateReshapeRoundTrip()
    assert reasons(rule, body, (2, 3, 4))[-1] == "softmax depends on the shape"
    assert reasons(rule, _pooled, (2, 3, 4))[-1] == "max_pool_2d depends on the shape"


def _pooled(b: Builder, x: Value) -> Value:
    window = Pool2DAttributes(Padding.SAME, 1, 1, 2, 2)
    return b.reshape(b.op("max_pool_2d", [b.reshape(x, [1, 2, 3, 4])], window), [2, 3, 4])


def test_reshapes_that_lower_a_rank_for_a_kernel_stay() -> None:
    body: Body = lambda b, x: b.reshape(b.op("exp", [b.reshape(x, [6, 4])]), x.shape)  # noqa: E731
    assert reasons(EliminateReshapeRoundTrip(), body, (1, 2, 3, 2, 2))[-1] == (
        "the reshape may keep exp at a rank its kernels take"
    )


def test_reshape_before_a_shared_function_stays() -> None:
    def body(b: Builder, x: Value) -> list[Value]:
        y = b.op("exp", [b.reshape(x, [6, 4])])
        return [b.reshape(y, [2, 3, 4]), b.op("neg", [y])]

    assert not canonical(body, (2, 3, 4)).modified


def test_movement_of_constants_is_done_at_compile_time() -> None:
    """The shared constant itself keeps its data: the rule makes a new one."""
    data = ramp(3, 4)

    def body(b: Builder, x: Value) -> list[Value]:
        shared = b.constant(data)
        return [b.op("add", [x, b.transpose(shared, [1, 0])]), b.op("add", [b.transpose(x, [1, 0]), shared])]

    original = data.copy()
    assert canonical(body, (4, 3)).kinds == ["add", "transpose", "add"]
    np.testing.assert_array_equal(data, original)


def test_unit_transpose_becomes_a_reshape_in_its_own_pass() -> None:
    body: Body = lambda b, x: b.transpose(x, [0, 3, 1, 2])  # noqa: E731
    assert canonical(body, (1, 5, 6, 1)).kinds == ["transpose"]
    assert rewritten(FOLD_UNIT_TRANSPOSES, body, (1, 5, 6, 1)).kinds == ["reshape"]
    assert reasons(FoldUnitTranspose(), body, (1, 5, 6, 2)) == [
        "[0, 3, 1, 2] moves elements of [1, 5, 6, 2], or nothing"
    ]


# Joins


def test_concatenations_flatten_along_one_axis() -> None:
    def body(b: Builder, x: Value, y: Value) -> Value:
        inner = b.op("concatenation", [x, y], ConcatenationAttributes(-1))
        single = b.op("concatenation", [b.op("neg", [y])], ConcatenationAttributes(0))
        return b.op("concatenation", [inner, single], ConcatenationAttributes(1))

    assert canonical(body, (2, 3), (2, 4)).kinds == ["neg", "concatenation"]


def test_concatenation_does_not_grow_beyond_what_is_delegated() -> None:
    def body(b: Builder, x: Value) -> Value:
        inner = b.op("concatenation", [x] * 3, ConcatenationAttributes(1))
        return b.op("concatenation", [inner, x, x, x], ConcatenationAttributes(1))

    assert reasons(FlattenConcatenation(), body, (2, 3)) == [
        "no operand is an unshared concatenation along the same axis",
        "6 operands are more than 5",
    ]


def test_shared_concatenation_and_other_axes_stay() -> None:
    def body(b: Builder, x: Value) -> list[Value]:
        shared = b.op("concatenation", [x, x], ConcatenationAttributes(1))
        other = b.op("concatenation", [shared, shared], ConcatenationAttributes(0))
        return [b.op("concatenation", [shared, x], ConcatenationAttributes(1)), other]

    assert not canonical(body, (2, 3)).modified


def test_pack_of_one_is_a_reshape() -> None:
    result = canonical(lambda b, x: b.op("pack", [x], PackAttributes(1, 1)), (2, 3))
    assert result.kinds == ["reshape"]


def test_split_with_one_reader_is_a_slice() -> None:
    def one(b: Builder, x: Value) -> Value:
        return b.node("split", [b.constant(-1, DType.INT32), x], SplitAttributes(3)).results[1]

    def two(b: Builder, x: Value) -> list[Value]:
        return list(b.node("split", [b.constant(1, DType.INT32), x], SplitAttributes(3)).results[:2])

    assert canonical(one, (2, 6)).kinds == ["slice"]
    assert reasons(SplitToSlice(), two, (2, 6)) == ["2 results are read, or the shape is not known"]


# Slices


def test_slices_merge_and_full_ones_vanish() -> None:
    def body(b: Builder, x: Value) -> Value:
        x = b.op("slice", [x, ints(b, 1, 0), ints(b, 3, 5)])
        x = b.op("slice", [x, ints(b, 1, 2), ints(b, 2, 2)])
        return b.op("slice", [x, ints(b, 0, 0), ints(b, 2, 2)])

    result = canonical(body, (4, 5))
    assert result.kinds == ["slice"]
    (node,) = result.model.graph
    assert node.operand(1).constant().tolist() == [2, 2]


def test_unit_strides_are_a_slice_and_dropped_axes_a_reshape() -> None:
    def body(b: Builder, x: Value) -> Value:
        attributes = StridedSliceAttributes(begin_mask=0b001, end_mask=0b100, shrink_axis_mask=0b010)
        operands = [x, ints(b, 7, -1, 1), ints(b, 2, 99, 0), ints(b, 1, 1, 1)]
        return b.op("strided_slice", operands, attributes)

    assert canonical(body, (3, 4, 5)).kinds == ["slice", "reshape"]


def test_slice_of_one_part_skips_the_concatenation() -> None:
    """Columns 3 to 5 of [3, 4] columns lie in the second part; columns 2 to 4 lie in both."""

    def inside(b: Builder, x: Value, y: Value) -> list[Value]:
        joined = b.op("concatenation", [x, y], ConcatenationAttributes(-1))
        exact = b.op("slice", [joined, ints(b, 0, 3), ints(b, 2, 4)])
        return [b.op("neg", [exact]), b.op("slice", [joined, ints(b, 1, 4), ints(b, 1, 2)])]

    def across(b: Builder, x: Value, y: Value) -> Value:
        joined = b.op("concatenation", [x, y], ConcatenationAttributes(1))
        return b.op("slice", [joined, ints(b, 0, 2), ints(b, 2, 2)])

    assert canonical(inside, (2, 3), (2, 4)).kinds == ["neg", "slice"]
    assert reasons(SliceOfConcatenation(), across, (2, 3), (2, 4)) == [
        "the box lies in no single operand, or a shape is not known"
    ]


def test_strided_slices_merge() -> None:
    """Rows 1, 3, 5 and of their columns every second: one slice. Every second row of those: row 1 and 5."""

    def body(b: Builder, x: Value) -> Value:
        x = b.op("strided_slice", [x, ints(b, 1, 0), ints(b, 7, 5), ints(b, 2, 1)])
        x = b.op("strided_slice", [x, ints(b, 0, 1), ints(b, 3, 5), ints(b, 1, 2)])
        return b.op("strided_slice", [x, ints(b, 0, 0), ints(b, 3, 2), ints(b, 2, 1)])

    result = canonical(body, (7, 5))
    assert result.kinds == ["strided_slice"]
    (node,) = result.model.graph
    assert [node.operand(i).constant().tolist() for i in (1, 2, 3)] == [[1, 1], [6, 4], [4, 2]]


def test_backward_strides_do_not_merge() -> None:
    def body(b: Builder, x: Value) -> Value:
        x = b.op("strided_slice", [x, ints(b, 4), ints(b, 0), ints(b, -1)])
        return b.op("strided_slice", [x, ints(b, 0), ints(b, 4), ints(b, 2)])

    assert canonical(body, (5,)).kinds == ["strided_slice", "strided_slice"]


def test_long_strides_stay() -> None:
    body: Body = lambda b, x: b.op("strided_slice", [x, ints(b, 0), ints(b, 5), ints(b, 2)])  # noqa: E731
    assert reasons(StridedSliceToSlice(), body, (5,)) == ["a stride is not 1"]


@pytest.mark.parametrize(
    ("indices", "expected"),
    [([1, 2], ["slice"]), ([2], ["slice"]), (2, ["slice", "reshape"]), ([[1], [2]], ["slice", "reshape"])],
)
def test_gather_of_a_range_is_a_slice(indices: object, expected: list[str]) -> None:
    def body(b: Builder, x: Value) -> Value:
        return b.op("gather", [x, b.constant(np.asarray(indices, np.int32))], GatherAttributes(axis=1))

    assert canonical(body, (2, 4, 3)).kinds == expected


def test_gather_of_scattered_indices_stays() -> None:
    body: Body = lambda b, x: b.op("gather", [x, ints(b, 2, 1)])  # noqa: E731
    assert reasons(GatherToSlice(), body, (4,)) == ["the indices are not one ascending range"]


# Pads and broadcasts


def pad(b: Builder, x: Value, *rows: tuple[int, int]) -> Value:
    return b.op("pad", [x, b.constant(np.array(rows, np.int32))])


def test_pads_merge_and_empty_ones_vanish() -> None:
    body: Body = lambda b, x: pad(b, pad(b, pad(b, x, (0, 0), (1, 2)), (0, 0), (0, 0)), (3, 0), (0, 1))  # noqa: E731
    result = canonical(body, (2, 3))
    assert result.kinds == ["pad"]
    (node,) = result.model.graph
    assert node.operand(1).constant().tolist() == [[3, 0], [1, 3]]


def test_pad_by_zero_value_is_a_pad() -> None:
    def body(b: Builder, x: Value) -> Value:
        return b.op("padv2", [x, b.constant(np.array([[1, 0]], np.int32)), constant(b, 0.0)])

    assert canonical(body, (3,)).kinds == ["pad"]


def test_tile_once_vanishes() -> None:
    body: Body = lambda b, x: b.op("neg", [b.op("tile", [b.op("abs", [x]), ints(b, 1, 1)])])  # noqa: E731
    assert canonical(body, (2, 3)).kinds == ["abs", "neg"]


@pytest.mark.parametrize("kind", ["broadcast_to", "tile"])
def test_reader_broadcasts_by_itself(kind: str) -> None:
    def body(b: Builder, x: Value, y: Value) -> Value:
        return b.op("mul", [b.op(kind, [x, ints(b, 2, 3)]), y])

    shape = (1, 3) if kind == "broadcast_to" else (1, 1)
    assert canonical(body, shape, (2, 3)).kinds == ["mul"]


def test_broadcast_that_makes_the_shape_stays() -> None:
    def body(b: Builder, x: Value) -> Value:
        return b.op("mul", [b.op("broadcast_to", [x, ints(b, 2, 3)]), constant(b, 2.0)])

    assert reasons(AbsorbBroadcast(), body, (1, 3)) == [
        "no operand is a broadcast that the op does by itself"
    ]


def test_tile_that_repeats_data_stays() -> None:
    body: Body = lambda b, x, y: b.op("mul", [b.op("tile", [x, ints(b, 2, 1)]), y])  # noqa: E731
    assert canonical(body, (2, 3), (4, 3)).kinds == ["tile", "mul"]


# The contract of rules


@pytest.mark.parametrize("rule", [*CANONICALIZE.rules, FoldUnitTranspose()], ids=lambda rule: rule.name)
def test_rule_without_match_edits_nothing(rule: Rule) -> None:
    """On a graph in canonical form no rule fires, and none leaves a node behind."""

    def body(b: Builder, x: Value) -> list[Value]:
        y = b.transpose(conv(b, x), [0, 3, 1, 2])
        z = b.op("add", [b.reshape(y, [1, 4, 12]), b.constant(ramp(4, 1))])
        parts = b.node("split", [b.constant(1, DType.INT32), z], SplitAttributes(2)).results
        return [
            b.op("concatenation", [*parts, z], ConcatenationAttributes(1)),
            b.op("maximum", [b.op("mean", [x, ints(b, 1)]), constant(b, 0.5)]),
        ]

    model = make_model(body, (1, 5, 6, 2))
    size = len(model.graph)
    assert not RulePass("one", (rule,)).run(model).modified
    assert len(model.graph) == size
