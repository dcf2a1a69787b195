"""Clamps at 6 around tensors whose integers end far below: they clip nothing, and kernels refuse them."""

from __future__ import annotations

import numpy as np
import pytest

from edgec.emit import emit
from edgec.ir import DType, Graph, Model, Port, Quantization, TensorType, Value
from edgec.kernels import KernelError, KernelSet, Runner
from edgec.ops import ActivationFunctionType, Builder
from edgec.ops.conv import Conv2DAttributes
from edgec.ops.pool import Pool2DAttributes
from edgec.passes.canonicalize.matching import activation_of
from edgec.quantize import quantize_int8
from edgec.quantize.idle_bounds import drop_idle_bounds
from tests.quantize.small_graphs import RELU6, Sketch, calibrated, kinds, output_sqnr

SMALL = 1e-12
RELU = ActivationFunctionType.RELU
CONVOLUTION = Conv2DAttributes(fused_activation_function=RELU6)
NODES = [("relu6", "relu"), ("relu_n1_to_1", "quantize"), ("relu", "relu")]


def weak(size: float) -> Model:
    """relu6 fused into a convolution and as a node, around activations of this size."""
    sketch = Sketch()
    x = sketch.build.op("mul", [sketch.input(1, 6, 6, 3), sketch.build.constant(size)])
    weights, zeros = sketch.weights(4, 3, 3, 3, fan_in=27), sketch.build.constant(np.zeros(4, np.float32))
    x = sketch.build.op("conv_2d", [x, weights, zeros], CONVOLUTION)
    return sketch.model(sketch.build.op("relu6", [x]))


def integer(kind: str, scale: float) -> Model:
    """One int8 activation node of its own."""
    graph = Graph()
    form = Quantization.per_tensor(scale, -3)
    x = graph.add_input("x", TensorType((1, 2, 2, 4), DType.INT8, form))
    y = Builder(graph).op(kind, [x])
    y.type = TensorType(y.shape, DType.INT8, form)
    graph.set_outputs([y])
    return Model(graph, [Port("x", x.shape, x.dtype)], [Port("y", y.shape, y.dtype)])


@pytest.mark.parametrize("kernels", list(KernelSet))
def test_tiny_activations_load_everywhere(kernels: KernelSet) -> None:
    """LiteRT refuses a relu6 whose 6 does not fit 32 bits of steps; relu says the same."""
    model = weak(SMALL)
    made = quantize_int8(model, calibrated(model))
    assert RELU6 not in map(activation_of, made.graph) and "relu6" not in kinds(made)
    (db,) = output_sqnr(weak(SMALL), made, kernels)
    assert db > 30


def test_the_refusal_is_real() -> None:
    """The same file with relu6 put back does not load: should it, the rewrite has had its day."""
    model = weak(SMALL)
    made = quantize_int8(model, calibrated(model))
    for node in made.graph:
        if node.kind == "conv_2d":
            node.attributes = CONVOLUTION
    with pytest.raises(KernelError, match="no_integer_overflow_from_quantization"):
        Runner(emit(made).to_bytes(), kernels=KernelSet.BUILTIN)


def test_bounds_that_can_clip_stay() -> None:
    """At ordinary scales nothing changes, even where the calibrated range ends below 6."""
    model = weak(1.0)
    made = quantize_int8(model, calibrated(model))
    assert [activation_of(node) for node in made.graph if node.kind == "conv_2d"] == [RELU6]
    assert "relu6" in kinds(made)


@pytest.mark.parametrize(
    ("kind", "left"), [("relu6", "relu"), ("relu_n1_to_1", "quantize"), ("relu", "relu")]
)
def test_nodes_of_their_own_are_weakened(kind: str, left: str) -> None:
    """relu keeps its lower bound, 0; between -1 and 1 lies everything."""
    model = integer(kind, SMALL)
    drop_idle_bounds(model.graph)
    assert kinds(model) == [left]
    x = np.arange(-8, 8, dtype=np.int8).reshape(1, 2, 2, 4)
    (y,) = Runner(emit(model).to_bytes(), kernels=KernelSet.BUILTIN).run([x])
    np.testing.assert_array_equal(y, np.maximum(x, -3) if left == "relu" else x)


def test_a_pool_is_weakened_like_a_convolution() -> None:
    """Whatever carries a fused activation."""
    graph = Graph()
    form = Quantization.per_tensor(SMALL, -128)
    x = graph.add_input("x", TensorType((1, 2, 2, 4), DType.INT8, form))
    y: Value = Builder(graph).op("max_pool_2d", [x], Pool2DAttributes(fused_activation_function=RELU6))
    y.type = TensorType(y.shape, DType.INT8, form)
    graph.set_outputs([y])
    drop_idle_bounds(graph)
    assert y.producer is not None and activation_of(y.producer) is RELU
