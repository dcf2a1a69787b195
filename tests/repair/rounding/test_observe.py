"""Moments of both halves are those of every position's columns, dequantized, and of the outputs' errors."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgec.ir import Array, DType, Quantization, Value
from edgec.ops import Padding
from edgec.ops.conv import Conv2DAttributes, DepthwiseConv2DAttributes
from edgec.repair.rounding import observe as module
from edgec.repair.rounding.columns import Columns
from edgec.repair.rounding.layers import Layer, weighted_layers
from edgec.repair.rounding.moments import Moments
from edgec.repair.rounding.observe import observe
from tests.quantize.small_graphs import Sketch

SCALE, ZERO = 0.5, 3


def layer_of(kind: str) -> Layer:
    """A dense, a grouped or a depthwise convolution with two outputs a channel."""
    sketch = Sketch(seed=3)
    x = sketch.input(1, 5, 6, 4)
    shape = {"dense": (6, 3, 3, 4), "grouped": (6, 3, 3, 2), "depthwise": (1, 3, 3, 8)}[kind]
    operands = [x, sketch.weights(*shape, fan_in=9), sketch.bias(8 if kind == "depthwise" else 6)]
    if kind == "depthwise":
        result = sketch.build.op(
            "depthwise_conv_2d", operands, DepthwiseConv2DAttributes(Padding.SAME, depth_multiplier=2)
        )
    else:
        result = sketch.build.op("conv_2d", operands, Conv2DAttributes(Padding.SAME))
    (layer,) = weighted_layers(sketch.model(result).graph)
    return layer


def pairs(count: int) -> list[tuple[Array, Array]]:
    """What the float path reads, and int8 near it."""
    rng = np.random.default_rng(4)
    real = rng.normal(size=(count, 1, 5, 6, 4)).astype(np.float32)
    stored = np.rint((real + rng.normal(size=real.shape) / 9) / SCALE + ZERO).astype(np.int8)
    return list(zip(real, stored, strict=True))


def expected(layer: Layer, inputs: list[tuple[Array, Array]]) -> Moments:
    """The moments in float64, from the definition."""
    weights = layer.matrix(layer.weights.constant())
    moments = Moments(*weights.shape)
    columns = Columns(layer, inputs[0][0].shape)
    for truth, stored in inputs:
        real = (stored.astype(np.float64) - ZERO) * SCALE
        both = []
        for array in (real, truth.astype(np.float64)):
            rows = columns.at(array, np.arange(columns.positions))
            split = rows.reshape(*rows.shape[:2], layer.groups, -1)
            both.append(split.transpose(2, 0, 1, 3).reshape(layer.groups, len(rows), -1))
        moments.add(both[0], (both[0] - both[1]) @ weights.transpose(0, 2, 1))
    return moments


@pytest.mark.parametrize("block", [1, 2**30])
@pytest.mark.parametrize("kind", ["dense", "grouped", "depthwise"])
def test_moments_are_those_of_the_definition(kind: str, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """To float32's rounding, whether each sample is a block of its own or all are one."""
    monkeypatch.setattr(module, "BLOCK_BYTES", block)
    monkeypatch.setattr(module, "CHUNK_BYTES", block)
    layer, inputs = layer_of(kind), pairs(5)
    form = Quantization((SCALE,), (ZERO,))
    twin = Value("x", replace(layer.data.type, dtype=DType.INT8, quantization=form))
    weights = layer.matrix(layer.weights.constant())
    found = observe(layer, weights, twin, inputs, len(inputs))
    for half, wanted in zip(
        found, (expected(layer, inputs[::2]), expected(layer, inputs[1::2])), strict=True
    ):
        assert half.count == wanted.count
        ours, theirs = half.covariance(), wanted.covariance()
        for name in ("h", "c", "r", "mean_x", "mean_r"):
            np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), rtol=1e-4, atol=1e-5)


def test_samples_may_differ_in_shape() -> None:
    """Positions of a longer recording count, too."""
    layer = layer_of("dense")
    inputs = pairs(2)
    longer = [(np.concatenate([a, a], axis=1), np.concatenate([b, b], axis=1)) for a, b in inputs]
    form = Quantization((SCALE,), (ZERO,))
    twin = Value("x", replace(layer.data.type, dtype=DType.INT8, quantization=form))
    weights = layer.matrix(layer.weights.constant())
    first, second = observe(layer, weights, twin, [inputs[0], longer[1]], 2)
    assert (first.count, second.count) == (30, 60)
