"""Arithmetic equals onnxruntime's: integers to the last bit, floats within a few float32 steps."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper

from edgec.diagnostics import CompileError
from edgec.ir import Array
from tests.support.onnx_models import (
    check_against_onnxruntime,
    graph_model,
    import_model,
    node_model,
    run_ours,
)

RTOL, ATOL = 1e-6, 3e-7
"""Formulas of up to ten float32 operations, each rounding to 6e-8."""

LARGE = np.array(
    [-np.inf, -1e30, -100.5, -2.5, -1.5, -0.5, -0.0, 0.0, 1e-30, 0.5, 1.5, 2.5, 3.3, 1e30, np.inf], np.float32
)
MODERATE = np.array(
    [-88.5, -20.0, -3.0, -1.0, -0.1, -1e-4, -0.0, 0.0, 1e-4, 0.1, 1.0, 3.0, 20.0, 88.5], np.float32
)
UNIT = np.array([-1.0, -0.9999, -0.5, -1e-3, -0.0, 1e-3, 0.5, 0.9999, 1.0], np.float32)
INSIDE = np.array([-0.999, -0.5, -1e-3, 0.0, 1e-3, 0.5, 0.999], np.float32)
POSITIVE = np.array([0.0, 1e-30, 0.25, 1.0, 2.0, 1e30, np.inf], np.float32)
ABOVE_ONE = np.array([1.0, 1.0001, 1.5, 10.0, 1e18, 1e30], np.float32)

FUNCTIONS = [
    ("Abs", LARGE),
    ("Neg", LARGE),
    ("Floor", LARGE),
    ("Ceil", LARGE),
    ("Round", LARGE),
    ("Sign", LARGE),
    ("Reciprocal", LARGE[LARGE != 0]),
    ("Exp", LARGE),
    ("Log", POSITIVE),
    ("Sqrt", POSITIVE),
    ("Sin", MODERATE),
    ("Cos", MODERATE),
    ("Tan", MODERATE),
    ("Asin", UNIT),
    ("Acos", UNIT),
    ("Atan", LARGE),
    ("Sinh", MODERATE),
    ("Cosh", MODERATE),
    ("Asinh", LARGE[1:-1]),
    ("Acosh", ABOVE_ONE),
    ("Atanh", INSIDE),
]


@pytest.mark.parametrize(("op_type", "x"), FUNCTIONS, ids=[name for name, _ in FUNCTIONS])
def test_functions(op_type: str, x: Array) -> None:
    """Every function of one operand over its whole domain, infinities and negative zero included."""
    check_against_onnxruntime(node_model(op_type, {"x": x}, opset=13), {"x": x}, rtol=RTOL, atol=ATOL)


def test_quotients_saturate() -> None:
    """The div kernel holds results within the finite floats, so 1 / 0 is the largest of them."""
    x = np.array([0.0, -0.0, 2.0], np.float32)
    (result,) = run_ours(node_model("Reciprocal", {"x": x}), {"x": x})
    largest = np.finfo(np.float32).max
    np.testing.assert_array_equal(result, np.array([largest, -largest, 0.5], np.float32))


def test_sinh_keeps_its_digits_near_zero() -> None:
    """sinh x → x: the difference of two exponentials would leave no digit at all."""
    x = np.array([-1e-6, 1e-10, 1e-20, 1e-3], np.float32)
    check_against_onnxruntime(node_model("Sinh", {"x": x}), {"x": x}, rtol=1e-6, atol=0)


@pytest.mark.parametrize("op_type", ["Add", "Sub", "Mul", "Div"])
@pytest.mark.parametrize("opset", [7, 13, 14])
@pytest.mark.parametrize(
    "shapes", [((2, 3, 4), (2, 3, 4)), ((2, 3, 4), (4,)), ((3, 1), (2, 1, 4)), ((2, 3), ())]
)
def test_float_broadcasting(
    op_type: str, opset: int, shapes: tuple[tuple[int, ...], tuple[int, ...]]
) -> None:
    """Both operands broadcast; one operation on floats is exact to the last bit."""
    generator = np.random.default_rng(3)
    x, y = (generator.uniform(0.5, 9, shape).astype(np.float32) for shape in shapes)
    proto = node_model(op_type, {"x": x}, constants={"y": y}, opset=opset)
    check_against_onnxruntime(proto, {"x": x}, rtol=0, atol=0)
    if shapes[1]:
        proto = node_model(op_type, {"x": x, "y": y}, opset=opset)
        check_against_onnxruntime(proto, {"x": x, "y": y}, rtol=0, atol=0)


WIDTHS = [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64]


@pytest.mark.parametrize("dtype", WIDTHS)
@pytest.mark.parametrize("op_type", ["Add", "Sub", "Mul", "Div"])
def test_integers(op_type: str, dtype: type) -> None:
    """Sums and products wrap around in the type's own width; quotients round towards zero."""
    info = np.iinfo(dtype)
    x = np.array([info.max, info.min + 1, 7, 7, 100, 0], dtype)
    y = np.array([2, 3, 2, 3, 7, 5], dtype)
    if info.min < 0:
        x[2], y[3], y[1] = -7, -3, -3
    with np.errstate(over="ignore"):
        expected = {"Add": x + y, "Sub": x - y, "Mul": x * y, "Div": np.trunc(x.astype(object) / y)}[op_type]
    if op_type == "Div":  # Python's integers: exact where a float64 quotient of int64 is not
        expected = np.array(
            [
                abs(int(a)) // abs(int(b)) * (1 if (a < 0) == (b < 0) else -1)
                for a, b in zip(x, y, strict=True)
            ],
            dtype,
        )
    (result,) = run_ours(node_model(op_type, {"x": x, "y": y}, opset=14), {"x": x, "y": y})
    np.testing.assert_array_equal(result, expected)
    assert result.dtype == dtype


def test_int64_division_is_exact_for_any_values() -> None:
    """No kernel divides int64: the sequence of float32 quotients is exact up to 2^63 - 1 all the same."""
    generator = np.random.default_rng(11)
    x = (generator.integers(-(2**62), 2**62, 500) >> generator.integers(0, 60, 500)).astype(np.int64)
    y = (generator.integers(-(2**62), 2**62, 500) >> generator.integers(0, 61, 500)).astype(np.int64)
    x[:4], y[:4] = [2**63 - 1, -(2**63) + 1, 2**53 + 1, 5], [1, 1, 3, 2**63 - 1]
    y[y == 0] = 1
    check_against_onnxruntime(node_model("Div", {"x": x, "y": y}, opset=14), {"x": x, "y": y}, rtol=0, atol=0)


def test_known_int64_division_takes_the_int32_kernel() -> None:
    """Both operands are known to fit: shape arithmetic costs one kernel."""
    nodes = [helper.make_node("Div", ["a", "b"], ["y"])]
    constants = {"a": np.array([7, -7, 2**31 - 2], np.int64), "b": np.array([2, 2, 3], np.int64)}
    proto = graph_model(nodes, {}, ["y"], constants=constants)
    (result,) = run_ours(proto, {})
    np.testing.assert_array_equal(result, [3, -3, 715827882])
    assert result.dtype == np.int64


def test_dividing_by_powers_of_two_multiplies() -> None:
    """1/2^n has no rounding error, so the product is the quotient to the last bit; by 3 it would not be."""
    x = np.array([1.0, 3.0, 1e-38, -5.5], np.float32)
    for divisor, kind in (
        ([0.5, 2.0, 4.0, -8.0], "mul"),
        ([0.5, 2.0, 3.0, 8.0], "div"),
        ([1.0, 1.0, 1e-38, 1.0], "div"),
    ):
        proto = node_model("Div", {"x": x}, constants={"y": np.array(divisor, np.float32)})
        assert [node.kind for node in import_model(proto).graph] == [kind]
        check_against_onnxruntime(proto, {"x": x}, rtol=0, atol=0)


@pytest.mark.parametrize("op_type", ["Max", "Min", "Sum", "Mean"])
@pytest.mark.parametrize("count", [1, 2, 3, 5])
@pytest.mark.parametrize("opset", [8, 13])
def test_variadic(op_type: str, count: int, opset: int) -> None:
    """Any number of operands of broadcasting shapes."""
    generator = np.random.default_rng(count)
    shapes = [(2, 3, 4), (4,), (3, 1), (1, 1, 1), (2, 1, 4)]
    inputs = {f"x{i}": generator.standard_normal(shapes[i]).astype(np.float32) for i in range(count)}
    proto = node_model(op_type, inputs, opset=opset)
    check_against_onnxruntime(proto, inputs, rtol=RTOL, atol=ATOL)


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.uint32])
@pytest.mark.parametrize("op_type", ["Max", "Min"])
def test_extremes_of_integers(op_type: str, dtype: type) -> None:
    """Integers compare exactly."""
    info = np.iinfo(dtype)
    inputs = {"a": np.array([info.max, info.min, 3], dtype), "b": np.array([info.max - 1, 0, 4], dtype)}
    check_against_onnxruntime(node_model(op_type, inputs, opset=13), inputs, rtol=0, atol=0)


@pytest.mark.parametrize("exponent", [-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0, 3.0, 4.0, 2.5])
@pytest.mark.parametrize("opset", [7, 13, 15])
def test_pow_by_constants(exponent: float, opset: int) -> None:
    """Roots, quotients and products stand for the usual exponents; each rounds once or twice."""
    x = np.array([1e-3, 0.5, 1.0, 2.0, 3.3, 1e4], np.float32)
    proto = node_model("Pow", {"x": x}, constants={"y": np.array(exponent, np.float32)}, opset=opset)
    check_against_onnxruntime(proto, {"x": x}, rtol=RTOL, atol=0)
    assert ("pow" in [node.kind for node in import_model(proto).graph]) == (exponent in (-2.0, 0.0, 2.5))


def test_pow_of_negative_bases() -> None:
    """Whole exponents keep the sign rules, computed ones too."""
    x = np.array([-2.0, -1.5, 3.0, -0.0], np.float32)
    for y in (2, 3):
        proto = node_model("Pow", {"x": x}, constants={"y": np.array([y], np.int64)}, opset=13)
        check_against_onnxruntime(proto, {"x": x}, rtol=RTOL, atol=0)
    y = np.array([2.0, 3.0, -1.0, 2.0], np.float32)
    check_against_onnxruntime(node_model("Pow", {"x": x, "y": y}), {"x": x, "y": y}, rtol=RTOL, atol=0)


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_pow_of_integers(dtype: type) -> None:
    """Products of integers are exact where a power in floats is not."""
    x = np.array([3, -3, 10, 1], dtype)
    for exponent in (1, 2, 5, 9):
        proto = node_model("Pow", {"x": x}, constants={"y": np.array(exponent, dtype)}, opset=13)
        check_against_onnxruntime(proto, {"x": x}, rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.int32, np.uint32, np.int64])
@pytest.mark.parametrize("fmod", [0, 1])
@pytest.mark.parametrize("opset", [10, 13])
def test_mod_of_integers(dtype: type, fmod: int, opset: int) -> None:
    """The remainder has the divisor's sign, or the dividend's with fmod."""
    x, y = np.array([7, 100, 5, 6, 0], dtype), np.array([3, 7, 9, 3, 4], dtype)
    if np.iinfo(dtype).min < 0:
        x[:2], y[1:3] = [-7, 100], [-7, -9]
    proto = node_model("Mod", {"x": x, "y": y}, opset=opset, fmod=fmod)
    check_against_onnxruntime(proto, {"x": x, "y": y}, rtol=0, atol=0)


def test_mod_of_floats_is_exact() -> None:
    """fmod never rounds, however large the quotient: 1e20 mod 3 is what is left of the float's own value."""
    x = np.array([-4.3, 7.2, 5.0, 1e20, -1e20, 0.3, 5.0], np.float32)
    y = np.array([2.1, -3.4, 8.0, 3.0, 3.0, 0.1, np.inf], np.float32)
    check_against_onnxruntime(node_model("Mod", {"x": x, "y": y}, fmod=1), {"x": x, "y": y}, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("op_type", "dtype"),
    [
        ("Abs", np.int64),
        ("Abs", np.int8),
        ("Abs", np.uint8),
        ("Neg", np.int64),
        ("Neg", np.int32),
        ("Sign", np.int64),
        ("Sign", np.int32),
        ("Sign", np.int8),
    ],
)
def test_integer_functions(op_type: str, dtype: type) -> None:
    """Integers take other kernels than floats, or none."""
    info = np.iinfo(dtype)
    x = np.array([info.min + 1, 0, 1, 5, info.max], dtype)
    check_against_onnxruntime(node_model(op_type, {"x": x}, opset=13), {"x": x}, rtol=0, atol=0)


def test_division_by_a_known_zero_is_a_diagnostic() -> None:
    """Folding would divide by zero: the kernel's refusal names the node."""
    nodes = [helper.make_node("Div", ["a", "b"], ["y"], name="ratio")]
    constants = {"a": np.array([7], np.int64), "b": np.array([0], np.int64)}
    with pytest.raises(CompileError, match="ratio"):
        import_model(graph_model(nodes, {}, ["y"], constants=constants))
