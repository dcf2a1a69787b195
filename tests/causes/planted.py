"""Small models with one fault each, quantized and explained as a compile does it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgec.calibrate.data import InputSpec, open_samples
from edgec.causes.explain import explain
from edgec.ir import Array, Model, Value
from edgec.ops import Builder
from edgec.recipes.apply import Integers, Task, quantize_by_recipe
from edgec.recipes.evaluate import EvaluationData
from edgec.recipes.recipe import Recipe
from edgec.recipes.workbench import Interface
from edgec.reports.explanation import NamedCause

PLAIN = Recipe(calibrator="minmax", repairs=())


def quantized(
    model: Model,
    calibration: Array,
    fresh: Array,
    recipe: Recipe = PLAIN,
    interface: Interface | None = None,
) -> Integers:
    """Return an int8 model of one input, calibrated on rows and judged on fresh ones."""
    (port,) = model.inputs
    spec = InputSpec(port.name, port.shape, port.dtype.numpy, port.source_layout)
    samples = open_samples({port.name: calibration}, [spec])
    data = EvaluationData([{port.name: row.reshape(port.shape)} for row in fresh], None, "fresh samples")
    return quantize_by_recipe(
        Task(model, samples, recipe, interface or Interface(), "litert_xnnpack", data=data)
    )


def causes(made: Integers) -> tuple[NamedCause, ...]:
    """Return the named causes, the costliest first."""
    return explain(made).causes


def kinds(found: Sequence[NamedCause]) -> list[str]:
    """Return what the causes are called."""
    return [cause.kind for cause in found]


def uniform(count: int, *shape: int, seed: int, low: float = -1.0, high: float = 1.0) -> Array:
    """Return rows of float32 noise."""
    return np.random.default_rng(seed).uniform(low, high, (count, *shape)).astype(np.float32)


def dense(build: Builder, x: Value, weights: Array, bias: Array | None = None) -> Value:
    """Return a fully_connected with given rows."""
    bias = np.zeros(len(weights), np.float32) if bias is None else bias
    operands = [x, build.constant(weights.astype(np.float32)), build.constant(bias.astype(np.float32))]
    return build.op("fully_connected", operands)
