"""Sensitivities: how much noise gets through, against what noise does when it is added."""

from __future__ import annotations

import numpy as np
import pytest

from edgec.ir import Array, Model, Value
from edgec.quantize.roles import assign_roles
from edgec.repair.channels import Floats, collect_channel_statistics
from edgec.repair.sensitivity import Sensitivity, find_sensitivities
from tests.quantize.small_graphs import RELU, Sketch, run_float, samples
from tests.repair.nets import NONE, mixed


def found(model: Model, fresh: bool = True) -> dict[str, Sensitivity]:
    statistics = collect_channel_statistics(model, samples(model, 400))
    hearing = find_sensitivities(model.graph, assign_roles(model.graph), statistics)
    return {value.name: item for value, item in (hearing.fresh if fresh else hearing.shaped).items()}


def added_noise(model: Model, channel: int, shared: bool) -> float:
    """Noise power at the outputs over their power, for unit noise in one channel of the input."""
    rng = np.random.default_rng(0)
    signal = noise = 0.0
    for sample in samples(model, 400, seed=5):
        shape = sample["x"].shape
        disturbed = np.zeros(shape, np.float32)
        size = (1, 1, 1) if shared else shape[:3]
        disturbed[..., channel] = 1e-3 * rng.normal(size=size)
        expected = _flat(run_float(model, sample))
        noise += float(((_flat(run_float(model, {"x": sample["x"] + disturbed})) - expected) ** 2).sum())
        signal += float((expected**2).sum())
    return noise / signal * 1e6


def _flat(arrays: list[Array]) -> Floats:
    return np.concatenate([array.astype(np.float64).ravel() for array in arrays])


def mean_of(fused_name: str) -> Model:
    """x → relu or nothing → mean over the picture, without weights: nothing to be scaled."""
    sketch = Sketch()
    x = sketch.input(1, 6, 6, 3)
    y = sketch.build.op("relu", [x]) if fused_name == "relu" else x
    axes = sketch.build.constant(np.array([1, 2], np.int32))
    return sketch.model(sketch.build.op("mean", [y, axes], name="mean"))


@pytest.mark.parametrize("function", ["relu", "none"])
@pytest.mark.parametrize("shared", [False, True])
def test_noise_through_relu_and_mean_is_what_is_measured(function: str, shared: bool) -> None:
    """A mean of 36 weakens independent noise 36 times and shared noise not at all; relu halves, roughly."""
    model = mean_of(function)
    sensitivity = found(model)["x"]
    expected = (sensitivity.coherent if shared else sensitivity.white)[1]
    assert added_noise(model, 1, shared) == pytest.approx(expected, rel=0.25)


def test_channels_that_weights_read_more_are_more_sensitive() -> None:
    """In the ratio of the squared weights: noise is independent in both of two channels."""
    sketch = Sketch()
    x = sketch.input(1, 6, 6, 2)
    conv = sketch.conv(x, 4, fused=NONE, name="last")
    assert conv.producer is not None
    weights = conv.producer.operand(1)
    weights.data = (weights.constant() * np.array([1.0, 10.0], np.float32)).astype(np.float32)
    model = sketch.model(conv)
    white = found(model)["x"].white
    powers = (weights.constant().astype(np.float64) ** 2).sum(axis=(0, 1, 2))
    assert white[1] / white[0] == pytest.approx(powers[1] / powers[0], rel=1e-6)
    measured = added_noise(model, 1, False) / added_noise(model, 0, False)
    assert measured == pytest.approx(powers[1] / powers[0], rel=0.1)


@pytest.mark.parametrize("shared", [False, True])
def test_fresh_noise_through_one_convolution_is_what_is_measured(shared: bool) -> None:
    """Independent noise adds up by squares, shared noise by sums of a kernel's weights (borders aside)."""
    sketch = Sketch()
    model = sketch.model(sketch.conv(sketch.input(1, 16, 16, 3), 8, fused=NONE, name="last"))
    item = found(model)["x"]
    expected = (item.coherent if shared else item.white)[1]
    assert added_noise(model, 1, shared) == pytest.approx(expected, rel=0.15)


def test_noise_of_the_signal_s_shape_keeps_its_ratio_through_weights() -> None:
    """Else it would seem to die out over many layers: here the input's own noise-to-signal stays 1."""
    sketch = Sketch()
    x = sketch.input(1, 6, 6, 3)
    for index in range(6):
        x = sketch.conv(x, 16, fused=RELU, name=f"conv{index}")
    model = sketch.model(sketch.conv(x, 4, fused=NONE, name="last"))
    statistics = collect_channel_statistics(model, samples(model, 400))
    values: dict[str, Value] = {v.name: v for v in model.graph.inputs}
    values |= {node.result.name: node.result for node in model.graph}
    sensitivities = found(model, fresh=False)

    def transferred(name: str) -> float:
        seen, item = statistics[name], sensitivities[name]
        shared = np.maximum(seen.coherent - seen.mean**2, 0)
        return float(item.white @ (seen.variance - shared) + item.coherent @ shared)

    assert transferred("x") == pytest.approx(transferred("last"), rel=1e-6)
    assert transferred("conv2") == pytest.approx(transferred("last"), rel=1e-6)


def test_every_activation_of_a_graph_with_joints_has_one() -> None:
    """Positive where it reaches the output, one entry a channel."""
    model = mixed()
    sensitivities = found(model)
    for node in model.graph:
        item = sensitivities[node.result.name]
        assert item.white.shape == node.result.shape[-1:]
        assert np.all(item.white >= 0) and item.white.sum() > 0, node


def test_what_reaches_no_output_has_none() -> None:
    """A dead end: nobody hears its noise."""
    sketch = Sketch()
    x = sketch.input(1, 4, 4, 2)
    sketch.conv(x, 3, name="dead")
    model = sketch.model(sketch.conv(x, 2, fused=NONE, name="last"))
    assert found(model)["dead"].white.sum() == 0
