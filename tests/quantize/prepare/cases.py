"""One float node between two convolutions, and the comparison of its int8 forms with float."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgec.emit import emit
from edgec.ir import Array, Model, Value
from edgec.kernels import Partitions, Runner
from edgec.legalize.profile import find_profile
from edgec.ops import ActivationFunctionType
from edgec.passes.contract import RulePass
from edgec.pipeline import integer_pipeline, run_passes
from edgec.quantize import quantize_int8
from edgec.rewrite import Explanation, Rule, apply_rules
from tests.quantize.small_graphs import Sketch, calibrated, run_float, samples

NONE = ActivationFunctionType.NONE
Middle = Callable[[Sketch, Value], Value]


def network(middle: Middle, *, channels: int = 6, size: int = 9, seed: int = 3) -> Model:
    """conv ─ middle ─ conv, seeded: two calls make the same model."""
    sketch = Sketch(seed)
    x = sketch.conv(sketch.input(1, size, size, 3), channels, fused=NONE)
    return sketch.model(sketch.conv(middle(sketch, x), 4, kernel=1, fused=NONE, name="last"))


def float_change(middle: Middle, rule: Rule, *, size: int = 9) -> float:
    """The largest change of the output that a rule makes in float, over the largest output."""
    model = network(middle, size=size)
    (sample,) = samples(model, 1)
    before = run_float(model, sample)[0]
    assert apply_rules(model.graph, (rule,)), "the rule did not fire"
    change = np.subtract(run_float(model, sample)[0], before)
    return float(np.abs(change).max() / np.abs(before).max())


def refusals(model: Model, rule: Rule) -> list[str]:
    """The reasons of a rule that does not fire anywhere."""
    explanations: list[Explanation] = []
    assert not apply_rules(model.graph, (rule,), explanations)
    return [item.reason for item in explanations]


def compiled(model: Model, *, prepared: bool) -> Model:
    """The int8 model of a network as a target with XNNPACK gets it, with or without `int8_rules`."""
    profile = find_profile("litert_xnnpack")
    if prepared:
        model = run_passes(model, integer_pipeline(profile), verify_each=True)
    quantized = quantize_int8(model, calibrated(model))
    for item in profile.final_passes:
        assert isinstance(item, RulePass)
        item.run(quantized)
    return quantized


def partitions(model: Model) -> Partitions:
    """How XNNPACK splits a model."""
    return Runner(emit(model).to_bytes()).partitions()


def channel_numbers(sketch: Sketch, channels: int, low: float, high: float) -> Array:
    """One seeded number a channel."""
    return sketch.rng.uniform(low, high, channels).astype(np.float32)
