"""Reductions equal onnxruntime's: exact for integers, extremes and places, else within a few roundings.

Float sums of 24 terms may be ordered differently: each rounding is 6e-8 of the partial sum.
"""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from edgec.diagnostics import CompileError
from edgec.ir import Array
from tests.support.onnx_models import check_against_onnxruntime, import_model, node_model, run_ours

RTOL, ATOL = 2e-6, 2e-6

FLOATS = np.random.default_rng(5).uniform(0.2, 3, (2, 3, 4)).astype(np.float32)
FLOATS[0, 1, 2] = 1e-30

OPERATORS = [
    "ReduceMean",
    "ReduceSum",
    "ReduceMax",
    "ReduceMin",
    "ReduceProd",
    "ReduceL1",
    "ReduceL2",
    "ReduceLogSum",
    "ReduceLogSumExp",
    "ReduceSumSquare",
]
SIGNED = {
    "ReduceMean",
    "ReduceSum",
    "ReduceMax",
    "ReduceMin",
    "ReduceProd",
    "ReduceL1",
    "ReduceL2",
    "ReduceLogSumExp",
}


def reduction(op_type: str, x: Array, axes: list[int] | None, opset: int, **settings: int) -> onnx.ModelProto:
    """Return the node with axes where its opset expects them."""
    since = 13 if op_type == "ReduceSum" else 18
    if axes is None:
        return node_model(op_type, {"x": x}, opset=opset, **settings)
    if opset < since:
        return node_model(op_type, {"x": x}, opset=opset, axes=axes, **settings)
    return node_model(
        op_type, {"x": x}, constants={"axes": np.array(axes, np.int64)}, opset=opset, **settings
    )


@pytest.mark.parametrize("op_type", OPERATORS)
@pytest.mark.parametrize("opset", [7, 11, 13, 18])
@pytest.mark.parametrize("axes", [None, [1], [0, 2], [2, 1]])
@pytest.mark.parametrize("keepdims", [0, 1])
def test_floats(op_type: str, opset: int, axes: list[int] | None, keepdims: int) -> None:
    """Axes as attribute or operand, all of them by default, kept or dropped."""
    x = FLOATS - 1.5 if op_type in SIGNED else FLOATS
    proto = reduction(op_type, x, axes, opset, keepdims=keepdims)
    check_against_onnxruntime(proto, {"x": x}, rtol=RTOL, atol=ATOL)


@pytest.mark.parametrize("op_type", OPERATORS)
def test_negative_axes(op_type: str) -> None:
    """Axes count from the end since opset 11."""
    check_against_onnxruntime(reduction(op_type, FLOATS, [-1, -3], 11), {"x": FLOATS}, rtol=RTOL, atol=ATOL)


@pytest.mark.parametrize(
    ("op_type", "kinds"),
    [("ReduceSum", []), ("ReduceSumSquare", ["mul"]), ("ReduceL1", ["abs"]), ("ReduceLogSum", ["log"])],
)
def test_no_axes_can_mean_none(op_type: str, kinds: list[str]) -> None:
    """With noop_with_empty_axes nothing is summed, but squares, roots and logarithms remain."""
    proto = reduction(op_type, FLOATS, [], 18, noop_with_empty_axes=1)
    assert [node.kind for node in import_model(proto).graph] == kinds
    expected = {"mul": FLOATS * FLOATS, "log": np.log(FLOATS)}.get("".join(kinds), FLOATS)
    np.testing.assert_allclose(run_ours(proto, {"x": FLOATS})[0], expected, rtol=RTOL)


def test_empty_axes_mean_all_by_default() -> None:
    """An empty list is no list."""
    check_against_onnxruntime(reduction("ReduceSum", FLOATS, [], 13), {"x": FLOATS}, rtol=RTOL, atol=ATOL)


@pytest.mark.parametrize(
    "op_type", ["ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceSumSquare"]
)
@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_integers(op_type: str, dtype: type) -> None:
    """Integers are exact, also beyond the 24 bits that float32 holds."""
    x = np.array([[1, -2, 3], [4099, 5023, -7]], dtype)
    expected = {"ReduceL1": np.abs(x), "ReduceSumSquare": x * x}
    for axis in (0, 1):
        proto = reduction(op_type, x, [axis], 13 if op_type == "ReduceSum" else 11)
        if op_type in expected and dtype is np.int64:  # onnxruntime has no such kernel
            (result,) = run_ours(proto, {"x": x})
            np.testing.assert_array_equal(result, expected[op_type].sum(axis, keepdims=True))
        else:
            check_against_onnxruntime(proto, {"x": x}, rtol=0, atol=0)


@pytest.mark.parametrize("op_type", ["ReduceMax", "ReduceMin"])
@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
def test_extremes_of_bytes(op_type: str, dtype: type) -> None:
    """Bytes keep their type."""
    x = np.array([[1, 100, 3], [127, 0, 5]], dtype)
    check_against_onnxruntime(reduction(op_type, x, [1], 12), {"x": x}, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("op_type", "expected"), [("ReduceMax", [True, True, False]), ("ReduceMin", [True, False, False])]
)
def test_flags(op_type: str, expected: list[bool]) -> None:
    """The largest of flags is any, the smallest is all (opset 20)."""
    x = np.array([[True, True], [True, False], [False, False]])
    (result,) = run_ours(reduction(op_type, x, [1], 20, keepdims=0), {"x": x})
    np.testing.assert_array_equal(result, expected)


def test_log_sum_exp_of_large_and_infinite_values() -> None:
    """Neither e^1000 nor infinities spoil the result."""
    x = np.array([[1000.0, 999.0], [-1000.0, -1001.0], [-np.inf, 1.0], [-3e38, -3e38]], np.float32)
    expected = [[1000.3132617], [-999.6867383], [1.0], [-3e38]]
    proto = reduction("ReduceLogSumExp", x, [1], 13)
    np.testing.assert_allclose(run_ours(proto, {"x": x})[0], expected, rtol=RTOL)


def test_roots_of_integers_are_refused() -> None:
    """The error says what to do instead."""
    with pytest.raises(CompileError, match=r"roots or logarithms of int32.*Cast to float32"):
        import_model(reduction("ReduceL2", np.ones((2, 2), np.int32), [1], 13))


PLACES = np.array([[[3, 1, 3], [0, 0, 2]], [[5, 7, 7], [-1, -1, -1]]])


@pytest.mark.parametrize("op_type", ["ArgMax", "ArgMin"])
@pytest.mark.parametrize("dtype", [np.float32, np.int32, np.int64, np.int8, np.uint8])
@pytest.mark.parametrize("axis", [0, 2, -2])
@pytest.mark.parametrize("last", [0, 1])
def test_arg(op_type: str, dtype: type, axis: int, last: int) -> None:
    """The first of equals, or the last one; indices are int64."""
    x = np.abs(PLACES).astype(dtype) if dtype is np.uint8 else PLACES.astype(dtype)
    for keepdims in (0, 1):
        settings = {"axis": axis, "keepdims": keepdims, "select_last_index": last}
        proto = node_model(op_type, {"x": x}, opset=13, **settings)
        if dtype is np.int64 and op_type == "ArgMin":  # onnxruntime has no such kernel
            order = np.flip(x, axis) if last else x
            place = np.argmin(order, axis, keepdims=bool(keepdims))
            expected = x.shape[axis] - 1 - place if last else place
            np.testing.assert_array_equal(run_ours(proto, {"x": x})[0], expected)
        else:
            check_against_onnxruntime(proto, {"x": x}, rtol=0, atol=0)


def test_arg_of_the_lowest_int64() -> None:
    """-x would overflow there."""
    x = np.array([3, np.iinfo(np.int64).min, np.iinfo(np.int64).max], np.int64)
    (result,) = run_ours(node_model("ArgMin", {"x": x}, opset=13, axis=0, keepdims=0), {"x": x})
    assert result == 1


@pytest.mark.parametrize("opset", [7, 11, 12])
def test_arg_in_older_opsets(opset: int) -> None:
    """select_last_index came with opset 12; the default axis is 0."""
    check_against_onnxruntime(node_model("ArgMax", {"x": FLOATS}, opset=opset), {"x": FLOATS}, rtol=0, atol=0)


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("exclusive", [0, 1])
@pytest.mark.parametrize("reverse", [0, 1])
@pytest.mark.parametrize("dtype", [np.float32, np.int32, np.int64])
def test_cumsum(axis: int, exclusive: int, reverse: int, dtype: type) -> None:
    """Running sums in both directions."""
    x = np.array([[1, 2, 3], [4, 5, 6]], dtype)
    proto = node_model(
        "CumSum",
        {"x": x},
        constants={"axis": np.array(axis, np.int32)},
        opset=14,
        exclusive=exclusive,
        reverse=reverse,
    )
    check_against_onnxruntime(proto, {"x": x}, rtol=0, atol=0)


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("largest", [0, 1])
@pytest.mark.parametrize("dtype", [np.float32, np.int64, np.int32])
def test_top_k(axis: int, largest: int, dtype: type) -> None:
    """Values and int64 indices in order; the first of equals comes first."""
    x = np.array([[3, 1, 3, 0], [-5, 7, 7, 2], [0, 0, -1, 9]], dtype)
    settings = {"axis": axis, "largest": largest, "sorted": 1}
    proto = node_model("TopK", {"x": x}, constants={"k": np.array([2])}, outputs=2, opset=11, **settings)
    check_against_onnxruntime(proto, {"x": x}, rtol=0, atol=0)


def test_top_k_in_older_opsets() -> None:
    """k was an attribute before opset 10."""
    proto = node_model("TopK", {"x": FLOATS}, outputs=2, opset=7, k=3)
    check_against_onnxruntime(proto, {"x": FLOATS}, rtol=0, atol=0)
    proto = node_model("TopK", {"x": FLOATS}, constants={"k": np.array([3])}, outputs=2, opset=10)
    check_against_onnxruntime(proto, {"x": FLOATS}, rtol=0, atol=0)
