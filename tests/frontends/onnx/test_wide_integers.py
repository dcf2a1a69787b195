"""uint64, run-time shifts and integer powers: NumPy's integers, also at the ends of a type."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from edgec.ir import Array
from tests.support.onnx_models import graph_model, node_model, run_ours

LARGE = np.array(
    [
        0,
        1,
        2,
        3,
        7,
        2**31,
        2**32 + 5,
        2**53 + 1,
        2**62,
        2**63 - 1,
        2**63,
        2**63 + 1,
        10**19,
        2**64 - 2,
        2**64 - 1,
    ],
    np.uint64,
)
TYPES = ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"]


def pairs(x: Array, y: Array) -> dict[str, Array]:
    """Return every combination of two lists, as two operands."""
    left, right = np.meshgrid(x, y)
    return {"x": left.reshape(-1), "y": right.reshape(-1)}


@pytest.mark.parametrize(
    ("op", "function"),
    [
        ("Add", np.add),
        ("Sub", np.subtract),
        ("Mul", np.multiply),
        ("Max", np.maximum),
        ("Min", np.minimum),
        ("Less", np.less),
        ("LessOrEqual", np.less_equal),
        ("Greater", np.greater),
        ("GreaterOrEqual", np.greater_equal),
        ("Equal", np.equal),
    ],
)
def test_uint64(op: str, function: Callable[[Array, Array], Array]) -> None:
    """Sums wrap around; the order is that of unsigned numbers, across 2^63."""
    feeds = pairs(LARGE, LARGE)
    (ours,) = run_ours(node_model(op, feeds, opset=18), feeds)
    expected = function(feeds["x"], feeds["y"])
    assert ours.dtype == expected.dtype
    np.testing.assert_array_equal(ours, expected)


@pytest.mark.parametrize(("op", "function"), [("Div", np.floor_divide), ("Mod", np.remainder)])
def test_uint64_division(op: str, function: Callable[[Array, Array], Array]) -> None:
    """Divisors on both sides of 2^63, quotients of all sizes."""
    feeds = pairs(LARGE, LARGE[1:])
    (ours,) = run_ours(node_model(op, feeds, opset=18), feeds)
    np.testing.assert_array_equal(ours, function(feeds["x"], feeds["y"]))


@pytest.mark.parametrize(
    ("name", "dtype"), [("FLOAT", np.float32), ("INT64", np.int64), ("UINT8", np.uint8), ("BOOL", np.bool_)]
)
def test_cast_from_uint64(name: str, dtype: type[np.generic]) -> None:
    """Floats above 2^63 stay positive; integers keep their low bits; anything but 0 is true."""
    (ours,) = run_ours(node_model("Cast", {"x": LARGE}, to=getattr(TensorProto, name)), {"x": LARGE})
    np.testing.assert_array_equal(ours, LARGE.astype(dtype))


def test_cast_to_uint64() -> None:
    """Floats on both sides of 2^63, and a signed integer, whose bits stay."""
    x = np.array([0.0, 1.9, 1e10, 2.0**62, 2.0**63, 2.0**63 * 1.5], np.float32)
    (ours,) = run_ours(node_model("Cast", {"x": x}, to=TensorProto.UINT64), {"x": x})
    np.testing.assert_array_equal(ours, x.astype(np.uint64))
    signed = np.array([-1, 5], np.int64)
    (ours,) = run_ours(node_model("Cast", {"x": signed}, to=TensorProto.UINT64), {"x": signed})
    np.testing.assert_array_equal(ours, np.array([2**64 - 1, 5], np.uint64))


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(("direction", "function"), [("LEFT", np.left_shift), ("RIGHT", np.right_shift)])
def test_shift_by_a_computed_amount(
    direction: str, function: Callable[[Array, Array], Array], dtype: str
) -> None:
    """Signed types keep their sign to the right and lose it to the left; the top bit alone can be left."""
    info = np.iinfo(dtype)
    x = np.array([info.min, info.min + 1, 0, 1, 77, info.max // 2, info.max], dtype)
    feeds = pairs(x, np.array([0, 1, 2, info.bits // 2, info.bits - 1], dtype))
    node = onnx.helper.make_node("BitShift", ["x", "y"], ["y0"], direction=direction)
    (ours,) = run_ours(graph_model([node], feeds, ["y0"], opset=28), feeds)
    np.testing.assert_array_equal(ours, function(feeds["x"], feeds["y"]))


@pytest.mark.parametrize("dtype", ["int64", "uint64", "uint32", "uint8"])
def test_shift_by_more_than_the_width_moves_all_bits_out(dtype: str) -> None:
    """0 is left, or -1 of a negative number that moves to the right."""
    x = np.array([5, np.iinfo(dtype).max], dtype)
    x[0] = -5 if dtype == "int64" else 5
    feeds = {"x": x, "y": np.array([64, 100], dtype)}
    for direction, expected in (("LEFT", [0, 0]), ("RIGHT", [-1 if dtype == "int64" else 0, 0])):
        node = onnx.helper.make_node("BitShift", ["x", "y"], ["y0"], direction=direction)
        (ours,) = run_ours(graph_model([node], feeds, ["y0"], opset=28), feeds)
        np.testing.assert_array_equal(ours, np.array(expected, dtype))


def test_int64_power_by_a_computed_exponent() -> None:
    """Exact products that wrap around as NumPy's do."""
    feeds = pairs(np.array([-3, -1, 0, 1, 2, 3, 10]), np.array([0, 1, 2, 3, 10, 18, 39, 62, 63]))
    (ours,) = run_ours(node_model("Pow", feeds, opset=15), feeds)
    np.testing.assert_array_equal(ours, np.power(feeds["x"], feeds["y"]))


def test_negative_and_huge_exponents_of_integers() -> None:
    """1 / x truncates to 0, but for 1 and -1, where the exponent's last bit decides."""
    feeds = pairs(np.array([-1, 1, 2, -5]), np.array([-1, -2, -3]))
    (ours,) = run_ours(node_model("Pow", feeds, opset=15), feeds)
    np.testing.assert_array_equal(ours, [-1, 1, 0, 0, 1, 1, 0, 0, -1, 1, 0, 0])
    feeds = pairs(np.array([-1, 0, 1]), np.array([10**12, 10**12 + 1]))
    (ours,) = run_ours(node_model("Pow", feeds, opset=15), feeds)
    np.testing.assert_array_equal(ours, [1, 0, 1, -1, 0, 1])


@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_integer_to_a_real_power(dtype: str) -> None:
    """Whole exponents are exact beyond float32's digits; others truncate towards zero."""
    feeds = {"x": np.array([3, 7, 10, 2], dtype), "y": np.array([19, 2, 0.5, 2.5], np.float32)}
    (ours,) = run_ours(node_model("Pow", feeds, opset=15), feeds)
    np.testing.assert_array_equal(ours, [3**19, 49, 3, 5])


def test_float_to_an_unsigned_power() -> None:
    feeds = {"x": np.array([1.5, 2, -2], np.float32), "y": np.array([2, 10, 3], np.uint64)}
    (ours,) = run_ours(node_model("Pow", feeds, opset=15), feeds)
    np.testing.assert_allclose(ours, [2.25, 1024, -8], rtol=1e-6)
