"""Canonical form of arithmetic: the same numbers, and a reason where a rule holds back."""

from __future__ import annotations

import numpy as np
import pytest

from edgec.ir import Array, DType, TensorType, Value
from edgec.ops import ActivationFunctionType, Builder, Padding
from edgec.ops.elementwise import AddAttributes, CastAttributes, MulAttributes
from edgec.ops.matmul import BatchMatMulAttributes
from edgec.ops.movement import ConcatenationAttributes
from edgec.ops.pool import Pool2DAttributes
from edgec.ops.reduce import ReducerAttributes
from edgec.passes.canonicalize.casts import MergeCasts
from edgec.passes.canonicalize.clips import ClipToRelu, EliminateIdleClip
from edgec.passes.canonicalize.constants import (
    DivisionToMultiplication,
    EliminateNeutralOperand,
    MergeConstants,
    ReplacePower,
)
from edgec.passes.canonicalize.products import MatMulToFullyConnected
from edgec.passes.canonicalize.reductions import ReductionToReshape
from tests.passes.canonical import ONE_ROUNDING, canonical
from tests.support.ir_graphs import (
    Body,
    constant,
    ints,
    ramp,
    reasons,
)

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
