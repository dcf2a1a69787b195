"""Rounding of whole models: outputs come nearer to float, whatever the form of the weights."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial

import numpy as np
import pytest

from edgec.emit import emit
from edgec.ir import Array, DType, Model, Value
from edgec.kernels import Runner
from edgec.quantize import ChosenWeights, check_quantized, quantize_int8, quantize_weight_only
from edgec.quantize.parameters import Floats
from edgec.repair.rounding import Method, QuantizedPath, RoundingOutcome, compensate, compensate_rounding
from edgec.repair.rounding.feeds import MAX_SAMPLES, take_feeds
from edgec.repair.rounding.layers import Layer, weighted_layers
from edgec.repair.rounding.moments import Moments
from edgec.repair.rounding.observe import observe
from edgec.repair.rounding.replay import as_stored, extract
from tests.quantize.small_graphs import RELU, Sketch, calibrated, output_sqnr, samples
from tests.repair.nets import mixed


def deep(uneven: bool = False, width: int = 64) -> Model:
    """Convolutions wide enough for int4 weights, a depthwise one between them, and a dense end.

    `uneven` makes the weights of half of the first channels a twentieth, the next layer's 20 times as large.
    """
    s = Sketch(seed=2)
    y = s.conv(s.input(1, 10, 10, 3), 16, fused=RELU, name="stem")
    z = s.depthwise(y, name="spread")
    if uneven:
        scale_channels(y, np.float32(1 / 20), axis=0)
        scale_channels(z, np.float32(20), axis=3)
    y = s.conv(z, width, kernel=1, name="widen")
    y = s.conv(y, 16, kernel=3, stride=2, name="reduce")
    flat = s.build.op("reshape", [y, s.build.constant(np.array([1, 400], np.int32))])
    return s.model(s.dense(flat, 10))


def scale_channels(result: Value, factor: np.float32, axis: int) -> None:
    """Scale the weights of the first 8 channels, and a convolution's bias with them."""
    assert result.producer is not None
    weights = result.producer.operand(1).constant().view(np.float32)
    weights[(slice(None),) * axis + (slice(8),)] *= factor
    if axis == 0:
        result.producer.operand(2).constant().view(np.float32)[:8] *= factor


def path_of(form: str, model: Model) -> QuantizedPath:
    """How a model of one form is made."""
    if form == "weight_only_int4":
        return lambda m, chosen: quantize_weight_only(m, DType.INT4, chosen_weights=chosen)
    ranges = calibrated(model)
    dtype = DType.INT4 if form == "int4" else DType.INT8
    quantize = partial(quantize_int8, ranges=ranges, weights=dtype, per_axis=form != "one_scale")
    return lambda m, chosen: quantize(m, chosen_weights=chosen)


def gain(model: Model, path: QuantizedPath, outcome: RoundingOutcome) -> float:
    """How many dB the first output's SQNR rises, on samples that calibration did not see."""
    repaired = path(outcome.model, outcome.weights)
    return output_sqnr(model, repaired)[0] - output_sqnr(model, path(model, {}))[0]


@pytest.mark.parametrize(
    ("form", "width", "count", "least"),
    [
        ("int8", 64, 64, 0.0),
        ("one_scale", 16, 128, 1.0),
        ("int4", 64, 64, 3.0),
        ("weight_only_int4", 64, 64, 3.0),
    ],
)
def test_outputs_come_nearer_to_float(form: str, width: int, count: int, least: float) -> None:
    """Few levels gain much; beside 8-bit activations, whose noise stays, 8-bit weights gain little.

    Random inputs without any structure are the hardest case: nothing but padding and relu correlates them.
    One scale for uneven channels loses most in the layer that has it, so layers behind have to take back its
    errors: for that they need positions, 16 for each of 9 * 16 columns.
    """
    model = deep(uneven=form == "one_scale", width=width)
    path = path_of(form, model)
    outcome = compensate_rounding(model, samples(model, count), path, threads=1)
    assert gain(model, path, outcome) > least
    assert any(item.method is Method.COMPENSATED for item in outcome.gains)
    assert all(item.after <= item.before for item in outcome.gains)
    assert all(item.gain_db >= 0 for item in outcome.gains)


def test_the_chosen_integers_are_those_of_the_quantized_model() -> None:
    """Whatever was chosen stands in the file, and the file is within every kernel's limits."""
    model = deep()
    path = path_of("int8", model)
    outcome = compensate_rounding(model, samples(model, 32), path, threads=1)
    quantized = path(outcome.model, outcome.weights)
    pairs = zip(weighted_layers(model.graph), weighted_layers(quantized.graph), strict=True)
    seen = 0
    for layer, made in pairs:
        if layer.weights in outcome.weights:
            seen += 1
            np.testing.assert_array_equal(made.weights.constant(), outcome.weights[layer.weights].data)
    assert seen == len(outcome.weights) > 0
    assert check_quantized(quantized) == []


def test_the_order_of_samples_changes_nothing() -> None:
    """Samples are sorted by content, so that the very same sums and halves come about."""
    model = deep()
    path = path_of("int4", model)
    given = samples(model, 12)
    first = compensate_rounding(model, given, path, threads=1)
    second = compensate_rounding(model, given[::-1], path, threads=1)
    assert first.gains == second.gains
    assert list(first.weights) == list(second.weights)
    for value, chosen in first.weights.items():
        np.testing.assert_array_equal(chosen.data, second.weights[value].data)
        np.testing.assert_array_equal(chosen.scales, second.weights[value].scales)


def test_the_model_given_stays_as_it_is() -> None:
    """Its biases and their readers are untouched; the outcome's model differs in biases alone."""
    model = mixed()
    before = [[id(value) for value in node.operands] for node in model.graph]
    outcome = compensate_rounding(model, samples(model, 16), path_of("int8", model), threads=1)
    assert [[id(value) for value in node.operands] for node in model.graph] == before
    pairs = zip(weighted_layers(model.graph), weighted_layers(outcome.model.graph), strict=True)
    moved = 0
    for old, new in pairs:
        assert old.weights is new.weights
        moved += not np.array_equal(old.bias(), new.bias())
    assert moved > 0


def test_layers_that_cannot_be_chosen_are_named() -> None:
    """Weights that two nodes share keep nearest, and the outcome says so."""
    s = Sketch()
    x = s.input(1, 8)
    weights = s.weights(8, 8, fan_in=8)
    y = s.build.op("fully_connected", [x, weights, s.bias(8)], name="first")
    y = s.build.op("fully_connected", [y, weights, s.bias(8)], name="second")
    model = s.model(s.dense(y, 4, name="third"))
    outcome = compensate_rounding(model, samples(model, 8), path_of("int8", model), threads=1)
    assert outcome.skipped == {
        "first": "other nodes read the same weights",
        "second": "other nodes read the same weights",
    }
    assert [item.node for item in outcome.gains] == ["third"]


def test_small_weights_that_stay_float_are_named() -> None:
    """Weight-only forms leave small constants alone; there is nothing to choose."""
    s = Sketch()
    model = s.model(s.dense(s.input(1, 8), 4, name="small"))
    outcome = compensate_rounding(model, samples(model, 8), path_of("weight_only_int4", model), threads=1)
    assert outcome.skipped == {"small": "its weights stay float"}


@pytest.mark.parametrize("count", [0, 1])
def test_without_two_samples_nothing_is_chosen(count: int) -> None:
    """A choice needs somebody to judge it who did not make it."""
    model = deep()
    outcome = compensate_rounding(model, samples(model, count), path_of("int8", model), threads=1)
    assert not outcome.weights and not outcome.gains
    assert set(outcome.skipped.values()) == {"fewer than two samples"}


@pytest.mark.parametrize("count", [2, 3])
def test_a_half_of_one_position_has_no_spread(count: int) -> None:
    """What is left of x xᵀ - x xᵀ in float32 is no metric to solve in: the layer is chosen without it."""
    s = Sketch()
    hidden = s.build.op("relu", [s.dense(s.input(1, 48), 64, name="wide")])
    model = s.model(s.dense(hidden, 32, name="next"))
    for seed in range(5):
        outcome = compensate_rounding(
            model, samples(model, count, seed=seed), path_of("int8", model), threads=1
        )
        assert [item.node for item in outcome.gains] == ["wide", "next"]
        assert all(np.isfinite([item.before, item.after]).all() for item in outcome.gains)


def test_a_bias_is_made_where_there_is_none() -> None:
    """A dense layer without bias gets one that takes back the mean error."""
    s = Sketch()
    x = s.input(1, 64)
    relu = s.build.op("relu", [x])
    model = s.model(s.build.op("fully_connected", [relu, s.weights(32, 64, fan_in=64)], name="plain"))
    outcome = compensate_rounding(model, samples(model, 64), path_of("int4", model), threads=1)
    (layer,) = weighted_layers(outcome.model.graph)
    assert layer.node.optional_operand(2) is not None
    assert gain(model, path_of("int4", model), outcome) > 1


def test_progress_counts_layers() -> None:
    """Every layer is told once, in order."""
    model = mixed()
    told: list[tuple[int, int]] = []
    path = path_of("int8", model)
    compensate_rounding(
        model, samples(model, 4), path, threads=1, progress=lambda done, total: told.append((done, total))
    )
    count = len(weighted_layers(model.graph))
    assert told == [(index + 1, count) for index in range(count)]


@pytest.mark.parametrize("form", ["int8", "int4", "weight_only_int4"])
def test_each_layer_is_judged_behind_the_choices_before_it(
    form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What every layer is observed to read is what the path's own model of all choices so far computes."""
    model = deep()
    path = path_of(form, model)
    given = samples(model, 6)
    seen: list[list[Array]] = []

    def watched(
        layer: Layer, weights: Floats, twin: Value, inputs: Iterable[tuple[Array, Array]], count: int
    ) -> tuple[Moments, Moments]:
        pairs = [(expected, stored.copy()) for expected, stored in inputs]
        seen.append([stored for _, stored in pairs])
        return observe(layer, weights, twin, pairs, count)

    monkeypatch.setattr(compensate, "observe", watched)
    outcome = compensate_rounding(model, given, path, threads=1)
    finished = path(outcome.model, outcome.weights)
    feeds = take_feeds(model.inputs, given, 2**20)
    names = {gain.node for gain in outcome.gains}
    observed = [layer for layer in weighted_layers(finished.graph) if layer.name in names]
    assert len(seen) == len(observed) > 1
    for layer, arrays in zip(observed, seen, strict=True):
        if layer.data in finished.graph.inputs:
            continue
        part = extract(finished, finished.graph.inputs, [layer.data])
        for feed, array in zip(feeds, arrays, strict=True):
            stored = [as_stored(v, a) for v, a in zip(finished.graph.inputs, feed, strict=True)]
            (expected,) = Runner(emit(part).to_bytes()).run(stored)
            step = (
                1e-4 if form == "weight_only_int4" else 1
            )  # kernels of other fusions round in another order
            assert np.abs(array.astype(np.float64) - expected.astype(np.float64)).max() <= step


def test_int8_is_quantized_once_however_many_layers() -> None:
    """Quantizing the whole model once a layer would be quadratic in layers."""
    model = mixed()
    inner = path_of("int8", model)
    calls: list[int] = []

    def path(work: Model, chosen: Mapping[Value, ChosenWeights]) -> Model:
        calls.append(len(chosen))
        return inner(work, chosen)

    compensate_rounding(model, samples(model, 16), path, threads=1)
    assert calls == [0]


def test_of_many_samples_the_same_ones_are_kept() -> None:
    """At most `MAX_SAMPLES`, and no more than the budget holds, chosen by content, not by place."""
    s = Sketch()
    model = s.model(s.dense(s.input(1, 8), 4))
    given = samples(model, MAX_SAMPLES + 30)
    kept = take_feeds(model.inputs, given, 2**20)
    assert len(kept) == MAX_SAMPLES
    again = take_feeds(model.inputs, given[::-1], 2**20)
    assert all(np.array_equal(a[0], b[0]) for a, b in zip(kept, again, strict=True))
    few = take_feeds(model.inputs, given, 5 * 8 * 4)
    assert len(few) == 5
    assert all(np.array_equal(a[0], b[0]) for a, b in zip(few, kept, strict=False))
