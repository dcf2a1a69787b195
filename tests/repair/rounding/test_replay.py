"""Both paths see each layer's input once, as a run of the whole network would show it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from edgec.ir import Array, DType, Model, Value
from edgec.quantize import quantize_int8, quantize_weight_only
from edgec.repair.rounding.layers import weighted_layers
from edgec.repair.rounding.replay import Replay, as_real, as_stored, extract, live_before
from tests.quantize.small_graphs import Sketch, calibrated, run_float, run_stored, samples
from tests.repair.nets import mixed


def feeds_of(model: Model, count: int = 3) -> list[list[Array]]:
    """Random inputs."""
    return [[sample[port.name] for port in model.inputs] for sample in samples(model, count)]


def values_at(model: Model, wanted: Value, feed: Sequence[Array]) -> Array:
    """The value that a run of the whole network shows."""
    part = extract(model, model.graph.inputs, [wanted])
    named = {port.name: array for port, array in zip(part.inputs, feed, strict=True)}
    run = run_float if wanted.type.quantization is None else run_stored
    return run(part, named)[0]


@pytest.mark.parametrize("budget", [0, 2**30])
@pytest.mark.parametrize("form", ["float", "int8"])
def test_each_layer_reads_what_the_network_computes(form: str, budget: int) -> None:
    """Whether live values are kept or computed anew, through residuals, pools and gates."""
    model = mixed()
    if form == "int8":
        model = quantize_int8(model, calibrated(model))
    feeds = feeds_of(model)
    replay = Replay(feeds, budget, 1)
    for layer in weighted_layers(model.graph):
        found = [array.copy() for array in replay.inputs_of(model, layer.node, layer.data)]
        for feed, array in zip(feeds, found, strict=True):
            if layer.data in model.graph.inputs:
                np.testing.assert_array_equal(array, as_stored(layer.data, feed[0]))
                continue
            expected = values_at(model, layer.data, feed)
            step = 1 if form == "int8" else 1e-5  # kernels of other fusions round in another order
            assert np.abs(array.astype(np.float64) - expected).max() <= step


def test_live_values_are_what_later_nodes_read() -> None:
    """Before the body's convolution the padded tensor and the joined one, which a side branch reads, live."""
    graph = mixed().graph
    (node,) = [node for node in graph if node.result.name == "body"]
    names = [value.name for value in live_before(graph, node)]
    assert "joined" in names and len(names) == 2


def test_weights_read_through_dequantize_are_no_state() -> None:
    """Weights of a layer may change until it is chosen: what constants alone give is computed anew."""
    sketch = Sketch()
    model = sketch.model(sketch.conv(sketch.conv(sketch.input(1, 6, 6, 4), 16), 16))
    quantized = quantize_weight_only(model, DType.INT8)
    for layer in weighted_layers(quantized.graph):
        assert live_before(quantized.graph, layer.node) == [layer.data]


def test_real_and_stored_numbers() -> None:
    """Stored integers mean scale * (q - zero point), in float64."""
    model = quantize_int8(mixed(), calibrated(mixed()))
    (value,) = model.graph.inputs
    form = value.type.quantization
    assert form is not None
    q = np.array([-128, 0, 127], np.int8)
    np.testing.assert_array_equal(as_stored(value, as_real(value, q).astype(np.float32)), q)
    np.testing.assert_allclose(as_real(value, q), (q.astype(float) - form.zero_point[0]) * form.scale[0])
