"""Comparisons, logic and bits are exact: every test compares without tolerance."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from edgec.ir import Array
from tests.support.onnx_models import (
    check_against_onnxruntime,
    graph_model,
    node_model,
    run_ours,
)

HOSTILE = np.array([np.nan, -np.inf, -1.0, -0.0, 0.0, 1.0, np.inf], np.float32)


def _check(op_type: str, *arrays: Array, opset: int = 17, **attributes: object) -> None:
    inputs = {f"x{index}": array for index, array in enumerate(arrays)}
    check_against_onnxruntime(node_model(op_type, inputs, opset=opset, **attributes), inputs, rtol=0, atol=0)


COMPARISONS = [
    ("Equal", (7, 11, 13, 19)),
    ("Greater", (7, 9, 13)),
    ("Less", (7, 9, 13)),
    ("GreaterOrEqual", (12, 16)),
    ("LessOrEqual", (12, 16)),
]


@pytest.mark.parametrize(
    ("op_type", "opset"), [(op, opset) for op, opsets in COMPARISONS for opset in opsets]
)
@pytest.mark.parametrize("dtype", [np.float32, np.int32, np.int64])
def test_comparisons(op_type: str, opset: int, dtype: type) -> None:
    """All pairs of a few values, which also broadcasts."""
    if opset < 9 and dtype is not (np.int32 if op_type == "Equal" else np.float32):
        pytest.skip("the operator took other types then")
    if opset < 11 and op_type == "Equal" and dtype is np.float32:
        pytest.skip("equality of floats came with opset 11")
    values = HOSTILE if dtype is np.float32 else np.array([-(2**31), -1, 0, 1, 2**31 - 1], dtype)
    _check(op_type, values, values[:, None], opset=opset)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.uint32])
def test_comparisons_of_rare_types(dtype: type) -> None:
    """Types without a comparison kernel compare in a wider one: 200 stays above 100 in uint8."""
    info = np.iinfo(dtype)
    x = np.array([info.min, 5, info.max], dtype)
    (result,) = run_ours(node_model("Greater", {"x": x, "y": x[::-1].copy()}), {"x": x, "y": x[::-1].copy()})
    np.testing.assert_array_equal(result, [False, False, True])


def test_equality_of_bools() -> None:
    """Equality takes bools without a detour."""
    flags = np.array([True, False])
    _check("Equal", flags, flags[:, None])


@pytest.mark.parametrize("op_type", ["And", "Or", "Xor"])
def test_logic(op_type: str) -> None:
    """The whole truth table, broadcast."""
    flags = np.array([True, False])
    _check(op_type, flags, flags[:, None], opset=7)


def test_not() -> None:
    """Flags turn."""
    _check("Not", np.array([True, False]))


@pytest.mark.parametrize("dtype", [np.float32, np.int64, np.uint8])
@pytest.mark.parametrize("opset", [9, 16])
def test_where(dtype: type, opset: int) -> None:
    """All three operands broadcast, even to a shape that none of them has."""
    condition = np.array([[True], [False]])
    x, y = np.arange(4).astype(dtype), np.arange(6).reshape(3, 2, 1).astype(dtype)
    _check("Where", condition, x, y, opset=opset)


def test_where_of_bools() -> None:
    """Flags are selected like numbers (onnxruntime has no kernel to compare with)."""
    inputs = {"c": np.array([True, False, True]), "x": np.array([True, True, False]), "y": np.array([False])}
    (result,) = run_ours(node_model("Where", inputs), inputs)
    np.testing.assert_array_equal(result, [True, False, False])


def test_where_beyond_four_axes() -> None:
    """Wide broadcasting works at rank 6."""
    generator = np.random.default_rng(0)
    condition = generator.standard_normal((2, 1, 2, 1, 2, 1)) > 0
    x, y = (generator.standard_normal(s).astype(np.float32) for s in ((1, 3, 1, 2, 1, 2), (2, 3, 2, 2, 2, 2)))
    _check("Where", condition, x, y)


@pytest.mark.parametrize("opset", [9, 13, 20])
def test_is_nan(opset: int) -> None:
    """NaN is the only value that differs from itself."""
    _check("IsNaN", HOSTILE, opset=opset)


@pytest.mark.parametrize(("positive", "negative"), [(1, 1), (1, 0), (0, 1), (0, 0)])
def test_is_inf(positive: int, negative: int) -> None:
    """Either sign, both or none."""
    _check("IsInf", HOSTILE, detect_positive=positive, detect_negative=negative)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64])
def test_bits(dtype: type) -> None:
    """Bits are those of two's complement in every width; operands broadcast."""
    info = np.iinfo(dtype)
    x = np.array([info.min, info.max, 0b1100, 1], dtype)
    for op_type in ("BitwiseAnd", "BitwiseOr", "BitwiseXor"):
        _check(op_type, x, x[:, None], opset=18)
    _check("BitwiseNot", x, opset=18)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32])
@pytest.mark.parametrize("direction", ["LEFT", "RIGHT"])
def test_bit_shift(dtype: type, direction: str) -> None:
    """Bits that leave on the left are gone, also in types narrower than the one computed in."""
    x = np.array([0b11, 0b10000001, np.iinfo(dtype).max], dtype)
    proto = node_model("BitShift", {"x": x}, constants={"y": np.array([1, 7, 3], dtype)}, direction=direction)
    (result,) = run_ours(proto, {"x": x})
    shifts = np.array([1, 7, 3], dtype)
    np.testing.assert_array_equal(result, x << shifts if direction == "LEFT" else x >> shifts)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32, np.uint32])
def test_bit_shift_beyond_the_width(dtype: type) -> None:
    """Every bit moves out: 0 is left, or -1 of a negative number shifted right (opset 28 says so)."""
    bits = np.iinfo(dtype).bits
    x, shifts = np.array([100, 100, 100], dtype), np.array([bits, bits + 5, 1], dtype)
    if np.iinfo(dtype).min < 0:
        x[0], shifts[1] = -100, -1
    right = [-1 if x[0] < 0 else 0, 0, 50]
    for constants, inputs in (({}, {"x": x, "y": shifts}), ({"y": shifts}, {"x": x})):
        proto = _shift_model(inputs, constants, "RIGHT")
        np.testing.assert_array_equal(run_ours(proto, inputs)[0], np.array(right, dtype))
    (left,) = run_ours(_shift_model({"x": x}, {"y": shifts}, "LEFT"), {"x": x})
    np.testing.assert_array_equal(left, np.array([0, 0, x[2] << 1], np.int64).astype(dtype))


def _shift_model(inputs: dict[str, Array], constants: dict[str, Array], direction: str) -> onnx.ModelProto:
    """Return a model of one BitShift in opset 28, the first that takes signed types."""
    node = onnx.helper.make_node("BitShift", ["x", "y"], ["y0"], name="node", direction=direction)
    return graph_model([node], inputs, ["y0"], constants=constants, opset=28)
