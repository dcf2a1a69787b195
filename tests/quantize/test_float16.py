"""float16 weights: half the size, values within float16's 11 bits, arithmetic in float32."""

from __future__ import annotations

import numpy as np
import pytest

from edgec.emit import emit
from edgec.ir import DType, Model
from edgec.kernels import KernelSet, Runner
from edgec.quantize import quantize_float16
from tests.quantize.small_graphs import Sketch, kinds, run_float, samples


def network() -> Model:
    sketch = Sketch()
    x = sketch.depthwise(sketch.conv(sketch.input(1, 8, 8, 3), 32))
    return sketch.model(sketch.dense(sketch.build.reshape(x, [1, 2048]), 10, name="y"))


@pytest.mark.parametrize("kernels", list(KernelSet))
def test_values_are_those_of_rounded_weights(kernels: KernelSet) -> None:
    """float16 rounds to 2^-11 relative; sums of weights keep that order of error."""
    model = network()
    half = quantize_float16(model)
    sample = samples(model, 1)[0]
    (found,) = Runner(emit(half).to_bytes(), kernels=kernels).run([sample["x"]])
    (expected,) = run_float(model, sample)
    np.testing.assert_allclose(found, expected, atol=2**-10 * float(np.abs(expected).max()))


def test_weights_and_bias_are_float16_and_the_file_is_half_as_large() -> None:
    """Every weight and bias; interface and activations stay float32."""
    model = network()
    half = quantize_float16(model)
    constants = [value for value in half.graph.constants() if value.dtype.is_float]
    assert {value.dtype for value in constants} == {DType.FLOAT16}
    assert emit(half).size < 0.55 * emit(model).size
    assert [port.dtype for port in (*half.inputs, *half.outputs)] == [DType.FLOAT32, DType.FLOAT32]
    assert half.graph.outputs[0].name == "y"


def test_the_delegate_takes_the_graph_in_one_piece() -> None:
    """It folds the dequantize nodes while it prepares."""
    partitions = Runner(emit(quantize_float16(network())).to_bytes()).partitions()
    assert (partitions.delegated, partitions.outside) == (1, ())


def test_a_constant_read_twice_is_expanded_once() -> None:
    """Two dense layers with the same weights and bias: two dequantize nodes in all."""
    sketch = Sketch()
    x = sketch.input(1, 16)
    shared = [sketch.weights(16, 16, fan_in=16), sketch.bias(16)]
    y = sketch.build.op("fully_connected", [x, *shared])
    model = sketch.model(sketch.build.op("fully_connected", [y, *shared]))
    assert kinds(quantize_float16(model)).count("dequantize") == 2


@pytest.mark.parametrize("value", [1e5, 1e-6])
def test_constants_that_float16_cannot_hold_stay_float32(value: float) -> None:
    """1e5 would become infinity, 1e-6 would keep four bits."""
    sketch = Sketch()
    weights = sketch.build.constant(np.full((4, 16), value, np.float32))
    model = sketch.model(sketch.build.op("fully_connected", [sketch.input(1, 16), weights, None]))
    assert kinds(quantize_float16(model)) == ["fully_connected"]


def test_small_operands_of_arithmetic_stay_float32() -> None:
    """A scalar addend saves two bytes and would cost a node."""
    sketch = Sketch()
    model = sketch.model(sketch.build.op("add", [sketch.input(1, 16), sketch.build.constant(0.1)]))
    assert kinds(quantize_float16(model)) == ["add"]
