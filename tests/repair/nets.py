"""Small float networks with uneven channels, and what repairs need of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from edgec.calibrate.ranges import collect_ranges
from edgec.ir import Array, Model, Value
from edgec.ops import ActivationFunctionType, Padding
from edgec.ops.elementwise import AddAttributes
from edgec.ops.movement import ConcatenationAttributes
from edgec.ops.pool import Pool2DAttributes
from edgec.ops.reduce import ReducerAttributes
from edgec.quantize import quantize_int8
from tests.quantize.small_graphs import RELU, Sketch, run_float, samples

NONE = ActivationFunctionType.NONE


def mixed(seed: int = 0) -> Model:
    """Residual, pools, depthwise, padding, concatenation, a gate and a flattened dense layer in one graph."""
    sketch = Sketch(seed)
    build = sketch.build
    x = sketch.input(1, 8, 8, 3)
    stem = sketch.conv(x, 8, fused=RELU, name="stem")
    depthwise = sketch.depthwise(stem, fused=RELU, name="depthwise")
    point = sketch.conv(depthwise, 8, kernel=1, fused=NONE, name="point")
    joined = build.op("add", [point, stem], AddAttributes(RELU), "joined")
    padded = build.op("pad", [joined, build.constant(np.array([[0, 0], [1, 1], [1, 1], [0, 0]], np.int32))])
    body = sketch.conv(padded, 6, padding=Padding.VALID, fused=RELU, name="body")
    side = sketch.conv(joined, 4, kernel=1, fused=RELU, name="side")
    both = build.op("concatenation", [body, side], ConcatenationAttributes(3), "both")
    gate = build.op("mean", [both, build.constant(np.array([1, 2], np.int32))], ReducerAttributes(True))
    gate = build.op("logistic", [sketch.conv(gate, 10, kernel=1, fused=NONE, name="gate")])
    gated = build.op("mul", [both, gate], name="gated")
    window = Pool2DAttributes(stride_w=2, stride_h=2, filter_width=2, filter_height=2)
    pooled = build.op("max_pool_2d", [gated], window)
    flat = build.reshape(pooled, (1, 160))
    return sketch.model(sketch.dense(flat, 5, name="logits"))


def uneven(
    fused: ActivationFunctionType = RELU, spread: float = 300.0, seed: int = 0, undo: bool = True
) -> Model:
    """conv → depthwise → 1x1 conv → dense, whose channels differ in range by up to `spread`.

    `undo`: the weights that read a channel are as much larger, so that all channels matter the same.
    """
    sketch = Sketch(seed)
    x = sketch.input(1, 8, 8, 3)
    stem = sketch.conv(x, 16, fused=fused, name="stem")
    depthwise = sketch.depthwise(stem, fused=fused, name="depthwise")
    point = sketch.conv(depthwise, 16, kernel=1, fused=fused, name="point")
    mean = sketch.build.op("mean", [point, sketch.build.constant(np.array([1, 2], np.int32))])
    model = sketch.model(sketch.dense(mean, 6, name="logits"))
    rescale_channels(model, ("stem", "depthwise", "point"), spread, seed, undo)
    return model


def rescale_channels(model: Model, names: Sequence[str], spread: float, seed: int, undo: bool) -> None:
    """Multiply the channels of relu'd results by factors from 1/spread to 1; the next weights may undo it."""
    rng = np.random.default_rng(seed)
    nodes = list(model.graph)
    for name in names:
        node = next(n for n in nodes if n.results[0].name == name)
        factors = spread ** -rng.uniform(0, 1, node.result.shape[-1])
        axis = 3 if node.kind == "depthwise_conv_2d" else 0
        _multiply(node.operand(1), factors, axis)
        _multiply(node.operand(2), factors, 0)
        reader = next(n for n in nodes[nodes.index(node) + 1 :] if n.optional_operand(2) is not None)
        if not undo:
            continue
        _multiply(reader.operand(1), 1 / factors, reader.operand(1).type.rank - 1)


def _multiply(value: Value, factors: Array, axis: int) -> None:
    shape = [1] * value.type.rank
    shape[axis] = -1
    value.data = (value.constant() * factors.reshape(shape)).astype(np.float32)


def quantizer(model: Model, **options: object) -> Callable[[Model], Model]:
    """Return the function that makes int8 of a model and its repaired forms, with the ranges of `model`."""
    ranges = collect_ranges(model, samples(model), threads=1)
    return lambda changed: quantize_int8(changed, ranges, **options)  # pyright: ignore[reportArgumentType]


def largest_difference(first: Model, second: Model, seed: int) -> float:
    """Largest difference of the outputs on random samples, relative to the largest output."""
    drawn = samples(first, 8, seed)
    expected = [np.concatenate([a.ravel() for a in run_float(first, sample)]) for sample in drawn]
    actual = [np.concatenate([a.ravel() for a in run_float(second, sample)]) for sample in drawn]
    return float(np.abs(np.subtract(expected, actual)).max() / np.abs(expected).max())
