"""Canonical form: one spelling for one meaning, the same numbers, and a reason where a rule holds back."""

from __future__ import annotations

import numpy as np
import pytest

from edgec.ir import Array, DType, TensorType, Value
from edgec.ops import ActivationFunctionType, Builder, Padding
from edgec.ops.elementwise import AddAttributes, CastAttributes, MulAttributes
from edgec.ops.matmul import BatchMatMulAttributes
from edgec.ops.movement import (
    ConcatenationAttributes,
    GatherAttributes,
    PackAttributes,
    SplitAttributes,
    StridedSliceAttributes,
)
from edgec.ops.pool import Pool2DAttributes
from edgec.ops.reduce import ReducerAttributes
from edgec.passes.canonicalize import CANONICALIZE, FOLD_UNIT_TRANSPOSES
from edgec.passes.canonicalize.casts import MergeCasts
from edgec.passes.canonicalize.clips import ClipToRelu, EliminateIdleClip
from edgec.passes.canonicalize.constants import (
    DivisionToMultiplication,
    EliminateNeutralOperand,
    MergeConstants,
    ReplacePower,
)
from edgec.passes.canonicalize.joins import FlattenConcatenation, SplitToSlice
from edgec.passes.canonicalize.pads import AbsorbBroadcast
from edgec.passes.canonicalize.products import MatMulToFullyConnected
from edgec.passes.canonicalize.reductions import ReductionToReshape
from edgec.passes.canonicalize.reshapes import EliminateReshapeRoundTrip
from edgec.passes.canonicalize.slices import GatherToSlice, SliceOfConcatenation, StridedSliceToSlice
from edgec.passes.canonicalize.transposes import FoldUnitTranspose
from edgec.passes.contract import RulePass
from edgec.rewrite import Rule
from tests.support.ir_graphs import (
    Body,
    Input,
    Rewritten,
    constant,
    conv,
    ints,
    make_model,
    ramp,
    reasons,
    rewritten,
)

ONE_ROUNDING = 2.0**-22
"""Two roundings in float32 in place of one: twice 2^-24, doubled because the result may be the smaller."""


def canonical(body: Body, *inputs: Input, rtol: float = 0.0, feeds: list[Array] | None = None) -> Rewritten:
    return rewritten(CANONICALIZE, body, *inputs, rtol=rtol, feeds=feeds)


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


# Arithmetic


def test_constants_stand_on_the_right() -> None:
    result = canonical(lambda b, x: b.op("add", [b.constant(ramp(4)), x]), (2, 4))
    (node,) = result.model.graph
    assert node.operand(1).is_constant


@pytest.mark.parametrize(
    ("kind", "number"),
    [
        ("add", 0.0),
        ("sub", 0.0),
        ("mul", 1.0),
        ("div", 1.0),
        ("maximum", -np.inf),
        ("minimum", float(np.finfo(np.float32).max)),
    ],
)
def test_neutral_operands_vanish(kind: str, number: float) -> None:
    def body(b: Builder, x: Value) -> Value:
        return b.op("neg", [b.op(kind, [b.op("abs", [x]), constant(b, number)])])

    assert canonical(body, (2, 3)).kinds == ["abs", "neg"]


def test_neutral_operand_leaves_its_activation() -> None:
    attributes = AddAttributes(ActivationFunctionType.RELU6)
    result = canonical(lambda b, x: b.op("add", [x, constant(b, 0.0)], attributes), (2, 3))
    assert result.kinds == ["relu6"]


def test_neutral_operand_that_broadcasts_stays() -> None:
    body: Body = lambda b, x: b.op("add", [x, b.constant(np.zeros((4, 3), np.float32))])  # noqa: E731
    assert reasons(EliminateNeutralOperand(), body, (1, 3)) == ["the constant broadcasts x to a larger shape"]


def test_subtraction_of_a_constant_is_an_addition() -> None:
    assert canonical(lambda b, x: b.op("sub", [x, b.constant(ramp(3))]), (2, 3)).kinds == ["add"]
    assert canonical(lambda b, x: b.op("sub", [b.constant(ramp(3)), x]), (2, 3)).kinds == ["sub"]


@pytest.mark.parametrize(("divisor", "rtol"), [(0.25, 0.0), (3.0, ONE_ROUNDING)])
def test_division_by_a_constant_is_a_product(divisor: float, rtol: float) -> None:
    """Exact where the reciprocal is: 1 / 0.25 is 4."""
    result = canonical(lambda b, x: b.op("div", [x, constant(b, divisor)]), (2, 3), rtol=rtol)
    assert result.kinds == ["mul"]


@pytest.mark.parametrize("divisor", [0.0, 1e39, 3e38, np.nan])
def test_division_stays_where_the_reciprocal_is_no_normal_float(divisor: float) -> None:
    """1 / 3e38 = 3.3e-39 is below the smallest normal float32, 1.2e-38."""
    with np.errstate(over="ignore"):
        number = np.float32(divisor)
    body: Body = lambda b, x: b.op("div", [x, constant(b, 1.0, float(number))])  # noqa: E731
    assert reasons(DivisionToMultiplication(), body, (3, 2)) == ["a reciprocal is not a finite, normal float"]


def test_chains_of_constants_merge() -> None:
    def body(b: Builder, x: Value) -> Value:
        x = b.op("mul", [b.op("mul", [x, b.constant(ramp(3))]), constant(b, 0.7)])
        return b.op("add", [b.op("sub", [x, constant(b, 0.3)]), b.constant(ramp(1, 3))])

    result = canonical(body, (2, 3), rtol=2 * ONE_ROUNDING)
    assert result.kinds == ["mul", "add"]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (
            lambda b, x: b.op("add", [b.op("add", [x, constant(b, 12582912.0)]), constant(b, -12582912.0)]),
            "the merged constant would overflow, vanish, or undo a rounding",
        ),
        (
            lambda b, x: b.op("mul", [b.op("mul", [x, constant(b, 1e-30)]), constant(b, 1e-30)]),
            "the merged constant would overflow, vanish, or undo a rounding",
        ),
        (
            lambda b, x: b.op("mul", [b.op("mul", [x, b.constant(ramp(3))]), b.constant(ramp(3, 1))]),
            "the merged constant would be larger than either",
        ),
    ],
)
def test_chains_stay_where_merging_would_lose(body: Body, reason: str) -> None:
    """x + 1.5·2^23 - 1.5·2^23 rounds x to an integer; merged, it would be x."""
    assert reasons(MergeConstants(), body, (3, 3))[-1] == reason


def test_chain_with_a_second_reader_or_activation_stays() -> None:
    def shared(b: Builder, x: Value) -> list[Value]:
        y = b.op("mul", [x, constant(b, 3.0)])
        return [b.op("mul", [y, constant(b, 2.0)]), b.op("abs", [y])]

    def clipped(b: Builder, x: Value) -> Value:
        y = b.op("mul", [x, constant(b, 3.0)], MulAttributes(ActivationFunctionType.RELU))
        return b.op("mul", [y, constant(b, 2.0)])

    assert canonical(shared, (3,)).kinds == ["mul", "mul", "abs"]
    assert canonical(clipped, (3,)).kinds == ["mul", "mul"]


@pytest.mark.parametrize(
    ("exponent", "expected", "rtol"),
    [
        (1.0, ["abs", "neg"], 0.0),
        (2.0, ["abs", "mul", "neg"], ONE_ROUNDING),
        (3.0, ["abs", "mul", "mul", "neg"], ONE_ROUNDING),
        (0.5, ["abs", "sqrt", "neg"], ONE_ROUNDING),
        (-1.0, ["abs", "div", "neg"], ONE_ROUNDING),
        (-0.5, ["abs", "sqrt", "div", "neg"], ONE_ROUNDING),
        (2.5, ["abs", "pow", "neg"], 0.0),
    ],
)
def test_powers_use_delegated_operators(exponent: float, expected: list[str], rtol: float) -> None:
    def body(b: Builder, x: Value) -> Value:
        return b.op("neg", [b.op("pow", [b.op("abs", [x]), constant(b, exponent)])])

    assert canonical(body, (2, 3), rtol=rtol).kinds == expected


def test_square_is_a_product_and_different_exponents_stay() -> None:
    assert canonical(lambda b, x: b.op("square", [x]), (2, 3)).kinds == ["mul"]
    body: Body = lambda b, x: b.op("pow", [x, constant(b, 1.0, 2.0)])  # noqa: E731
    assert reasons(ReplacePower(), body, (3, 2)) == ["x is not float32, or the exponent is no single number"]


# Clips


def clip(b: Builder, x: Value, *steps: tuple[str, float]) -> Value:
    for kind, limit in steps:
        x = b.op(kind, [x, constant(b, limit)])
    return x


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([("maximum", 0.0)], ["relu"]),
        ([("maximum", 0.0), ("minimum", 6.0)], ["relu6"]),
        ([("minimum", 6.0), ("maximum", 0.0)], ["relu6"]),
        ([("maximum", -1.0), ("minimum", 1.0)], ["relu_n1_to_1"]),
        ([("minimum", 1.0), ("maximum", -1.0)], ["relu_n1_to_1"]),
        ([("maximum", 0.0), ("minimum", 1.0)], ["relu", "minimum"]),
        ([("maximum", 0.0), ("minimum", 6.0), ("minimum", 7.0), ("maximum", -2.0)], ["relu6"]),
        ([("maximum", 0.5), ("minimum", 6.0)], ["maximum", "relu6"]),
        ([("maximum", -0.5), ("minimum", 6.0)], ["maximum", "minimum"]),
    ],
)
def test_clips_become_relus_where_equal(steps: list[tuple[str, float]], expected: list[str]) -> None:
    assert canonical(lambda b, x: clip(b, x, *steps), (4, 8)).kinds == expected


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("relu", "relu", ["relu"]),
        ("relu", "relu6", ["relu6"]),
        ("relu6", "relu", ["relu6"]),
        ("relu_n1_to_1", "relu_n1_to_1", ["relu_n1_to_1"]),
        ("relu_n1_to_1", "relu", ["relu_n1_to_1", "relu"]),
        ("logistic", "relu6", ["logistic"]),
        ("relu6", "relu_n1_to_1", ["relu6", "relu_n1_to_1"]),
    ],
)
def test_clips_of_clipped_values(first: str, second: str, expected: list[str]) -> None:
    """relu of relu_n1_to_1 clips to [0, 1], which no relu names, so both stay."""
    body: Body = lambda b, x: b.op(second, [b.op(first, [x])])  # noqa: E731
    assert canonical(body, (4, 8)).kinds == expected


def test_bounds_reach_through_movement_and_pools() -> None:
    def body(b: Builder, x: Value) -> Value:
        y = b.op("max_pool_2d", [b.op("relu6", [x])], Pool2DAttributes(Padding.SAME, 1, 1, 2, 2))
        z = b.op("concatenation", [y, b.op("logistic", [x])], ConcatenationAttributes(3))
        return b.op("neg", [b.op("relu6", [b.transpose(z, [0, 2, 1, 3])])])

    assert canonical(body, (1, 3, 4, 2)).kinds.count("relu6") == 1


def test_bounds_hold_for_every_part() -> None:
    """One part lies in [0, 6], the other does not: the clip stays."""

    def body(b: Builder, x: Value) -> Value:
        parts = [b.op("relu6", [x]), b.op("tanh", [x])]
        return b.op("relu6", [b.op("concatenation", parts, ConcatenationAttributes(1))])

    assert not canonical(body, (4, 8)).modified


def test_clip_of_unknown_values_says_what_it_knows() -> None:
    body: Body = lambda b, x: b.op("relu", [b.op("tanh", [x])])  # noqa: E731
    assert reasons(EliminateIdleClip(), body, (3,)) == ["values in [-1, 1] are clipped to [0, inf]"]
    per_channel: Body = lambda b, x: b.op("maximum", [x, constant(b, 0.0, 1.0)])  # noqa: E731
    assert reasons(ClipToRelu(), per_channel, (3, 2)) == ["not a float clip to constants of equal elements"]


# Casts


def cast(b: Builder, x: Value, dtype: DType) -> Value:
    return b.op("cast", [x], CastAttributes(x.dtype, dtype))


def test_casts_that_lose_nothing_merge() -> None:
    def body(b: Builder, x: Value) -> Value:
        return cast(b, cast(b, cast(b, x, DType.INT32), DType.INT64), DType.FLOAT32)

    feeds: list[Array] = [np.array([-128, -1, 0, 127], np.int8)]
    result = canonical(body, TensorType((4,), DType.INT8), feeds=feeds)
    assert result.kinds == ["cast"]


def test_cast_back_to_a_type_that_was_held_vanishes() -> None:
    def body(b: Builder, x: Value) -> Value:
        return b.op("add", [cast(b, cast(b, x, DType.INT64), DType.INT32), b.constant([1, 2, 3])])

    feeds: list[Array] = [np.array([-5, 7, 2**31 - 9], np.int32)]
    assert canonical(body, TensorType((3,), DType.INT32), feeds=feeds).kinds == ["add"]


def test_cast_that_rounds_stays() -> None:
    body: Body = lambda b, x: cast(b, cast(b, x, DType.INT32), DType.FLOAT32)  # noqa: E731
    assert reasons(MergeCasts(), body, (3,)) == [
        "the operand is not made by a cast",
        "int32 does not hold every float32",
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


# Reductions, products, selections


@pytest.mark.parametrize("kind", ["mean", "sum", "reduce_max", "reduce_prod"])
def test_reduction_of_single_elements(kind: str) -> None:
    def dropped(b: Builder, x: Value) -> Value:
        return b.op(kind, [x, ints(b, 1, -2)])

    def kept(b: Builder, x: Value) -> Value:
        y = b.op(kind, [b.op("abs", [x]), ints(b, 1)], ReducerAttributes(keep_dims=True))
        return b.op("neg", [y])

    assert canonical(dropped, (2, 1, 1, 3)).kinds == ["reshape"]
    assert canonical(kept, (2, 1, 1, 3)).kinds == ["abs", "neg"]


def test_reduction_of_longer_axes_stays() -> None:
    body: Body = lambda b, x: b.op("mean", [x, ints(b, 1, 2)])  # noqa: E731
    assert reasons(ReductionToReshape(), body, (2, 1, 4)) == [
        "axes [1, 2] of [2, 1, 4] are not all of size 1"
    ]


@pytest.mark.parametrize("adj_y", [False, True])
@pytest.mark.parametrize("shape", [(3, 4), (2, 3, 4)])
def test_product_with_a_constant_matrix_is_fully_connected(shape: tuple[int, ...], adj_y: bool) -> None:
    """Sums of 4 products may be added in another order: 4 roundings of at most 2^-24 each."""
    matrix = ramp(5, 4) if adj_y else ramp(4, 5)

    def body(b: Builder, x: Value) -> Value:
        return b.op("batch_matmul", [x, b.constant(matrix)], BatchMatMulAttributes(adj_y=adj_y))

    assert canonical(body, shape, rtol=2 * ONE_ROUNDING).kinds == ["fully_connected"]


def test_product_with_several_matrices_stays() -> None:
    body: Body = lambda b, x: b.op("batch_matmul", [x, b.constant(ramp(2, 4, 5))])  # noqa: E731
    assert reasons(MatMulToFullyConnected(), body, (2, 3, 4)) == [
        "[2, 4, 5] holds more than one matrix for float32[2,3,4]"
    ]


@pytest.mark.parametrize(("flags", "expected"), [([True, True], "abs"), ([False, False], "neg")])
def test_selection_by_a_constant_takes_one_side(flags: list[bool], expected: str) -> None:
    def body(b: Builder, x: Value) -> Value:
        sides = [b.op("abs", [x]), b.op("neg", [x])]
        return b.op("exp", [b.op("select_v2", [b.constant(np.array(flags)), *sides])])

    assert canonical(body, (3, 2)).kinds == [expected, "exp"]


def test_selection_by_a_mixed_constant_stays() -> None:
    def body(b: Builder, x: Value) -> Value:
        return b.op("select_v2", [b.constant(np.array([True, False])), x, b.op("neg", [x])])

    assert canonical(body, (3, 2)).kinds == ["neg", "select_v2"]


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
