"""Bias correction: means are right again, analytically in the sum, empirically in the kernels."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from edgec.calibrate.ranges import collect_ranges
from edgec.emit import emit
from edgec.ir import Array, DType, Model, Node, TensorType, Value
from edgec.kernels import evaluate
from edgec.ops import Padding
from edgec.ops.conv import Conv2DAttributes, DepthwiseConv2DAttributes, TransposeConvAttributes
from edgec.quantize import quantize_int8
from edgec.quantize.parameters import symmetric_scales
from edgec.repair.bias import correct_bias, correct_bias_analytically, mean_output
from edgec.repair.channels import collect_channel_statistics
from edgec.repair.compare import compare
from edgec.repair.copying import copy_with
from tests.quantize.small_graphs import RELU, Sketch, output_sqnr, samples
from tests.repair.nets import NONE, quantizer, uneven


def coarse(model: Model) -> Callable[[Model], Model]:
    """A quantizer whose weights are six times as coarse: their shifts stand out from all other noise."""
    made = quantizer(model)

    def quantize(changed: Model) -> Model:
        rounded = {}
        for node in changed.graph:
            if node.optional_operand(2) is not None and node.operand(1).is_constant:
                weights = node.operand(1).constant()
                axis = 3 if node.kind == "depthwise_conv_2d" else 0
                shape = [1] * weights.ndim
                shape[axis] = -1
                step = 6 * symmetric_scales(weights, axis).reshape(shape)
                rounded[node, 1] = (np.rint(weights / step) * step).astype(np.float32)
        return made(copy_with(changed, rounded))

    return quantize


def _data(node: Node) -> int:
    return 2 if node.kind == "transpose_conv" else 0


def alone_with(node: Node, data: Array) -> Array:
    """Return the node's result for this input, computed by the kernel."""
    operands = list(node.operands)
    operands[_data(node)] = Value("data", TensorType(data.shape), data)
    result = Value("result", node.result.type)
    (found,) = evaluate([Node(node.kind, operands, [result], node.attributes)], [result])
    return found


def one_conv(padding: Padding, stride: int = 1) -> Model:
    sketch = Sketch()
    x = sketch.build.op("relu", [sketch.input(1, 9, 8, 4)], name="positive")
    return sketch.model(sketch.conv(x, 6, stride=stride, fused=NONE, padding=padding, name="y"))


@pytest.mark.parametrize("padding", [Padding.SAME, Padding.VALID])
@pytest.mark.parametrize("stride", [1, 2])
def test_the_analytic_mean_is_right_at_borders_too(padding: Padding, stride: int) -> None:
    """A weight error shifts the mean of positive inputs; a tenth remains, as positions' own means scatter.

    Without counting the border's zeros more than a quarter would remain with padding.
    """
    model = one_conv(padding, stride)
    drawn = samples(model, 64)
    statistics = collect_channel_statistics(model, drawn)
    quantize = coarse(model)
    outcome = correct_bias_analytically(model, statistics, quantize)
    before = compare(model, quantize(model), drawn, ["y"])["y"]
    after = compare(model, quantize(outcome.model), drawn, ["y"])["y"]
    assert np.abs(after.mean).max() < np.abs(before.mean).max() / 10
    (gain,) = outcome.gains
    power = before.signal / (64 * model.graph.outputs[0].type.size)
    assert gain.before == pytest.approx(10 * np.log10(power / (before.mean**2).mean()), abs=1.0)


def test_grouped_depthwise_transposed_and_dense_means() -> None:
    """`mean_output` against the kernels, on an input that is one constant a channel: its mean everywhere."""
    sketch = Sketch()
    build = sketch.build
    x = sketch.input(1, 6, 6, 4)
    wide = [sketch.weights(1, 3, 3, 8, fan_in=9), build.constant(np.zeros(8, np.float32))]
    y = build.op("depthwise_conv_2d", [x, *wide], DepthwiseConv2DAttributes(Padding.SAME, 2, 2, 2))
    group = [sketch.weights(6, 3, 3, 4, fan_in=36), build.constant(np.zeros(6, np.float32))]
    y = build.op("conv_2d", [y, *group], Conv2DAttributes(Padding.SAME))
    shape = build.constant(np.array([1, 6, 6, 3], np.int32))
    back = [sketch.weights(3, 2, 2, 6, fan_in=24), y, build.constant(np.zeros(3, np.float32))]
    y = build.op("transpose_conv", [shape, *back], TransposeConvAttributes(Padding.VALID, 2, 2))
    flat = build.reshape(y, (1, 108))
    dense = [sketch.weights(5, 108, fan_in=108), build.constant(np.zeros(5, np.float32))]
    model = sketch.model(build.op("fully_connected", [flat, *dense]))
    weighted = [node for node in model.graph if len(node.operands) > 2]
    assert [node.kind for node in weighted] == [
        "depthwise_conv_2d",
        "conv_2d",
        "transpose_conv",
        "fully_connected",
    ]
    rng = np.random.default_rng(0)
    for node in weighted:
        mean = rng.normal(size=4 if node is weighted[0] else node.operand(_data(node)).shape[-1])
        shape = node.operand(_data(node)).shape
        alone = alone_with(node, np.broadcast_to(mean, shape).astype(np.float32))
        found = mean_output(node, node.operand(1).constant().astype(np.float64), mean)
        np.testing.assert_allclose(
            found, alone.reshape(-1, alone.shape[-1]).mean(axis=0), rtol=1e-4, atol=1e-5
        )


def test_the_whole_network_gains() -> None:
    """Weights as coarse as with 5 bits: 3 dB at the output on unseen samples, the mean of 3 seeds."""
    gained: list[float] = []
    for seed in range(3):
        model = uneven(spread=1.0, seed=seed)
        statistics = collect_channel_statistics(model, samples(model, 64))
        quantize = coarse(model)
        repaired = correct_bias_analytically(model, statistics, quantize).model
        (before,), (after,) = (output_sqnr(model, quantize(m)) for m in (model, repaired))
        gained.append(after - before)
    assert np.mean(gained) > 3


def test_empirical_correction_sees_what_weights_do_not_explain() -> None:
    """A range that clips a tensor shifts everything behind it; only a run of the model shows it."""
    model = uneven(spread=1.0)
    drawn = samples(model, 32)
    statistics = collect_channel_statistics(model, drawn)
    ranges = dict(collect_ranges(model, drawn))
    ranges["depthwise"] = (0.0, 0.4 * ranges["depthwise"][1])

    def quantize(changed: Model) -> Model:
        return quantize_int8(changed, ranges)

    analytic = correct_bias_analytically(model, statistics, quantize).model
    outcome = correct_bias(model, drawn, statistics, quantize)
    (by_sum,), (by_run,) = (output_sqnr(model, quantize(m)) for m in (analytic, outcome.model))
    assert by_run > by_sum + 3
    gains = {gain.node: gain for gain in outcome.gains}
    assert list(gains) == ["stem", "depthwise", "point", "logits"]
    assert gains["logits"].after > gains["logits"].before + 3
    left = compare(model, quantize(outcome.model), drawn, ["logits"])["logits"]
    first = compare(model, quantize(model), drawn, ["logits"])["logits"]
    assert np.abs(left.mean).max() < np.abs(first.mean).max() / 10


def test_only_biases_change() -> None:
    """Weights, attributes and names are the same objects or equal; the model given stays as it is."""
    model = uneven(spread=1.0)
    before = emit(model).to_bytes()
    statistics = collect_channel_statistics(model, samples(model, 8))
    found = correct_bias(model, samples(model, 4), statistics, quantizer(model)).model
    assert emit(model).to_bytes() == before
    for old, new in zip(model.graph, found.graph, strict=True):
        assert (old.kind, old.attributes, old.results[0].name) == (
            new.kind,
            new.attributes,
            new.results[0].name,
        )
        assert old.kind == "mean" or new.operand(1) is old.operand(1)


def test_a_node_without_bias_is_left_alone() -> None:
    """A dense layer may have none; there is nothing to correct, and no gain is claimed."""
    sketch = Sketch()
    x = sketch.input(1, 6)
    weights = sketch.weights(3, 6, fan_in=6)
    model = sketch.model(sketch.build.op("fully_connected", [x, weights], name="y"))
    statistics = collect_channel_statistics(model, samples(model, 8))
    outcome = correct_bias_analytically(model, statistics, quantizer(model))
    assert outcome.gains == ()
    assert len(next(iter(outcome.model.graph)).operands) == 2


def test_a_channel_that_hardly_passes_its_relu_is_left_alone() -> None:
    """The mean behind the relu says nothing about the mean in front of it."""
    sketch = Sketch()
    x = sketch.conv(sketch.input(1, 6, 6, 3), 4, fused=RELU, name="first")
    assert x.producer is not None
    bias = x.producer.operand(2)
    bias.data = np.array([-100.0, 0.1, 0.1, 0.1], np.float32)
    model = sketch.model(sketch.conv(x, 2, fused=NONE, name="last"))
    drawn = samples(model, 16)
    statistics = collect_channel_statistics(model, drawn)
    found = correct_bias(model, drawn, statistics, quantizer(model)).model
    corrected = next(iter(found.graph)).operand(2).constant()
    assert corrected[0] == pytest.approx(-100, abs=0.1)


@pytest.mark.parametrize("output_type", [DType.INT8, DType.UINT8, DType.FLOAT32])
def test_the_type_of_the_output_changes_nothing(output_type: DType) -> None:
    """A bridge at the output bears the node's name; the weights behind it are found all the same."""
    model = uneven(spread=1.0)
    statistics = collect_channel_statistics(model, samples(model, 8))
    plain = correct_bias_analytically(model, statistics, quantizer(model)).model
    found = correct_bias_analytically(model, statistics, quantizer(model, output_type=output_type)).model
    for one, other in zip(plain.graph, found.graph, strict=True):
        if one.optional_operand(2) is not None:
            assert np.array_equal(one.operand(2).constant(), other.operand(2).constant())
