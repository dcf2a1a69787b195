"""Tensors of the float model beside those of the quantized one."""

from __future__ import annotations

import numpy as np

from edgec.causes.profile import histograms, layer_checks
from edgec.ir import Graph, Model, Port, TensorType
from edgec.ops import Builder
from edgec.ops.conv import Conv2DAttributes
from edgec.quantize import quantize_int8


def network() -> Model:
    """conv → reshape → relu, for images of 4x4."""
    graph = Graph()
    build = Builder(graph)
    x = graph.add_input("x", TensorType((1, 4, 4, 2)))
    weights = build.constant(np.random.default_rng(0).normal(size=(3, 1, 1, 2)).astype(np.float32))
    y = build.op(
        "conv_2d", [x, weights, build.constant(np.zeros(3, np.float32))], Conv2DAttributes(), name="y"
    )
    shape = build.constant(np.array([1, 48], np.int32))
    z = build.op("reshape", [y, shape], name="z")
    graph.set_outputs([build.op("relu", [z], name="out")])
    out = graph.outputs[0]
    return Model(graph, [Port("x", x.shape, x.dtype)], [Port("out", out.shape, out.dtype)])


RANGES = {"x": (-1.0, 1.0), "y": (-2.0, 2.0), "z": (-2.0, 2.0), "out": (0.0, 2.0)}
SAMPLES = [{"x": np.random.default_rng(1).uniform(-1, 1, (1, 4, 4, 2)).astype(np.float32)}]


def test_what_only_moves_data_is_no_layer() -> None:
    """A reshape says what its operand says; listing it would say everything twice."""
    found = layer_checks(network(), quantize_int8(network(), RANGES), SAMPLES)
    assert "reshape" not in [layer.kind for layer in found]
    assert {"conv_2d"} <= {layer.kind for layer in found}


def test_a_layer_that_kernels_renamed_is_found_by_its_source() -> None:
    """Kernel forms end in a tensor of another name; the node's name in the source stays."""
    quantized = quantize_int8(network(), RANGES)
    for node in quantized.graph:
        if node.results[0].name == "y":
            node.source, node.results[0].name = "y", "y_7"
    assert "y" in [layer.node for layer in layer_checks(network(), quantized, SAMPLES)]


def test_a_histogram_reaches_beyond_the_range_where_values_do() -> None:
    """Values up to about 2 in a range of half a unit: the window is the range and one width on each side."""
    narrow = RANGES | {"y": (-0.5, 0.5), "z": (-0.5, 0.5), "out": (0.0, 0.5)}
    quantized = quantize_int8(network(), narrow)
    found = histograms(network(), quantized, SAMPLES, layer_checks(network(), quantized, SAMPLES))
    (y,) = [item for item in found if item.tensor == "y"]
    width = y.range_high - y.range_low
    assert y.low >= y.range_low - width and y.high <= y.range_high + width
    assert y.low < y.range_low and y.high > y.range_high
    assert sum(y.counts) == 48
