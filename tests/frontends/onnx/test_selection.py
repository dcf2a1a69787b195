"""Operators whose results are as large as the data says: onnxruntime's numbers and sizes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from edgec.diagnostics import CompileError
from edgec.ir import Array
from tests.support.control_flow import check, compiled, model, node

EXAMPLES = settings(max_examples=25, derandomize=True, deadline=None)


def random_ints(seed: int, *shape: int) -> Array:
    return np.random.default_rng(seed).integers(-1, 2, shape)


@pytest.mark.parametrize("dtype", [np.float32, np.int32, np.int64, np.uint8, bool])
def test_nonzero(dtype: Any) -> None:
    """Coordinates in rows of their axes, in row-major order; none and all are answers, too."""
    samples = [{"x": abs(random_ints(seed, 3, 4)).astype(dtype)} for seed in range(2)]
    samples += [{"x": np.zeros((3, 4), dtype)}, {"x": np.ones((3, 4), dtype)}]
    check(model([node("NonZero", ["x"], ["y"])], samples[0], ["y"]), *samples, rtol=0, atol=0)


def test_what_follows_works_on_the_rows_found() -> None:
    """Rows are gathered, scaled, summed: shapes stay open on the way, ranks are known."""
    nodes = [
        node("NonZero", ["m"], ["n"]),
        node("Squeeze", ["n", "zero"], ["i"]),
        node("Gather", ["x", "i"], ["r"], axis=0),
        node("Mul", ["r", "two"], ["d"]),
        node("ReduceSum", ["d", "one"], ["y"], keepdims=0),
        node("Shape", ["d"], ["s"]),
    ]
    constants = {"zero": np.array([0]), "one": np.array([1]), "two": np.float32(2)}
    x = np.arange(12, dtype=np.float32).reshape(6, 2)
    samples = [{"m": random_ints(seed, 6), "x": x} for seed in range(3)]
    result = check(model(nodes, samples[0], ["d", "y", "s"], constants=constants), *samples)
    assert [item.shape for item in result.report.outputs] == [(-1, 2), (-1,), (2,)]


@pytest.mark.parametrize("axis", [None, 0, 1, -1])
def test_compress(axis: int | None) -> None:
    """Entries where the condition holds; it may be shorter than the axis."""
    attributes = {} if axis is None else {"axis": axis}
    x = np.arange(6, dtype=np.float32).reshape(3, 2)
    samples = [{"x": x, "c": np.array(c)} for c in ([True, False], [False, True], [False, False])]
    check(model([node("Compress", ["x", "c"], ["y"], **attributes)], samples[0], ["y"]), *samples)


@EXAMPLES
@given(st.integers(0, 99), st.sampled_from([None, 0, 1, -1]), st.integers(0, 1))
def test_unique(seed: int, axis: int | None, ordered: int) -> None:
    """Entries or slices, sorted or as they come, with first places, inverse places and counts."""
    attributes = {"sorted": ordered} | ({} if axis is None else {"axis": axis})
    x = random_ints(seed, 4, 3).astype(np.float32)
    names = ["y", "first", "inverse", "counts"]
    check(model([node("Unique", ["x"], names, **attributes)], {"x": x}, names), {"x": x}, rtol=0, atol=0)


def test_unique_of_too_many_is_refused() -> None:
    """All slices are compared with all."""
    proto = model([node("Unique", ["x"], ["y"])], {"x": np.zeros(5000, np.float32)}, ["y"])
    with pytest.raises(CompileError, match=r"finds what is unique among float32\[5000\]"):
        compiled(proto)


def test_operators_that_need_the_shape_say_so() -> None:
    """A lowering that is not written for open shapes is never asked: its numbers could be wrong."""
    nodes = [node("NonZero", ["x"], ["n"]), node("Cast", ["n"], ["f"], to=1), node("Hardmax", ["f"], ["y"])]
    proto = model(nodes, {"x": np.ones((2, 3), np.float32)}, ["y"])
    with pytest.raises(CompileError, match="whose shape is known at run time only"):
        compiled(proto)


def test_declared_shapes_of_inner_results_settle_open_ones() -> None:
    """A loop whose body declares the shape of its row collects it, although its bounds are computed."""
    from onnx import numpy_helper

    one = helper.make_tensor("one", TensorProto.INT64, [1], [1])
    x = np.arange(5, dtype=np.float32)
    nodes = [
        node("Reshape", ["i", "one"], ["a"]),
        node("Add", ["a", "one"], ["b"]),
        node("Slice", ["x", "a", "b"], ["row"]),
        node("Identity", ["going"], ["on"]),
    ]
    body = helper.make_graph(
        nodes,
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("going", TensorProto.BOOL, []),
        ],
        [
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("row", TensorProto.FLOAT, [1]),
        ],
    )
    proto = model([node("Loop", ["m", ""], ["y"], body=body)], {"m": np.array(3), "x": x}, ["y"])
    proto.graph.initializer.append(numpy_helper.from_array(numpy_helper.to_array(one), "one"))
    check(proto, *({"m": np.array(count), "x": x} for count in (3, 5)))


@pytest.mark.parametrize("keepdims", [0, 1])
def test_places_of_the_largest_in_open_shapes(keepdims: int) -> None:
    """How many rows there are is not known: places cannot be counted from the end of their axis."""
    x = np.arange(12, dtype=np.float32).reshape(6, 2)
    nodes = [
        node("Compress", ["x", "c"], ["r"], axis=0),
        node("ArgMax", ["r"], ["i"], axis=1, keepdims=keepdims),
        node("ArgMax", ["r"], ["j"], axis=0, keepdims=keepdims),
    ]
    samples = [{"x": x, "c": np.array(c)} for c in ([True, False, True], [False, True, False])]
    check(model(nodes, samples[0], ["i", "j"]), *samples)
    nodes[2] = node("ArgMax", ["r"], ["j"], axis=0, select_last_index=1)
    with pytest.raises(CompileError, match="counts from the end of an axis of"):
        compiled(model(nodes, samples[0], ["i", "j"]))
