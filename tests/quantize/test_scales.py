"""Which tensors share a scale, where a requantize goes, and what range a group has."""

from __future__ import annotations

import numpy as np
import pytest

from edgec.diagnostics import CompileError
from edgec.ir import Model, Quantization, Value
from edgec.ops import Padding
from edgec.ops.movement import ConcatenationAttributes
from edgec.ops.pool import Pool2DAttributes
from edgec.quantize.parameters import from_range
from edgec.quantize.roles import assign_roles, observed_values
from edgec.quantize.scales import Scales, solve_scales
from tests.quantize.small_graphs import Sketch

POOL = Pool2DAttributes(Padding.VALID, 2, 2, 2, 2)


def solve(model: Model, **ranges: tuple[float, float]) -> Scales:
    return solve_scales(model.graph, assign_roles(model.graph), ranges)


def relu(sketch: Sketch, x: Value, name: str) -> Value:
    return sketch.build.op("relu", [x], name=name)


def concat(sketch: Sketch, *values: Value, name: str = "joint") -> Value:
    return sketch.build.op("concatenation", values, ConcatenationAttributes(axis=3), name)


def test_a_max_pool_takes_the_range_that_comes_out() -> None:
    """x is only pooled: what saturates in x is not what the maximum picks."""
    sketch = Sketch()
    x = relu(sketch, sketch.input(1, 4, 4, 2), "a")
    y = sketch.build.op("max_pool_2d", [x], POOL, "y")
    model = sketch.model(y)
    scales = solve(model, x=(-9.0, 9.0), y=(0.0, 2.0))
    assert scales.of(x) == scales.of(y) == from_range(0.0, 2.0)
    assert [value.name for value in observed_values(model.graph)] == ["x", "y"]


def test_an_average_needs_the_whole_range_of_what_it_reads() -> None:
    """Saturating x would change the mean, though the mean itself spans less."""
    sketch = Sketch()
    x = relu(sketch, sketch.input(1, 4, 4, 2), "a")
    y = sketch.build.op("average_pool_2d", [x], POOL, "y")
    scales = solve(sketch.model(y), x=(-9.0, 9.0), a=(0.0, 8.0), y=(0.0, 2.0))
    assert scales.of(x.producer.result) == scales.of(y) == from_range(0.0, 8.0)


def test_padding_with_minus_infinity_before_a_max_pool_costs_nothing() -> None:
    """The padded tensor is never observed, and its range is the pool's."""
    sketch = Sketch()
    x = relu(sketch, sketch.input(1, 3, 3, 2), "a")
    paddings = sketch.build.constant(np.array([[0, 0], [0, 1], [0, 1], [0, 0]], np.int32))
    lowest = sketch.build.constant(np.asarray(-np.inf, np.float32))
    padded = sketch.build.op("padv2", [x, paddings, lowest], name="padded")
    y = sketch.build.op("max_pool_2d", [padded], POOL, "y")
    model = sketch.model(y)
    assert "padded" not in [value.name for value in observed_values(model.graph)]
    assert solve(model, x=(0.0, 1.0), y=(0.0, 3.0)).of(padded) == from_range(0.0, 3.0)


def test_a_clamp_lets_its_input_saturate() -> None:
    """minimum(x, 6) of x up to 100 keeps 255 levels for [0, 6]."""
    sketch = Sketch()
    x = relu(sketch, sketch.input(1, 4), "a")
    y = sketch.build.op("minimum", [x, sketch.build.constant(6.0)], name="y")
    scales = solve(sketch.model(y), x=(0.0, 100.0), y=(0.0, 6.0))
    assert scales.of(x) == from_range(0.0, 6.0)


def test_concatenated_tensors_share_the_result_s_scale() -> None:
    """Nobody else reads a and b, so both are made in the joint scale: one rounding."""
    sketch = Sketch()
    x = sketch.input(1, 4, 4, 2)
    a, b = relu(sketch, x, "a"), relu(sketch, x, "b")
    joint = concat(sketch, a, b)
    scales = solve(sketch.model(joint), x=(-9.0, 9.0), a=(0.0, 1.0), b=(0.0, 10.0), joint=(0.0, 10.0))
    assert scales.of(a) == scales.of(b) == scales.of(joint) == from_range(0.0, 10.0)


def test_a_reader_that_would_lose_precision_cuts_the_join() -> None:
    """a spans 1 and is read by relu6 too; at the joint 10 it would keep 25 of 255 levels."""
    sketch = Sketch()
    x = sketch.input(1, 4, 4, 2)
    a, b = relu(sketch, x, "a"), relu(sketch, x, "b")
    joint = concat(sketch, a, b)
    other = sketch.build.op("relu6", [a], name="other")
    ranges = {"x": (-9.0, 9.0), "b": (0.0, 10.0), "joint": (0.0, 10.0), "other": (0.0, 1.0)}
    scales = solve(sketch.model(joint, other), a=(0.0, 1.0), **ranges)
    assert scales.of(a) == from_range(0.0, 1.0)
    assert scales.of(b) == scales.of(joint) == from_range(0.0, 10.0)


def test_what_is_requantized_for_a_join_is_not_saturated_before() -> None:
    """a is read by relu6 as a slice up to 1 and joined as a slice up to 3: a itself has to reach 3."""
    sketch = Sketch()
    x = sketch.input(1, 4)
    a, b = relu(sketch, x, "a"), relu(sketch, x, "b")
    size = sketch.build.constant([1, 2])
    left, right = (
        sketch.build.op("slice", [a, sketch.build.constant([0, at]), size], name=name)
        for at, name in ((0, "left"), (2, "right"))
    )
    joint = sketch.build.op("concatenation", [right, b], ConcatenationAttributes(axis=1), "joint")
    read = sketch.build.op("relu6", [left], name="read")
    ranges = {"b": (0.0, 50.0), "joint": (0.0, 50.0), "read": (0.0, 1.0)}
    scales = solve(sketch.model(joint, read), x=(-9.0, 50.0), left=(0.0, 1.0), right=(0.0, 3.0), **ranges)
    assert scales.of(a) == scales.of(left) == scales.of(right) == from_range(0.0, 3.0)
    assert scales.of(joint) == from_range(0.0, 50.0)


def test_a_reader_that_loses_less_than_a_bit_shares() -> None:
    """A requantize would round twice to gain less than it costs: 6 of 10 is within a factor of 2."""
    sketch = Sketch()
    x = sketch.input(1, 4, 4, 2)
    a, b = relu(sketch, x, "a"), relu(sketch, x, "b")
    joint = concat(sketch, a, b)
    other = sketch.build.op("relu6", [a], name="other")
    ranges = {"x": (-9.0, 9.0), "b": (0.0, 10.0), "joint": (0.0, 10.0), "other": (0.0, 6.0)}
    assert solve(sketch.model(joint, other), a=(0.0, 6.0), **ranges).of(a) == from_range(0.0, 10.0)


def test_sharing_never_creeps_beyond_a_bit_in_small_steps() -> None:
    """1 → 1.9 → 3.6: each join is below a factor of 2 of the last, but not of the narrowest reader."""
    sketch = Sketch()
    x = sketch.input(1, 4, 4, 2)
    a, b, c = (relu(sketch, x, name) for name in "abc")
    first = concat(sketch, a, b, name="first")
    second = concat(sketch, first, c, name="second")
    readers = [sketch.build.op("relu6", [value], name=f"{value.name}_read") for value in (a, first, second)]
    ranges = {"b": (0.0, 1.9), "first": (0.0, 1.9), "c": (0.0, 3.6), "second": (0.0, 3.6)}
    outputs = {reader.name: (0.0, 6.0) for reader in readers}
    scales = solve(sketch.model(*readers), x=(-9.0, 9.0), a=(0.0, 1.0), **ranges, **outputs)
    assert scales.of(a) == scales.of(first) == from_range(0.0, 1.9)
    assert scales.of(second) == from_range(0.0, 3.6)


def test_fixed_parameters_flow_through_movement() -> None:
    """A reshape of a softmax has the softmax's parameters, without any calibration."""
    sketch = Sketch()
    soft = sketch.build.op("softmax", [sketch.input(1, 4)], name="soft")
    y = sketch.build.reshape(soft, [2, 2], name="y")
    scales = solve(sketch.model(y), x=(-1.0, 1.0), y=(0.0, 0.9))
    assert scales.of(y) == Quantization.per_tensor(1 / 256, -128)
    assert scales.is_fixed(y)


def test_a_fixed_scale_meets_another_range_at_a_join() -> None:
    """Scores keep 1/256; the concatenation with boxes of 0..640 has a scale of its own."""
    sketch = Sketch()
    x = sketch.input(1, 2, 2, 3)
    scores = sketch.build.op("logistic", [x], name="scores")
    boxes = relu(sketch, x, "boxes")
    joint = concat(sketch, boxes, scores)
    scales = solve(sketch.model(joint), x=(-9.0, 9.0), boxes=(0.0, 640.0), joint=(0.0, 640.0))
    assert scales.of(scores) == Quantization.per_tensor(1 / 256, -128)
    assert scales.of(boxes) == scales.of(joint) == from_range(0.0, 640.0)


def test_a_join_adopts_fixed_parameters_that_fit_everybody() -> None:
    """Two sigmoid heads and a relu up to 0.9 need no requantize: all take 1/256, -128."""
    sketch = Sketch()
    x = sketch.input(1, 2, 2, 3)
    scores = [sketch.build.op("logistic", [x], name=name) for name in ("s", "t")]
    rest = relu(sketch, x, "rest")
    joint = concat(sketch, *scores, rest)
    scales = solve(sketch.model(joint), x=(-9.0, 9.0), rest=(0.0, 0.9), joint=(0.0, 0.99))
    assert scales.of(rest) == scales.of(joint) == Quantization.per_tensor(1 / 256, -128)


def test_a_run_time_matrix_is_symmetric_where_the_delegate_wants_it() -> None:
    """batch_matmul's second operand has zero point 0, unless that would double its range."""
    for low, expected in ((-1.5, Quantization.per_tensor(2 / 127)), (0.0, from_range(0.0, 2.0))):
        sketch = Sketch()
        x, y = sketch.input(1, 2, 3), sketch.input(1, 3, 2, name="y")
        product = sketch.build.op("batch_matmul", [x, y], name="z")
        scales = solve(sketch.model(product), x=(-1.0, 1.0), y=(low, 2.0), z=(-1.0, 1.0))
        assert scales.of(y) == expected


def test_every_tensor_without_a_usable_range_is_named() -> None:
    """All at once, with the reason."""
    sketch = Sketch()
    y = relu(sketch, sketch.input(1, 4), "y")
    with pytest.raises(CompileError) as caught:
        solve(sketch.model(y), x=(0.0, float("nan")))
    text = str(caught.value)
    assert "E0423 tensor 'x': has the range [0, nan]. No scale covers NaN or infinity." in text
    assert "E0423 tensor 'y': has no calibrated range. Calibration did not watch it." in text
