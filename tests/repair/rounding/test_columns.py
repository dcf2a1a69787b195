"""Columns times weights are what the kernel computes, for every weighted kind."""

from __future__ import annotations

import numpy as np
import pytest

from edgec.ir import Array, Attributes, Value
from edgec.ops import Padding
from edgec.ops.conv import Conv2DAttributes, DepthwiseConv2DAttributes, TransposeConvAttributes
from edgec.ops.matmul import FullyConnectedAttributes
from edgec.quantize.parameters import Floats
from edgec.repair.rounding.columns import Columns
from edgec.repair.rounding.layers import Layer, weighted_layers
from tests.quantize.small_graphs import Sketch, run_float, samples

SAME, VALID = Padding.SAME, Padding.VALID

CASES: dict[str, tuple[str, tuple[int, ...], tuple[int, ...], Attributes]] = {
    "conv_valid": ("conv_2d", (2, 6, 7, 3), (4, 3, 2, 3), Conv2DAttributes(VALID)),
    "conv_same_strided": ("conv_2d", (1, 7, 8, 3), (4, 3, 3, 3), Conv2DAttributes(SAME, 2, 3)),
    "conv_stride_past_kernel": ("conv_2d", (1, 7, 7, 3), (4, 1, 1, 3), Conv2DAttributes(SAME, 2, 2)),
    "conv_dilated": (
        "conv_2d",
        (1, 9, 9, 2),
        (4, 3, 3, 2),
        Conv2DAttributes(SAME, dilation_w_factor=2, dilation_h_factor=3),
    ),
    "conv_grouped": ("conv_2d", (1, 6, 6, 6), (4, 3, 3, 3), Conv2DAttributes(SAME)),
    "depthwise": ("depthwise_conv_2d", (1, 6, 7, 3), (1, 3, 3, 3), DepthwiseConv2DAttributes(SAME, 2, 2)),
    "multiplier": (
        "depthwise_conv_2d",
        (1, 6, 6, 2),
        (1, 3, 5, 6),
        DepthwiseConv2DAttributes(VALID, depth_multiplier=3),
    ),
    "dense": ("fully_connected", (3, 5), (4, 5), FullyConnectedAttributes()),
    "dense_rank_3": ("fully_connected", (2, 3, 5), (4, 5), FullyConnectedAttributes(keep_num_dims=True)),
    "dense_flattens": ("fully_connected", (2, 4, 5), (4, 10), FullyConnectedAttributes()),
}

TRANSPOSED = {
    "valid": ((1, 4, 5, 3), (2, 3, 3, 3), (1, 9, 11, 2), TransposeConvAttributes(VALID, 2, 2)),
    "same": ((1, 4, 5, 3), (2, 3, 3, 3), (1, 8, 10, 2), TransposeConvAttributes(SAME, 2, 2)),
    "same_odd": ((1, 4, 5, 3), (2, 4, 4, 3), (1, 7, 9, 2), TransposeConvAttributes(SAME, 2, 2)),
    "kernel_below_stride": ((1, 3, 3, 3), (2, 2, 2, 3), (1, 9, 9, 2), TransposeConvAttributes(SAME, 3, 3)),
    "stride_1": ((1, 5, 5, 2), (3, 5, 3, 2), (1, 5, 5, 3), TransposeConvAttributes(SAME, 1, 1)),
}


def by_group(layer: Layer, rows: Array) -> Floats:
    """Rows [positions, taps, channels] as columns [groups, positions, columns]."""
    split = rows.reshape(*rows.shape[:2], layer.groups, -1)
    return split.transpose(2, 0, 1, 3).reshape(layer.groups, len(rows), -1).astype(np.float64)


def assert_columns_are_the_kernel(sketch: Sketch, result: Value) -> None:
    """Compare every output position with the kernel's, in float32's accuracy."""
    model = sketch.model(result)
    (sample,) = samples(model, 1)
    (layer,) = weighted_layers(model.graph)
    array = sample[model.inputs[0].name].astype(np.float64)
    columns = Columns(layer, array.shape)
    x = by_group(layer, columns.at(array, np.arange(columns.positions)))
    y = x @ layer.matrix(layer.weights.constant()).transpose(0, 2, 1) + layer.bias()[:, None]
    found = y.transpose(1, 0, 2).reshape(-1)
    (expected,) = run_float(model, sample)
    np.testing.assert_allclose(found, expected.reshape(-1).astype(np.float64), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("case", CASES)
def test_columns_times_weights_are_the_kernels_result(case: str) -> None:
    """For all output positions, to float32's rounding."""
    kind, shape, weights, attributes = CASES[case]
    sketch = Sketch(seed=3)
    outputs = weights[3] if kind == "depthwise_conv_2d" else weights[0]
    operands = [sketch.input(*shape), sketch.weights(*weights, fan_in=9), sketch.bias(outputs)]
    assert_columns_are_the_kernel(sketch, sketch.build.op(kind, operands, attributes))


@pytest.mark.parametrize("case", TRANSPOSED)
def test_columns_of_a_transposed_convolution(case: str) -> None:
    """The window over the spread-out input meets the taps in reverse order; here without bias."""
    shape, weights, output, attributes = TRANSPOSED[case]
    sketch = Sketch(seed=3)
    target = sketch.build.constant(np.array(output, np.int32))
    operands = [target, sketch.weights(*weights, fan_in=9), sketch.input(*shape)]
    assert_columns_are_the_kernel(sketch, sketch.build.op("transpose_conv", operands, attributes))


def test_positions_are_picked_from_all() -> None:
    """Picking positions gives the same rows as taking all and picking afterwards."""
    sketch = Sketch(seed=3)
    model = sketch.model(sketch.conv(sketch.input(2, 5, 6, 3), 4))
    (layer,) = weighted_layers(model.graph)
    x = samples(model, 1)[0]["x"]
    columns = Columns(layer, x.shape)
    whole = columns.at(x, np.arange(columns.positions))
    picked = np.array([0, 7, 31, 59])
    assert columns.positions == 60
    np.testing.assert_array_equal(columns.at(x, picked), whole[picked])


def test_padding_reads_the_zero_point() -> None:
    """Stored integers stay integers, and the taps outside mean 0: corners have five of nine of them."""
    sketch = Sketch(seed=3)
    model = sketch.model(sketch.conv(sketch.input(1, 4, 4, 2), 4))
    (layer,) = weighted_layers(model.graph)
    x = np.full((1, 4, 4, 2), 9, np.int8)
    rows = Columns(layer, x.shape).at(x, np.array([0, 5, 15]), zero=-7)
    assert rows.dtype == np.int8
    assert [(row == -7).sum() for row in rows] == [5 * 2, 0, 5 * 2]


@pytest.mark.parametrize("kind", ["conv_2d", "depthwise_conv_2d", "fully_connected"])
def test_a_matrix_goes_back_into_the_tensor_it_came_from(kind: str) -> None:
    """`tensor` undoes `matrix`, also for several outputs in a group."""
    shape = {"conv_2d": (4, 3, 3, 3), "depthwise_conv_2d": (1, 3, 5, 6), "fully_connected": (4, 5)}[kind]
    case = {"conv_2d": "conv_grouped", "depthwise_conv_2d": "multiplier", "fully_connected": "dense"}[kind]
    sketch = Sketch(seed=3)
    outputs = shape[3] if kind == "depthwise_conv_2d" else shape[0]
    operands = [sketch.input(*CASES[case][1]), sketch.weights(*shape, fan_in=9), sketch.bias(outputs)]
    model = sketch.model(sketch.build.op(kind, operands, CASES[case][3]))
    (layer,) = weighted_layers(model.graph)
    weights = layer.weights.constant()
    np.testing.assert_array_equal(layer.tensor(layer.matrix(weights)).astype(np.float32), weights)
