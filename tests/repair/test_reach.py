"""What unseen samples do beyond the range that was seen: drawn ones, and in a network that they decide on."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from edgec.calibrate.ranges import collect_ranges
from edgec.ir import Model
from edgec.ops.matmul import FullyConnectedAttributes
from edgec.quantize import quantize_int8
from edgec.repair.channels import ChannelStatistics, Floats, collect_channel_statistics
from edgec.repair.equalize import equalize
from edgec.repair.reach import lower_side, upper_side
from tests.quantize.small_graphs import RELU, Sketch, run_float, run_real, samples, sqnr

CHANNELS = 4000


def statistics_of(drawn: Floats) -> ChannelStatistics:
    """Of [samples, channels], one element in each channel of a sample."""
    active = np.count_nonzero(drawn, axis=0)
    extremes = drawn.sum(axis=0) / np.maximum(active, 1)
    return ChannelStatistics(
        low=drawn.min(axis=0),
        high=drawn.max(axis=0),
        mean=drawn.mean(axis=0),
        second_moment=(drawn**2).mean(axis=0),
        nonzero=active / len(drawn),
        active=active.astype(np.float64),
        usual_low=extremes,
        usual_high=extremes,
        coherent=(drawn**2).mean(axis=0),
        count=len(drawn),
        samples=len(drawn),
    )


@pytest.mark.parametrize("count", [8, 30, 100])
def test_the_mean_square_beyond_the_largest_is_what_further_samples_show(count: int) -> None:
    """Exponential draws, whose tail is the one assumed: within 20 %; a normal one is lighter by up to 3."""
    rng = np.random.default_rng(count)
    draws: list[tuple[Callable[[int], Floats], float, float]] = [
        (lambda n: rng.exponential(size=(n, CHANNELS)), 1.2, 1.2),
        (lambda n: np.abs(rng.normal(size=(n, CHANNELS))), 1.0, 3.0),
    ]
    for draw, least, most in draws:
        seen, further = draw(count), draw(2000)
        beyond = (np.maximum(further - seen.max(axis=0), 0.0) ** 2).mean()
        side = upper_side(statistics_of(seen), np.ones(CHANNELS))
        expected = (2 * side.excess**2 / (count + 1)).mean()
        assert beyond / least < expected < beyond * most


def test_room_above_the_largest_lets_less_be_clipped() -> None:
    """Room of five excesses behind a hundred samples leaves under 1 % of it, behind three a good part."""
    few, many = (
        upper_side(statistics_of(np.random.default_rng(0).exponential(size=(n, 50))), np.ones(50))
        for n in (3, 100)
    )
    shares: list[float] = []
    for side in (few, many):
        ends = side.reach + 5 * side.excess
        left = [side.noise(float(end), np.ones(50))[0] for end in ends]
        own = [
            side.clipped[index] * (1 + 5 / side.samples[index]) ** -side.samples[index] for index in range(50)
        ]
        assert np.all(np.asarray(left) >= own), "other channels only add"
        shares.append(float(np.sum(own) / side.clipped.sum()))
    assert shares[1] < 0.01 < 0.04 < shares[0]


def test_a_relu_has_nothing_to_clip_below() -> None:
    """Zero is its end, in samples unseen as well."""
    side = lower_side(statistics_of(np.random.default_rng(0).exponential(size=(9, 5))), np.ones(5))
    assert not side.reach.any() and side.clipped.sum() < 1e-50


def test_a_channel_that_was_always_zero_is_not_taken_for_nothing() -> None:
    """It may wake: a part of the widest channel's way, and less often than the others go beyond theirs."""
    drawn = np.random.default_rng(0).exponential(size=(20, 3)) * [1.0, 1.0, 0.0]
    side = upper_side(statistics_of(drawn), np.ones(3))
    assert 0 < side.excess[2] < drawn.max()
    assert 0 < side.clipped[2] < side.clipped[:2].min()


def drowsy(seed: int) -> Model:
    """A hidden layer with channels far below zero, which twelve samples hardly ever wake."""
    sketch = Sketch(seed)
    x = sketch.input(1, 16)
    bias = 0.2 * sketch.rng.normal(size=32) - 1.5 * (np.arange(32) < 8)
    hidden = sketch.build.op(
        "fully_connected",
        [x, sketch.weights(32, 16, fan_in=16), sketch.build.constant(bias.astype(np.float32))],
        FullyConnectedAttributes(fused_activation_function=RELU),
        "hidden",
    )
    return sketch.model(sketch.dense(hidden, 4, name="out"))


@pytest.mark.parametrize("seed", range(4))
def test_few_samples_are_no_reason_to_lose(seed: int) -> None:
    """Samples unseen wake channels: factors chosen for rounding alone lose 1 to 2 dB here, by clipping."""
    model = drowsy(seed)
    few, many = samples(model, 12), samples(model, 200, seed=2)
    truth = [run_float(model, sample)[0] for sample in many]

    def quality(changed: Model) -> float:
        quantized = quantize_int8(changed, collect_ranges(changed, few))
        return sqnr(truth, [run_real(quantized, sample)[0] for sample in many])

    repaired = equalize(model, collect_channel_statistics(model, few)).model
    assert quality(repaired) > quality(model) - 0.5
