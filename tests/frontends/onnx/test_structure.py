"""Tensors made from shapes and numbers are constants, and shape arithmetic on them leaves no node."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from edgec.diagnostics import CompileError
from edgec.ir import Array
from tests.support.onnx_models import (
    check_against_onnxruntime,
    graph_model,
    import_model,
    node_model,
    run_ours,
)


def check(proto: onnx.ModelProto, **inputs: Array) -> list[str]:
    check_against_onnxruntime(proto, inputs, rtol=0, atol=0)
    return [node.kind for node in import_model(proto).graph]


def node(op_type: str, inputs: str, outputs: str, **attributes: object) -> onnx.NodeProto:
    return helper.make_node(op_type, inputs.split(), outputs.split(), **attributes)


CONSTANTS = [
    {"value": numpy_helper.from_array(np.array([[1, -2]], np.int64))},
    {"value": numpy_helper.from_array(np.array(2.5, np.float32))},
    {"value_float": 1.5},
    {"value_floats": [1.5, -0.0]},
    {"value_int": -3},
    {"value_ints": [4, 5, 6]},
]


@pytest.mark.parametrize("attributes", CONSTANTS, ids=lambda attributes: next(iter(attributes)))
@pytest.mark.parametrize("opset", [12, 13, 21])
def test_constant(attributes: dict[str, object], opset: int) -> None:
    """Every numeric form keeps its type and its shape."""
    proto = node_model("Constant", {}, opset=opset, **attributes)
    oracle = ReferenceEvaluator(proto).run(None, {})[0]
    (ours,) = run_ours(proto, {})
    np.testing.assert_array_equal(ours, oracle)
    assert (ours.shape, ours.dtype) == (oracle.shape, oracle.dtype)


def test_half_precision_constants_become_float32() -> None:
    """Kernels compute in float32; the values stay."""
    proto = node_model("Constant", {}, value=numpy_helper.from_array(np.array([0.5, 65504], np.float16)))
    (ours,) = run_ours(proto, {})
    np.testing.assert_array_equal(ours, np.array([0.5, 65504], np.float32))
    assert ours.dtype == np.float32


def test_text_constants_are_refused() -> None:
    """The error names the form."""
    with pytest.raises(CompileError, match="holds its data as value_string"):
        import_model(node_model("Constant", {}, value_string="text"))


@pytest.mark.parametrize(("start", "end"), [(None, None), (1, None), (-2, None), (0, -1), (1, 2), (-9, 9)])
@pytest.mark.parametrize("opset", [7, 13, 15, 21])
def test_shape(start: int | None, end: int | None, opset: int) -> None:
    """Bounds follow Python's rules (opset 15 on)."""
    bounds = {name: value for name, value in (("start", start), ("end", end)) if value is not None}
    if bounds and opset < 15:
        pytest.skip("bounds came with opset 15")
    x = np.zeros((2, 3, 4), np.float32)
    assert check(node_model("Shape", {"x": x}, opset=opset, **bounds), x=x) == []


def test_size() -> None:
    """The number of elements."""
    x = np.zeros((2, 3, 4), np.float32)
    assert check(node_model("Size", {"x": x}), x=x) == []


@pytest.mark.parametrize(
    "value", [None, np.array([7], np.int64), np.array([1.5], np.float32), np.array([True])]
)
@pytest.mark.parametrize("shape", [[2, 3], [1]])
def test_constant_of_shape(value: Array | None, shape: list[int]) -> None:
    """Zeros in float32 by default, else the value's type."""
    settings = {} if value is None else {"value": numpy_helper.from_array(value)}
    proto = node_model("ConstantOfShape", {}, constants={"shape": np.array(shape, np.int64)}, **settings)
    assert check(proto) == []


@pytest.mark.parametrize(
    ("start", "limit", "delta"), [(0, 5, 1), (10, 4, -2), (1, 8, 3), (0.0, 1.0, 0.3), (1.0, -1.0, -0.7)]
)
def test_range(start: float, limit: float, delta: float) -> None:
    """Counting in both directions, the limit excluded, in the type of the operands."""
    dtype = np.int64 if isinstance(start, int) else np.float32
    numbers = {"start": start, "limit": limit, "delta": delta}
    proto = node_model("Range", {}, constants={name: np.array(n, dtype) for name, n in numbers.items()})
    assert check(proto) == []


def test_range_that_never_ends_is_refused() -> None:
    """A delta of 0."""
    numbers = {"start": 0, "limit": 3, "delta": 0}
    with pytest.raises(CompileError, match="has a delta of 0"):
        import_model(node_model("Range", {}, constants={name: np.array(n) for name, n in numbers.items()}))


@pytest.mark.parametrize("settings", [{}, {"k": 1}, {"k": -2}, {"dtype": onnx.TensorProto.INT64}])
def test_eye_like(settings: dict[str, int]) -> None:
    """Ones on a diagonal, in the operand's shape."""
    x = np.zeros((3, 4), np.float32)
    assert check(node_model("EyeLike", {"x": x}, **settings), x=x) == []


@pytest.mark.parametrize("upper", [0, 1])
@pytest.mark.parametrize("k", [None, 0, 1, -1, 5, -5])
@pytest.mark.parametrize("dtype", [np.float32, np.int64])
def test_trilu(upper: int, k: int | None, dtype: type) -> None:
    """A triangle of every matrix, the rest 0 even where the input is infinite."""
    x = np.arange(24).reshape(2, 3, 4).astype(dtype)
    if dtype is np.float32:
        x[:, 2, 0], x[:, 0, 3] = np.inf, -np.inf
    constants = {} if k is None else {"k": np.array(k, np.int64)}
    assert check(node_model("Trilu", {"x": x}, constants=constants, upper=upper), x=x) == ["select_v2"]


@pytest.mark.parametrize("upper", [0, 1])
@pytest.mark.parametrize("k", [-5, -1, 0, 2, 5])
def test_trilu_with_a_computed_diagonal(upper: int, k: int) -> None:
    """The mask is a comparison when the diagonal is an input."""
    feeds = {"x": np.arange(24, dtype=np.float32).reshape(2, 3, 4), "k": np.array(k, np.int64)}
    check(node_model("Trilu", feeds, upper=upper), **feeds)


def test_identity() -> None:
    """A name for the value itself."""
    x = np.ones((2, 2), np.float32)
    assert check(node_model("Identity", {"x": x}), x=x) == []


def scalar(value: int) -> onnx.TensorProto:
    return numpy_helper.from_array(np.array(value, np.int64))


CHAINS = {
    "view(size(0), -1)": [
        node("Shape", "x", "shape"),
        node("Constant", "", "zero", value=scalar(0)),
        node("Gather", "shape zero", "batch"),
        node("Constant", "", "axes", value_ints=[0]),
        node("Unsqueeze", "batch axes", "batch1"),
        node("Constant", "", "rest", value_ints=[-1]),
        node("Concat", "batch1 rest", "target", axis=0),
        node("Reshape", "x target", "y"),
    ],
    "channels in two groups": [
        node("Shape", "x", "shape"),
        node("Constant", "", "one", value=scalar(1)),
        node("Gather", "shape one", "channels"),
        node("Constant", "", "two", value=scalar(2)),
        node("Div", "channels two", "half"),
        node("Mul", "half two", "again"),
        node("Sub", "again half", "half2"),
        node("Constant", "", "axes", value_ints=[0]),
        node("Unsqueeze", "half2 axes", "half1"),
        node("Constant", "", "ends", value_ints=[0, 2]),
        node("Concat", "ends half1", "target", axis=0),
        node("Constant", "", "rest", value_ints=[-1]),
        node("Concat", "target rest", "target4", axis=0),
        node("Reshape", "x target4", "y", allowzero=0),
    ],
    "floor of a float size": [
        node("Shape", "x", "shape", start=2),
        node("Cast", "shape", "floats", to=onnx.TensorProto.FLOAT),
        node("Constant", "", "scale", value_float=0.5),
        node("Mul", "floats scale", "scaled"),
        node("Floor", "scaled", "floored"),
        node("Cast", "floored", "ends", to=onnx.TensorProto.INT64),
        node("Constant", "", "starts", value_ints=[0, 0]),
        node("Constant", "", "axes", value_ints=[2, 3]),
        node("Slice", "x starts ends axes", "y"),
    ],
    "expand with where": [
        node("Constant", "", "wanted", value_ints=[2, -1, 4, 6]),
        node("Shape", "x", "shape"),
        node("Shape", "wanted", "count"),
        node("ConstantOfShape", "count", "ones", value=numpy_helper.from_array(np.array([1], np.int64))),
        node("Constant", "", "minus", value_int=-1),
        node("Mul", "ones minus", "minuses"),
        node("Equal", "wanted minuses", "keep"),
        node("Where", "keep ones wanted", "target"),
        node("Expand", "x target", "y"),
    ],
    "positions by range": [
        node("Shape", "x", "shape"),
        node("Constant", "", "last", value_int=-1),
        node("Gather", "shape last", "width"),
        node("Constant", "", "zero", value_int=0),
        node("Constant", "", "one", value_int=1),
        node("Range", "zero width one", "positions"),
        node("Constant", "", "axes", value_ints=[0]),
        node("Unsqueeze", "positions axes", "row"),
        node("Cast", "row", "floats", to=onnx.TensorProto.FLOAT),
        node("Add", "x floats", "y"),
    ],
    "product of dimensions": [
        node("Shape", "x", "shape", start=1),
        node("ReduceProd", "shape", "count", keepdims=1),
        node("Constant", "", "rest", value_ints=[-1]),
        node("Concat", "rest count", "target", axis=0),
        node("Reshape", "x target", "y"),
    ],
    "split by slices of the shape": [
        node("Shape", "x", "shape"),
        node("Constant", "", "s", value_ints=[1]),
        node("Constant", "", "e", value_ints=[2]),
        node("Slice", "shape s e", "channels"),
        node("Squeeze", "channels", "count"),
        node("Constant", "", "three", value_int=3),
        node("Mod", "count three", "rest"),
        node("Max", "rest three", "size"),
        node("Unsqueeze", "size zero_axis", "size1"),
        node("Sub", "channels size1", "other"),
        node("Concat", "size1 other", "sizes", axis=0),
        node("Split", "x sizes", "y z", axis=1),
    ],
}


@pytest.mark.parametrize("chain", CHAINS.values(), ids=CHAINS.keys())
def test_shape_arithmetic_disappears(chain: list[onnx.NodeProto]) -> None:
    """int64 survives every step, and only the nodes that touch the data remain."""
    x = np.arange(2 * 4 * 4 * 6, dtype=np.float32).reshape(2, 4, 4, 6)
    if "Expand" in [n.op_type for n in chain]:
        x = x[:, :, :1, :1].copy()
    constants = {"zero_axis": np.array([0], np.int64)}
    outputs = ["y", "z"] if "z" in chain[-1].output else ["y"]
    proto = graph_model(chain, {"x": x}, outputs, constants=constants)
    assert len(check(proto, x=x)) <= 2
