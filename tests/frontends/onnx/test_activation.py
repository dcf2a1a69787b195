"""Activations equal onnxruntime's at ordinary values, at the borders of their pieces and far outside.

float32 formulas of a few operations round each to 6e-8; RTOL and ATOL leave room for ten of them.
"""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper

from edgec.diagnostics import CompileError
from edgec.ir import Array
from edgec.ops.erf import erf_argument
from tests.support.onnx_models import (
    check_against_onnxruntime,
    graph_model,
    import_model,
    node_model,
    run_onnxruntime,
    run_ours,
)

RTOL, ATOL = 1e-6, 6e-7

_MAGNITUDES = [
    0.0,
    1e-30,
    1e-7,
    1e-3,
    0.4,
    0.5,
    0.999,
    1.0,
    1.5,
    2.5,
    3.0,
    3.2,
    6.0,
    6.5,
    19.0,
    21.0,
    88.0,
    1e4,
]
VALUES = np.array([-m for m in _MAGNITUDES[::-1]] + _MAGNITUDES + [1e30, -1e30], np.float32).reshape(
    1, 2, 1, -1
)
INFINITE = np.array([-np.inf, -1.0, 2.0, np.inf], np.float32)

FLOAT_ACTIVATIONS = [
    ("Relu", (7, 13, 14, 22), {}),
    ("Sigmoid", (7, 13, 22), {}),
    ("Tanh", (7, 13, 22), {}),
    ("LeakyRelu", (7, 16, 22), {}),
    ("LeakyRelu", (16,), {"alpha": 0.3}),
    ("LeakyRelu", (16,), {"alpha": -0.5}),
    ("LeakyRelu", (16,), {"alpha": 2.0}),
    ("Elu", (7, 22), {}),
    ("Elu", (7,), {"alpha": 0.3}),
    ("Elu", (7,), {"alpha": -2.0}),
    ("Selu", (7, 22), {}),
    ("Selu", (7,), {"alpha": 0.5, "gamma": 2.0}),
    ("Celu", (12,), {}),
    ("Celu", (12,), {"alpha": 0.2}),
    ("Celu", (12,), {"alpha": 3.0}),
    ("HardSigmoid", (7, 22), {}),
    ("HardSigmoid", (7,), {"alpha": 1 / 6, "beta": 0.5}),
    ("HardSigmoid", (7,), {"alpha": -0.4, "beta": 0.1}),
    ("HardSwish", (14, 22), {}),
    ("Softplus", (7, 22), {}),
    ("Softsign", (7, 22), {}),
    ("ThresholdedRelu", (10, 22), {}),
    ("ThresholdedRelu", (10,), {"alpha": -1.5}),
    ("Gelu", (20,), {}),
    ("Gelu", (20,), {"approximate": "tanh"}),
    ("Mish", (18, 22), {}),
    ("Swish", (24,), {}),
    ("Swish", (24,), {"alpha": 1.702}),
    ("Shrink", (9,), {}),
    ("Shrink", (9,), {"lambd": 1.5, "bias": 0.25}),
    ("Erf", (9, 13), {}),
]


@pytest.mark.parametrize(
    ("op_type", "opset", "attributes"),
    [(op, opset, a) for op, opsets, a in FLOAT_ACTIVATIONS for opset in opsets],
)
def test_equals_onnxruntime(op_type: str, opset: int, attributes: dict[str, object]) -> None:
    """Every activation, in every opset that changed it, with default and unusual settings."""
    proto = node_model(op_type, {"x": VALUES}, opset=opset, **attributes)
    check_against_onnxruntime(proto, {"x": VALUES}, rtol=RTOL, atol=ATOL)


@pytest.mark.parametrize(
    "op_type", ["Relu", "Sigmoid", "Tanh", "Elu", "Celu", "HardSigmoid", "ThresholdedRelu", "Erf"]
)
def test_infinities(op_type: str) -> None:
    """Infinite input gives the limit, never NaN."""
    proto = node_model(op_type, {"x": INFINITE}, opset=17)
    check_against_onnxruntime(proto, {"x": INFINITE}, rtol=RTOL, atol=ATOL)


@pytest.mark.parametrize("op_type", ["Selu", "Softplus"])
def test_infinities_of_sums(op_type: str) -> None:
    """Sums saturate at the largest float instead of becoming infinite: the add kernel clamps."""
    expected = run_onnxruntime(node_model(op_type, {"x": INFINITE}), {"x": INFINITE})[0]
    (result,) = run_ours(node_model(op_type, {"x": INFINITE}), {"x": INFINITE})
    largest = np.finfo(np.float32).max
    np.testing.assert_allclose(result, np.minimum(expected, largest), rtol=RTOL, atol=ATOL)


def test_erf_keeps_its_digits_near_zero() -> None:
    """erf(x) → 2x/√π: a relative error of a few float32 steps where absolute ones would hide everything."""
    x = np.array([1e-30, -1e-20, 1e-10, 1e-5, -1e-3, 0.1], np.float32)
    proto = node_model("Erf", {"x": x})
    check_against_onnxruntime(proto, {"x": x}, rtol=5e-7, atol=0)


def test_erf_is_recognized_again() -> None:
    """The value that erf became names its argument; other quotients do not."""
    nodes = [
        helper.make_node("Erf", ["x"], ["y0"]),
        helper.make_node("Softsign", ["x"], ["y1"]),
        helper.make_node("Sigmoid", ["x"], ["y2"]),
    ]
    graph = import_model(graph_model(nodes, {"x": VALUES}, ["y0", "y1", "y2"])).graph
    assert [erf_argument(value) for value in graph.outputs] == [graph.inputs[0], None, None]
    assert erf_argument(graph.inputs[0]) is None


CLIP_BOUNDS = [
    (0.0, None, "relu"),
    (0.0, 6.0, "relu6"),
    (-1.0, 1.0, "relu_n1_to_1"),
    (0.0, 1.0, "maximum minimum"),
    (-0.5, 6.0, "maximum minimum"),
    (None, 1.5, "minimum"),
    (-2.0, None, "maximum"),
    (2.0, -2.0, "maximum minimum"),
    (None, None, ""),
    (float(np.finfo(np.float32).min), float(np.finfo(np.float32).max), ""),
    (0.0, float(np.inf), "relu"),
]


@pytest.mark.parametrize(("low", "high", "kinds"), CLIP_BOUNDS)
@pytest.mark.parametrize("opset", [7, 11, 13])
def test_clip(low: float | None, high: float | None, kinds: str, opset: int) -> None:
    """Bounds as attributes (before opset 11) or operands become a relu kernel where that is exact."""
    bounds = {name: value for name, value in (("min", low), ("max", high)) if value is not None}
    if opset < 11:
        proto = node_model("Clip", {"x": VALUES}, opset=opset, **bounds)
    else:
        order = ["x", *(name if name in bounds else "" for name in ("min", "max"))]
        constants = {name: np.float32(value) for name, value in bounds.items()}
        proto = node_model("Clip", {"x": VALUES}, constants=constants, order=order, opset=opset)
    assert [node.kind for node in import_model(proto).graph] == kinds.split()
    if opset < 11 and low is not None and high is not None and low > high:
        return  # onnxruntime refuses such attributes
    check_against_onnxruntime(proto, {"x": VALUES}, rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32, np.int64])
def test_clip_of_integers(dtype: type) -> None:
    """Integers clip exactly, in their own type."""
    x = np.array([0, 1, 5, 100, 127], dtype)
    bounds = {"min": np.array(1, dtype), "max": np.array(100, dtype)}
    check_against_onnxruntime(node_model("Clip", {"x": x}, constants=bounds, opset=12), {"x": x}, rtol=0)


def test_clip_with_bounds_known_at_run_time() -> None:
    """A computed bound is an operand like any other."""
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["low"], keepdims=0),
        helper.make_node("Clip", ["x", "low"], ["y"]),
    ]
    x = np.array([[1.0, 2.0], [3.0, 6.0]], np.float32)
    check_against_onnxruntime(graph_model(nodes, {"x": x}, ["y"], opset=13), {"x": x}, rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [np.int8, np.int32])
def test_relu_of_integers(dtype: type) -> None:
    """Integers have no relu kernel without a scale: max(x, 0) is the same."""
    x = np.array([-128, -1, 0, 1, 127], dtype)
    check_against_onnxruntime(node_model("Relu", {"x": x}, opset=14), {"x": x}, rtol=0)


SLOPES = [(3, 1, 1), (1, 3, 1, 1), (4,), (1,), (), (3, 1, 4), (1, 3, 2, 4)]


@pytest.mark.parametrize("shape", SLOPES)
@pytest.mark.parametrize("opset", [7, 9, 16])
def test_prelu(shape: tuple[int, ...], opset: int) -> None:
    """A slope broadcasts to the channels-first input as NumPy does, whatever its rank."""
    generator = np.random.default_rng(7)
    x = generator.standard_normal((1, 3, 2, 4)).astype(np.float32)
    slope = generator.standard_normal(shape).astype(np.float32)
    proto = node_model("PRelu", {"x": x}, constants={"slope": slope}, opset=opset)
    check_against_onnxruntime(proto, {"x": x}, rtol=RTOL, atol=ATOL)


def test_prelu_with_one_slope_is_a_leaky_relu() -> None:
    """Every channel has the same slope: the kernel with one number delegates in int8, too."""
    x = VALUES.reshape(1, 2, -1)
    proto = node_model("PRelu", {"x": x}, constants={"slope": np.full((2, 1), 0.25, np.float32)}, opset=16)
    assert [node.kind for node in import_model(proto).graph] == ["leaky_relu"]
    check_against_onnxruntime(proto, {"x": x}, rtol=RTOL, atol=ATOL)


def test_prelu_refuses_a_slope_that_would_widen_the_result() -> None:
    """The error shows both shapes and how to write the slope."""
    slope: Array = np.ones((5, 1, 3, 2, 4), np.float32)
    with pytest.raises(CompileError, match=r"slope \[5, 1, 3, 2, 4\] that does not broadcast .*\[C, 1, 1\]"):
        import_model(
            node_model("PRelu", {"x": np.ones((1, 3, 2, 4), np.float32)}, constants={"slope": slope})
        )


def test_celu_refuses_what_it_cannot_express() -> None:
    """A negative alpha turns the exponential around."""
    with pytest.raises(CompileError, match="has alpha -1"):
        import_model(node_model("Celu", {"x": VALUES}, alpha=-1.0))


def test_shrink_refuses_integers() -> None:
    """The error says what to do instead."""
    with pytest.raises(CompileError, match=r"shrinks int32.*Cast to float32"):
        import_model(node_model("Shrink", {"x": np.arange(4, dtype=np.int32)}))


def test_hard_sigmoid_of_mobile_networks_needs_no_product_before_relu6() -> None:
    """alpha 1/6 makes the line x + 3: add, relu6, mul are what the int8 delegate takes."""
    proto = node_model("HardSigmoid", {"x": VALUES}, alpha=1 / 6, beta=0.5)
    assert [node.kind for node in import_model(proto).graph] == ["add", "relu6", "mul"]
    assert run_ours(proto, {"x": VALUES})[0].max() == 1.0
