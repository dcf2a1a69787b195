"""Picking entries changes no bit: every comparison is without tolerance."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgec.diagnostics import CompileError
from edgec.ir import Array, DType
from tests.support.onnx_models import (
    check_against_onnxruntime,
    import_model,
    node_model,
    run_onnxruntime,
    run_ours,
)


def ramp(*shape: int, dtype: type = np.float32) -> Array:
    return np.arange(np.prod(shape), dtype=np.int64).reshape(shape).astype(dtype)


def check(proto: onnx.ModelProto, **inputs: Array) -> list[str]:
    check_against_onnxruntime(proto, inputs, rtol=0, atol=0)
    return [node.kind for node in import_model(proto).graph]


KNOWN = [
    (np.array([2, 0, -1]), 1, ["gather"]),
    (np.array([[0, 3], [-4, 1]]), 2, ["gather"]),
    (np.array([1, 2]), 1, ["slice"]),
    (np.array([-1]), -1, ["slice"]),
    (np.array(1), 0, ["slice", "reshape"]),
    (np.array(-1), 2, ["slice", "reshape"]),
    (np.array([0, 1, 2]), 1, []),
]


@pytest.mark.parametrize(("indices", "axis", "kinds"), KNOWN)
@pytest.mark.parametrize("dtype", [np.int32, np.int64])
@pytest.mark.parametrize("opset", [7, 11, 13])
def test_gather_known(indices: Array, axis: int, kinds: list[str], dtype: type, opset: int) -> None:
    """Known indices count from the front as int32; one entry or a run of them is a slice."""
    if opset < 11 and indices.min() < 0:
        pytest.skip("negative indices came with opset 11")
    x = ramp(2, 3, 4)
    proto = node_model("Gather", {"x": x}, constants={"i": indices.astype(dtype)}, opset=opset, axis=axis)
    assert check(proto, x=x) == kinds
    for node in import_model(proto).graph:
        assert node.operand(1).dtype is DType.INT32


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_gather_computed(dtype: type) -> None:
    """Computed indices may be negative too: the sign is looked at when the model runs."""
    table, indices = ramp(5, 3), np.array([[0, -1], [4, -5]], dtype)
    proto = node_model("Gather", {"i": indices}, constants={"table": table}, order=["table", "i"])
    assert check(proto, i=indices)[-1] == "gather"


@given(st.data())
@settings(max_examples=60, derandomize=True, deadline=None)
def test_gather_of_anything(data: st.DataObject) -> None:
    """Any axis, indices of rank 0 to 2, negative or not, known or computed."""
    dims = data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=4))
    axis = data.draw(st.integers(-len(dims), len(dims) - 1))
    shape = data.draw(st.lists(st.integers(1, 3), max_size=2))
    entry = st.integers(-dims[axis], dims[axis] - 1)
    count = int(np.prod(shape))
    entries = data.draw(st.lists(entry, min_size=count, max_size=count))
    indices = np.array(entries, np.int64).reshape(shape)
    x = ramp(*dims)
    check(node_model("Gather", {"x": x}, constants={"i": indices}, axis=axis), x=x)
    if shape:
        check(node_model("Gather", {"x": x, "i": indices}, axis=axis), x=x, i=indices)


def test_gather_outside_is_refused() -> None:
    """The error names the entries and the size."""
    with pytest.raises(CompileError, match="reads entries 3 to 3 of an axis of size 3"):
        import_model(node_model("Gather", {"x": ramp(3)}, constants={"i": np.array([3])}))


ELEMENTS = [((2, 3, 4), 0), ((2, 3, 2), -1), ((1, 2, 4), 1), ((2, 5, 3), 1)]


@pytest.mark.parametrize(("shape", "axis"), ELEMENTS)
@pytest.mark.parametrize("known", [True, False])
def test_gather_elements(shape: tuple[int, ...], axis: int, known: bool) -> None:
    """Each index reads from its own row; rows beyond the indices are not read."""
    x = ramp(2, 3, 4)
    size = x.shape[axis]
    indices = np.random.default_rng(1).integers(-size, size, shape)
    if known:
        check(node_model("GatherElements", {"x": x}, constants={"i": indices}, axis=axis), x=x)
    else:
        check(node_model("GatherElements", {"x": x, "i": indices}, axis=axis), x=x, i=indices)


def test_gather_elements_with_too_many_rows_is_refused() -> None:
    """There is no third row to read from."""
    proto = node_model(
        "GatherElements", {"x": ramp(2, 3)}, constants={"i": np.zeros((3, 3), np.int64)}, axis=1
    )
    with pytest.raises(CompileError, match=r"indices \[3, 3\] for data \[2, 3\]"):
        import_model(proto)


VECTORS = [
    (np.array([[0, 2], [-1, 0]]), 0),
    (np.array([[[1, -1, 3]], [[0, 0, -4]]]), 0),
    (np.array([[1], [-1]]), 0),
    (np.array([[[0, 1], [2, -1]], [[1, 1], [-3, 0]]]), 1),
    (np.array([[2], [-1]]), 1),
    (np.array([[[1], [2], [3]], [[-1], [0], [-4]]]), 2),
]


@pytest.mark.parametrize(("indices", "batch"), VECTORS)
@pytest.mark.parametrize("known", [True, False])
def test_gather_nd(indices: Array, batch: int, known: bool) -> None:
    """Coordinates of any depth; batch axes put their own in front."""
    x = ramp(2, 3, 4)
    if known:
        check(node_model("GatherND", {"x": x}, constants={"i": indices}, opset=12, batch_dims=batch), x=x)
    else:
        check(node_model("GatherND", {"x": x, "i": indices}, opset=12, batch_dims=batch), x=x, i=indices)


def test_gather_nd_outside_is_refused() -> None:
    """The error names the dimensions."""
    proto = node_model("GatherND", {"x": ramp(2, 3)}, constants={"i": np.array([[0, 3]])})
    with pytest.raises(CompileError, match=r"outside of the dimensions \[2, 3\]"):
        import_model(proto)


@pytest.mark.parametrize("axis", [-1, 0, 1, -2])
@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.float32])
@pytest.mark.parametrize("opset", [9, 11])
def test_one_hot(axis: int, dtype: type, opset: int) -> None:
    """Negative indices count from the end, others outside are off everywhere."""
    indices = np.array([[0, 2, -1], [-3, 3, -4]], dtype)
    constants = {"depth": np.array([3], np.int64), "values": np.array([-1.5, 2.5], np.float32)}
    proto, reference = (
        node_model("OneHot", {"i": given}, constants=constants, opset=opset, axis=axis)
        for given in (indices, indices.astype(np.int64))  # onnxruntime takes int64 alone
    )
    (expected,) = run_onnxruntime(reference, {"i": indices.astype(np.int64)})
    (result,) = run_ours(proto, {"i": indices})
    np.testing.assert_array_equal(result, expected)
    assert result.dtype == expected.dtype


@pytest.mark.parametrize("axis", [-1, 0, 1])
def test_one_hot_of_a_computed_depth(axis: int) -> None:
    """How many entries there are is known when the model runs."""
    feeds = {"i": np.array([[0, 2, -1], [-3, 3, -4]]), "depth": np.array([3], np.int64)}
    constants = {"values": np.array([-1.5, 2.5], np.float32)}
    check(node_model("OneHot", feeds, constants=constants, axis=axis), **feeds)


@pytest.mark.parametrize(("time", "batch"), [(0, 1), (1, 0)])
@pytest.mark.parametrize("known", [True, False])
def test_reverse_sequence(time: int, batch: int, known: bool) -> None:
    """Each batch entry reverses its own number of steps."""
    x = ramp(4, 4, 2)
    lengths = np.array([1, 4, 2, 3], np.int64)
    axes = {"time_axis": time, "batch_axis": batch}
    if known:
        check(node_model("ReverseSequence", {"x": x}, constants={"n": lengths}, **axes), x=x)
    else:
        check(node_model("ReverseSequence", {"x": x, "n": lengths}, **axes), x=x, n=lengths)
