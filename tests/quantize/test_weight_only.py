"""Weights stored as integers, arithmetic in float: every kind of weights, every set of kernels.

The oracle is the float model with the rounded weights: what runs must be that, to float's own rounding
(120 dB), on all kernels. How much the rounding costs is the scales' business (40 dB for int8, see
`test_int16x8`; 18 dB for int4: 7 steps either way are 25 dB less than 127).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from edgec.emit import emit
from edgec.ir import Array, DType, Model, TensorType, Value
from edgec.kernels import KernelSet, Runner
from edgec.ops.conv import TransposeConvAttributes
from edgec.ops.matmul import BatchMatMulAttributes
from edgec.ops.recurrent import UnidirectionalSequenceLSTMAttributes
from edgec.ops.slicing import GatherAttributes
from edgec.quantize import ChosenWeights, check_quantized, quantize_weight_only
from edgec.quantize.parameters import along_axis
from tests.quantize.small_graphs import RELU6, Sketch, kinds, sqnr

FLOAT_DB = 120
SIZES = {DType.INT8: 40, DType.INT4: 18}


def conv() -> Model:
    sketch = Sketch(1)
    return sketch.model(sketch.conv(sketch.input(1, 6, 6, 8), 15, name="y"))


def depthwise() -> Model:
    sketch = Sketch(2)
    return sketch.model(sketch.depthwise(sketch.input(1, 6, 6, 115), fused=RELU6, name="y"))


def dense() -> Model:
    sketch = Sketch(3)
    return sketch.model(sketch.dense(sketch.input(2, 35), 31, name="y"))


def transposed() -> Model:
    sketch = Sketch(4)
    shape = sketch.build.constant([1, 11, 11, 8])
    operands = [shape, sketch.weights(8, 3, 3, 16, fan_in=60), sketch.input(1, 5, 5, 16), sketch.bias(8)]
    attributes = TransposeConvAttributes(stride_w=2, stride_h=2)
    return sketch.model(sketch.build.op("transpose_conv", operands, attributes, "y"))


def product() -> Model:
    sketch = Sketch(5)
    operands = [sketch.input(2, 3, 32), sketch.weights(2, 32, 16, fan_in=32)]
    return sketch.model(sketch.build.op("batch_matmul", operands, name="y"))


def transposed_product() -> Model:
    sketch = Sketch(6)
    operands = [sketch.input(2, 3, 32), sketch.weights(2, 16, 32, fan_in=32)]
    return sketch.model(sketch.build.op("batch_matmul", operands, BatchMatMulAttributes(adj_y=True), "y"))


def embedding() -> Model:
    """Rows of very different size: a scale each."""
    sketch = Sketch(7)
    rows = np.geomspace(0.01, 10, 65, dtype=np.float32)[:, None] * sketch.rng.normal(size=(65, 16))
    table = sketch.build.constant(rows.astype(np.float32))
    indices = sketch.input(20, dtype=DType.INT32)
    return sketch.model(sketch.build.op("gather", [table, indices], GatherAttributes(axis=0), "y"))


MODELS = (conv, depthwise, dense, transposed, product, transposed_product, embedding)


def feeds(model: Model) -> list[Array]:
    rng = np.random.default_rng(11)
    return [
        rng.normal(size=port.shape).astype(np.float32)
        if port.dtype is DType.FLOAT32
        else rng.integers(0, 50, port.shape).astype(np.int32)
        for port in model.inputs
    ]


def stored_weights(made: Model) -> Value:
    """What the first node, a dequantize, reads."""
    return next(iter(made.graph)).operand(0)


def with_stored_weights(model: Model, made: Model) -> Model:
    """The float model, its constants replaced by what the integers of the other stand for."""
    for node, other in zip(model.graph, [n for n in made.graph if n.kind != "dequantize"], strict=True):
        for index, value in enumerate(other.operands):
            if value is not None and value.producer is not None:
                stored = value.producer.operand(0)
                assert stored.type.quantization is not None
                scale, _ = along_axis(stored.type.quantization, stored.shape)
                real = stored.constant().astype(np.float32) * scale
                model.graph.set_operand(node, index, model.graph.constant(real))
    return model


@pytest.mark.parametrize("dtype", SIZES)
@pytest.mark.parametrize("make", MODELS)
def test_every_kernel_computes_with_the_stored_weights(make: Callable[[], Model], dtype: DType) -> None:
    """The same numbers as the float model with rounded weights; near the float model itself; any run."""
    model = make()
    made = quantize_weight_only(model, dtype)
    assert kinds(made) == ["dequantize", kinds(model)[0]]
    assert check_quantized(made, allow_float_islands=True) == []
    stored = stored_weights(made)
    assert stored.dtype is dtype
    given = feeds(model)
    truth = Runner(emit(model).to_bytes()).run(given)
    rounded = Runner(emit(with_stored_weights(make(), made)).to_bytes()).run(given)
    assert sqnr(truth, rounded) > SIZES[dtype]
    for kernels in KernelSet:
        runner = Runner(emit(made).to_bytes(), kernels=kernels)
        for _ in range(2):  # the builtin kernel dequantizes at the first run, and keeps the result
            assert sqnr(rounded, runner.run(given)) > FLOAT_DB, kernels


@pytest.mark.parametrize(
    ("make", "axis"),
    [(conv, 0), (depthwise, 3), (dense, 0), (product, 2), (transposed_product, 1), (embedding, 0)],
)
def test_scales_are_per_output_channel_or_row(make: Callable[[], Model], axis: int) -> None:
    """Also for batch_matmul, whose integer kernels could not: here nothing multiplies integers."""
    stored = stored_weights(quantize_weight_only(make()))
    form = stored.type.quantization
    assert form is not None
    assert (form.quantized_dimension, len(form.scale)) == (axis, stored.shape[axis])


def test_int8_is_folded_by_the_delegate_int4_is_not() -> None:
    """XNNPACK keeps an int8 model in one partition; behind an int4 dequantize, weights are no constants."""
    model = conv()
    assert Runner(emit(quantize_weight_only(model)).to_bytes()).partitions().outside == ()
    narrow = Runner(emit(quantize_weight_only(model, DType.INT4)).to_bytes())
    assert narrow.partitions().outside == ("DEQUANTIZE", "CONV_2D")


def test_shared_weights_are_stored_once_and_small_ones_stay() -> None:
    """One dequantize for two readers; a 4 x 16 matrix is not worth a node; bias stays float."""
    sketch = Sketch(8)
    x = sketch.input(2, 16)
    shared = sketch.weights(16, 16, fan_in=16)
    first = sketch.build.op("fully_connected", [x, shared, sketch.bias(16)], name="a")
    second = sketch.build.op("fully_connected", [first, shared, sketch.bias(16)], name="b")
    model = sketch.model(sketch.dense(second, 4, name="y"))
    made = quantize_weight_only(model)
    assert kinds(made) == ["dequantize", "fully_connected", "fully_connected", "fully_connected"]
    nodes = list(made.graph)
    assert nodes[1].operand(1) is nodes[2].operand(1) is nodes[0].result
    assert nodes[3].operand(1).dtype is DType.FLOAT32
    assert all(node.operand(2).dtype is DType.FLOAT32 for node in nodes[1:])


def test_constants_that_are_no_weights_stay_float() -> None:
    """Anchors of a detector, added to what the network says, are positions: 8 bits would move the boxes."""
    sketch = Sketch(9)
    x = sketch.input(1, 400, 4)
    anchors = sketch.build.constant(sketch.rng.uniform(0, 320, (1, 400, 4)).astype(np.float32))
    model = sketch.model(sketch.build.op("add", [x, anchors], name="y"))
    assert emit(quantize_weight_only(model)).to_bytes() == emit(model).to_bytes()


@pytest.mark.parametrize("dtype", SIZES)
def test_recurrent_weights_are_stored_per_unit(dtype: DType) -> None:
    """Eight matrices of an LSTM; biases stay float. A fresh runner each time, as the cell remembers."""
    sketch = Sketch(12)
    gates = [sketch.weights(32, 32, fan_in=32) for _ in range(8)]
    operands = [sketch.input(1, 5, 32), *gates, None, None, None, *(sketch.bias(32) for _ in range(4))]
    attributes = UnidirectionalSequenceLSTMAttributes(states=(TensorType((1, 32)), TensorType((1, 32))))
    model = sketch.model(sketch.build.op("unidirectional_sequence_lstm", operands, attributes, "y"))
    made = quantize_weight_only(model, dtype)
    assert kinds(made) == ["dequantize"] * 8 + ["unidirectional_sequence_lstm"]
    given = feeds(model)
    truth = Runner(emit(model).to_bytes()).run(given)
    rounded = Runner(emit(with_stored_weights(model, made)).to_bytes()).run(given)
    assert sqnr(truth, rounded) > SIZES[dtype]
    for kernels in KernelSet:
        assert sqnr(rounded, Runner(emit(made).to_bytes(), kernels=kernels).run(given)) > FLOAT_DB, kernels


def test_what_is_too_small_for_int4_is_int8() -> None:
    """A 16 x 16 matrix: int4 would save 128 bytes."""
    sketch = Sketch(10)
    model = sketch.model(sketch.dense(sketch.input(2, 16), 16, name="y"))
    assert stored_weights(quantize_weight_only(model, DType.INT4)).dtype is DType.INT8


def test_chosen_weights_are_taken_as_they_are() -> None:
    """For the type they were chosen for."""
    model = dense()
    weights = model.graph.last.operand(1)
    data = np.full(weights.shape, -3, np.int8)
    chosen = {weights: ChosenWeights(data, np.full(31, 0.5), DType.INT4)}
    made = quantize_weight_only(model, DType.INT4, chosen_weights=chosen)
    np.testing.assert_array_equal(stored_weights(made).constant(), data)
    plain = emit(quantize_weight_only(model)).to_bytes()
    assert emit(quantize_weight_only(model, chosen_weights=chosen)).to_bytes() == plain


def test_a_channel_of_zeros_stays_zero() -> None:
    """Its scale could be anything but 0."""
    model = dense()
    weights = model.graph.last.operand(1)
    data = weights.constant().copy()
    data[3] = 0
    model.graph.set_operand(model.graph.last, 1, model.graph.constant(data))
    stored = stored_weights(quantize_weight_only(model, DType.INT4))
    assert not stored.constant()[3].any()
    assert stored.type.quantization is not None
    assert stored.type.quantization.scale[3] == 1.0
