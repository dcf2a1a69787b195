"""Equalization: the same function, less noise in int8."""

from __future__ import annotations

import numpy as np
import pytest

from edgec.calibrate.ranges import collect_ranges
from edgec.emit import emit
from edgec.ir import Model
from edgec.quantize import quantize_int8
from edgec.repair.channels import collect_channel_statistics
from edgec.repair.equalize import equalize
from edgec.repair.outcome import RepairOutcome
from tests.quantize.small_graphs import RELU6, output_sqnr, samples
from tests.repair.nets import largest_difference, mixed, uneven

ALL_KINDS = ("conv_2d", "depthwise_conv_2d", "fully_connected")


def repaired(model: Model, **options: object) -> RepairOutcome:
    statistics = collect_channel_statistics(model, samples(model, 64))
    return equalize(model, statistics, **options)  # pyright: ignore[reportArgumentType]


def int8_sqnr(model: Model, judge: Model, per_axis: bool = True) -> float:
    """SQNR of a model's int8 form against `judge` on samples that no calibration saw."""
    quantized = quantize_int8(model, collect_ranges(model, samples(model, 64)), per_axis=per_axis)
    return min(output_sqnr(judge, quantized))


@pytest.mark.parametrize("seed", [0, 1])
def test_the_float_function_stays_on_samples_seen_and_unseen(seed: int) -> None:
    """Within 1e-5 of the largest output, for a graph with every kind of joint; the model given stays, too."""
    model = mixed(seed)
    before = emit(model).to_bytes()
    outcome = repaired(model)
    assert emit(model).to_bytes() == before
    for draw in (1, 99):
        assert largest_difference(model, outcome.model, seed=draw) < 1e-5


def test_uneven_channels_gain_in_int8() -> None:
    """Ranges that differ up to 300 times: 10 dB and more, with weight scales for each channel."""
    for seed in range(3):
        model = uneven(seed=seed)
        assert int8_sqnr(repaired(model).model, model) > int8_sqnr(model, model) + 10


def test_one_weight_scale_gains_from_the_same_sum() -> None:
    """Per-tensor weights lose nearly everything without, and are as good as even channels with it.

    In the mean of six networks: the rounding errors of one are a draw that scatters by 3 dB.
    """
    behind: list[float] = []
    for seed in range(6):
        model, even = uneven(spread=1000.0, seed=seed), uneven(spread=1.0, seed=seed)
        assert int8_sqnr(model, model, per_axis=False) < 10
        found = repaired(model, per_tensor_kinds=ALL_KINDS).model
        behind.append(int8_sqnr(even, even, per_axis=False) - int8_sqnr(found, model, per_axis=False))
    assert np.mean(behind) < 2


def test_gains_are_told_by_node_and_add_up_to_a_gain() -> None:
    """One for each node that rounds; the worst of them after is 10 dB above the worst before."""
    outcome = repaired(uneven())
    assert sorted(gain.node for gain in outcome.gains) == ["depthwise", "logits", "mean", "point", "stem"]
    worst = min(outcome.gains, key=lambda gain: gain.before)
    assert min(gain.after for gain in outcome.gains) > worst.before + 10


def test_channels_behind_a_relu6_stay_unless_a_margin_is_given() -> None:
    """Bit-equal weights without; with a margin they are scaled, and values below the clamp stay exact."""
    model = uneven(RELU6)
    kept = repaired(model).model
    for old, new in zip(model.graph, kept.graph, strict=True):
        if old.kind != "fully_connected":
            assert np.array_equal(old.operand(1).constant(), new.operand(1).constant()), old
    scaled = repaired(model, clamp_margin=2.0).model
    assert largest_difference(model, scaled, seed=99) < 1e-5
    assert int8_sqnr(scaled, model) > int8_sqnr(model, model) + 10


def test_one_weight_scale_frees_channels_far_below_the_clamp_by_default() -> None:
    """Else per-tensor weights collapse; infinity asks for exactness at any price."""
    model = uneven(RELU6)
    kept = repaired(model, per_tensor_kinds=ALL_KINDS, clamp_margin=np.inf).model
    assert np.array_equal(
        next(iter(kept.graph)).operand(1).constant(), next(iter(model.graph)).operand(1).constant()
    )
    scaled = repaired(model, per_tensor_kinds=ALL_KINDS).model
    assert int8_sqnr(scaled, model, per_axis=False) > int8_sqnr(kept, model, per_axis=False) + 10
    assert largest_difference(model, scaled, seed=99) < 1e-5


def test_a_channel_that_reaches_the_clamp_is_left_alone() -> None:
    """Its clamp would move: min(s x, 6) is not s min(x, 6). With margin 2 this starts at 3."""
    model = uneven(RELU6, spread=1.0)
    stem = next(iter(model.graph))
    bias = stem.operand(2)
    bias.data = bias.constant() + np.eye(16, dtype=np.float32)[5] * 5  # channel 5 is clamped now and then
    statistics = collect_channel_statistics(model, samples(model, 64))
    assert statistics["stem"].high[5] == 6.0
    scaled = equalize(model, statistics, clamp_margin=2.0).model
    new = next(iter(scaled.graph))
    assert np.array_equal(stem.operand(1).constant()[5], new.operand(1).constant()[5])
    assert largest_difference(model, scaled, seed=99) < 1e-5


def test_a_graph_without_freedom_comes_back_the_same() -> None:
    """One node between input and output: nothing to scale, nothing changed."""
    model = uneven()
    first = next(iter(model.graph)).result
    model.graph.set_outputs([first])
    model.outputs[:] = model.outputs[:1]
    outcome = repaired(model)
    assert np.array_equal(
        next(iter(outcome.model.graph)).operand(1).constant(), next(iter(model.graph)).operand(1).constant()
    )


def test_two_runs_give_the_same_bytes() -> None:
    """Nothing is drawn at random."""
    model = mixed()
    assert emit(repaired(model).model).to_bytes() == emit(repaired(model).model).to_bytes()


def test_the_outcome_knows_its_statistics_without_another_run() -> None:
    """What a run of the repaired model shows, but for rounding."""
    model = uneven()
    outcome = repaired(model)
    again = collect_channel_statistics(outcome.model, samples(model, 64))
    assert outcome.statistics is not None and outcome.statistics.keys() == again.keys()
    for name, found in again.items():
        np.testing.assert_allclose(outcome.statistics[name].high, found.high, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(outcome.statistics[name].second_moment, found.second_moment, rtol=1e-4)
