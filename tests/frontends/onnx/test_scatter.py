"""Scattering without reduction changes no bit; sums and products of few float32 terms may round once."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgec.diagnostics import CompileError
from edgec.ir import Array
from tests.support.onnx_models import check_against_onnxruntime, import_model, node_model, run_ours

REDUCTIONS = ["none", "add", "mul", "max", "min"]


def ramp(*shape: int, dtype: type = np.float32) -> Array:
    return np.arange(np.prod(shape), dtype=np.int64).reshape(shape).astype(dtype)


def kinds(proto: onnx.ModelProto) -> list[str]:
    return [node.kind for node in import_model(proto).graph]


def check(
    op: str, x: Array, indices: Array, updates: Array, *, known: bool, **attributes: object
) -> list[str]:
    """Compare with onnxruntime; indices are constants or computed when the model runs."""
    if known:
        feeds, constants = {"x": x, "u": updates}, {"i": indices}
    else:
        feeds, constants = {"x": x, "i": indices, "u": updates}, {}
    proto = node_model(op, feeds, constants=constants, order=["x", "i", "u"], opset=18, **attributes)
    rtol = 1e-6 if attributes.get("reduction") in ("add", "mul") else 0
    check_against_onnxruntime(proto, feeds, rtol=rtol, atol=0)
    return kinds(proto)


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_scatter_nd_with_several_updates_of_one_row(reduction: str, known: bool, dtype: type) -> None:
    """Rows named twice get the last update, or all combined; negative coordinates count from the end."""
    x, indices = ramp(4, 3, dtype=dtype) - 5, np.array([[2], [-1], [2], [0]])
    updates = (np.random.default_rng(2).standard_normal((4, 3)) * 9).astype(dtype)
    check("ScatterND", x, indices, updates, known=known, reduction=reduction)


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("reduction", ["none", "add"])
def test_int64(reduction: str, known: bool) -> None:
    """int64 moves and adds without loss beyond int32."""
    x, updates = ramp(4, dtype=np.int64) + 2**40, ramp(3, dtype=np.int64) + 2**33
    check("ScatterND", x, np.array([[1], [3], [1]]), updates, known=known, reduction=reduction)


def test_int64_maximum_of_distinct_known_rows() -> None:
    """Where no row is named twice, nothing has to be combined first."""
    x, updates = ramp(4, dtype=np.int64), np.array([9, -9], np.int64)
    assert check("ScatterND", x, np.array([[1], [3]]), updates, known=True, reduction="max")[0] == "gather"


def test_int64_maximum_of_unknown_rows_is_refused() -> None:
    """The error says which kernels lack int64."""
    feeds = {"x": ramp(4, dtype=np.int64), "i": np.array([[1]]), "u": np.array([9])}
    with pytest.raises(CompileError, match="reduces int64 by max") as caught:
        import_model(node_model("ScatterND", feeds, opset=18, reduction="max"))
    assert "kernels that combine them have no int64" in str(caught.value)


BOXES = [
    (np.array([[1], [2]]), ["dynamic_update_slice"]),
    (np.array([[[0, 1], [0, 2]], [[1, 1], [1, 2]]]), ["dynamic_update_slice"]),
    (np.array([[0, -1]]), ["dynamic_update_slice"]),
    (np.array([[0], [1], [2]]), []),
    (np.array([[2], [0]]), ["concatenation", "gather"]),
]


@pytest.mark.parametrize(("indices", "expected"), BOXES)
def test_known_boxes_are_written_in_place(indices: Array, expected: list[str]) -> None:
    """Coordinates that fill a box in order need no indices: one update, or nothing where it covers all."""
    x = ramp(3, 3, 4)
    updates = -ramp(*indices.shape[:-1], *x.shape[indices.shape[-1] :])
    found = check("ScatterND", x, indices, updates, known=True)
    assert [kind for kind in found if kind != "reshape"] == expected


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("reduction", ["max", "min"])
def test_infinities_survive(reduction: str, known: bool) -> None:
    """An infinity that loses leaves the data, one that wins replaces it; the largest number is a number."""
    big = float(np.finfo(np.float32).max)
    x = np.array([-np.inf, np.inf, 1.0, -np.inf, 5.0, np.inf], np.float32)
    indices = np.array([[0], [0], [1], [2], [3], [5], [5]])
    updates = np.array([-np.inf, -np.inf, np.inf, np.inf, -big, big, np.inf], np.float32)
    check("ScatterND", x, indices, updates, known=known, reduction=reduction)


@given(st.data())
@settings(max_examples=60, derandomize=True, deadline=None)
def test_scatter_elements_of_anything(data: st.DataObject) -> None:
    """Any axis and reduction, indices shorter than the data, negative or not, named twice or not."""
    dims = data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=4))
    axis = data.draw(st.integers(-len(dims), len(dims) - 1))
    shape = [data.draw(st.integers(1, dim)) for dim in dims]
    size, count = dims[axis], int(np.prod(shape))
    entries = data.draw(st.lists(st.integers(-size, size - 1), min_size=count, max_size=count))
    updates = ramp(*shape) / 8 - 1
    check(
        "ScatterElements",
        ramp(*dims) - 3,
        np.array(entries, np.int64).reshape(shape),
        updates,
        known=data.draw(st.booleans()),
        axis=axis,
        reduction=data.draw(st.sampled_from(REDUCTIONS)),
    )


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.bool_, np.int16])
@pytest.mark.parametrize("known", [True, False])
def test_small_types_move(dtype: type, known: bool) -> None:
    """Without a reduction every element type moves as it is."""
    x, updates = np.array([1, 0, 3, 0], dtype), np.array([0, 1], dtype)
    check("ScatterElements", x, np.array([2, 1]), updates, known=known)


@pytest.mark.parametrize("opset", [9, 10])
def test_old_scatter(opset: int) -> None:
    """Scatter is the old name of ScatterElements."""
    feeds = {"x": ramp(2, 3), "i": np.array([[2, 0]]), "u": np.array([[7.5, 8.5]], np.float32)}
    proto = node_model("Scatter", feeds, opset=opset, axis=1)
    np.testing.assert_array_equal(run_ours(proto, feeds)[0], [[8.5, 1, 7.5], [3, 4, 5]])


def test_nothing_to_scatter() -> None:
    """No updates leave the data."""
    x, none = ramp(3, 2), np.zeros((0, 1), np.int64)
    proto = node_model(
        "ScatterND", {"x": x}, constants={"i": none, "u": np.zeros((0, 2), np.float32)}, opset=18
    )
    assert kinds(proto) == []


BAD = [
    ("ScatterND", np.array([[3]]), ramp(1, 3), {}, r"outside of the dimensions \[3\]"),
    ("ScatterND", np.array([[0]]), ramp(2, 3), {}, r"indices \[1, 1\] and updates \[2, 3\]"),
    ("ScatterElements", np.array([[3]]), ramp(1, 1), {}, "reads entries 3 to 3"),
    ("ScatterElements", np.array([[0]]), ramp(1, 2), {}, r"indices \[1, 1\] and updates \[1, 2\]"),
    ("ScatterND", np.array([[0]]), ramp(1, 3), {"reduction": "mean"}, "has reduction 'mean'"),
]


@pytest.mark.parametrize(("op", "indices", "updates", "attributes", "message"), BAD)
def test_bad_scatter_is_refused(
    op: str, indices: Array, updates: Array, attributes: dict[str, str], message: str
) -> None:
    """The error names the shapes, the entries or the reduction."""
    feeds = {"x": ramp(3, 3), "u": updates}
    proto = node_model(op, feeds, constants={"i": indices}, order=["x", "i", "u"], opset=18, **attributes)
    with pytest.raises(CompileError, match=message):
        import_model(proto)
