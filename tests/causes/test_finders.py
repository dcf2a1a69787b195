"""Causes in the samples: found where they were planted, with an ablation, and not where they were not."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgec.calibrate.ranges import collect_ranges
from edgec.causes import Case, Cause
from edgec.causes.case import Undo
from edgec.causes.samples import duplicate_samples, outlier_samples, saturation, too_few_samples
from edgec.ir import Array, Model, Value
from edgec.ops import Builder
from edgec.ops.matmul import FullyConnectedAttributes
from edgec.quantize import quantize_int8
from edgec.recipes.evaluate import Evaluation, EvaluationData
from tests.support.ir_graphs import make_model

RNG = np.random.default_rng(0)


def _dense(build: Builder, x: Value) -> Value:
    weights = build.constant(RNG.normal(size=(4, 8)).astype(np.float32))
    return build.op(
        "fully_connected", [x, weights, build.constant(np.zeros(4, np.float32))], FullyConnectedAttributes()
    )


def _samples(model: Model, rows: Array) -> list[dict[str, Array]]:
    return [{model.inputs[0].name: row[None]} for row in rows]


def _case(model: Model, calibration: Array, fresh: Array) -> Case:
    samples = _samples(model, calibration)
    ranges = collect_ranges(model, samples)

    def requantize(undo: Undo) -> Model:
        return quantize_int8(
            model, undo.ranges or ranges, float_nodes=undo.float_nodes, float_outputs=_outputs(undo)
        )

    def _outputs(undo: Undo) -> Sequence[str]:
        return [port.name for port in model.outputs] if undo.float_nodes else []

    data = EvaluationData(_samples(model, fresh), None, "fresh")
    made = quantize_int8(model, ranges)
    return Case(
        model, made, ranges, samples, lambda index: f"sample {index}", Evaluation(model, data), requantize
    )


def _uniform(count: int, seed: int) -> Array:
    return np.random.default_rng(seed).uniform(-1, 1, (count, 8)).astype(np.float32)


def test_an_outlier_sample_is_named_with_its_cost() -> None:
    """One sample of 30 times the others' size costs five bits; without it they come back."""
    rows = _uniform(256, 1)
    rows[5] *= 30
    (cause,) = outlier_samples(_case(make_model(_dense, (1, 8)), rows, _uniform(16, 2)))
    assert "sample 5" in cause.what
    assert cause.gain_db is not None
    assert cause.gain_db > 15


def test_even_samples_have_no_outlier() -> None:
    """Samples of one distribution: the widest is hardly wider than the next."""
    assert _all(outlier_samples(_case(make_model(_dense, (1, 8)), _uniform(16, 1), _uniform(16, 2)))) == []


def test_repeated_samples_are_counted() -> None:
    """A quarter of the samples is one and the same."""
    rows = _uniform(16, 1)
    rows[12:] = rows[0]
    (cause,) = duplicate_samples(_case(make_model(_dense, (1, 8)), rows, _uniform(4, 2)))
    assert cause.what.startswith("4 of 16 samples repeat another one: sample 12 = sample 0")
    assert _all(duplicate_samples(_case(make_model(_dense, (1, 8)), _uniform(16, 1), _uniform(4, 2)))) == []


def test_one_sample_is_too_few() -> None:
    """Its ranges are luck, whatever they are."""
    (cause,) = too_few_samples(_case(make_model(_dense, (1, 8)), _uniform(1, 1), _uniform(4, 2)))
    assert cause.kind == "too few samples"


def test_values_beyond_their_range_are_saturation() -> None:
    """Calibrated on a tenth of the real range, wider ranges win back most of the signal."""
    (cause,) = saturation(_case(make_model(_dense, (1, 8)), _uniform(32, 1) / 10, _uniform(16, 2)))
    assert cause.gain_db is not None
    assert cause.gain_db > 10


def _all(causes: object) -> list[Cause]:
    return list(causes)  # type: ignore[call-overload]
