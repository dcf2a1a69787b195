"""What is put into a quantized model is what its quantizer would have made of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from edgec.ir import DType, Model, Value
from edgec.quantize import ChosenWeights, quantize_int8, quantize_int16x8, quantize_weight_only
from edgec.repair.copying import copy_with
from edgec.repair.rounding.layers import Layer, weighted_layers
from edgec.repair.rounding.stored import as_chosen, stored_weights
from edgec.repair.rounding.twins import put
from tests.quantize.small_graphs import calibrated
from tests.repair.nets import mixed


def quantized(form: str, model: Model, chosen: Mapping[Value, ChosenWeights]) -> Model:
    """One form of a model, its ranges always those of the network `mixed`."""
    ranges = calibrated(mixed())
    if form == "int16x8":
        return quantize_int16x8(model, ranges, chosen_weights=chosen)
    dtype = DType.INT4 if form == "int4" else DType.INT8
    return quantize_int8(model, ranges, weights=dtype, per_axis=form != "one_scale", chosen_weights=chosen)


def changed(layer: Layer, twin: Layer, factor: float = 0.9) -> ChosenWeights:
    """Integers about a step away from nearest, the first channel zero, and scales by a factor."""
    stored = stored_weights(layer, twin)
    assert stored is not None
    q = stored.q + np.random.default_rng(5).integers(-1, 2, stored.q.shape)
    scales = (stored.scales * factor).astype(np.float32).astype(np.float64)
    q[0, 0] = 0
    if not stored.one_scale:
        scales[0, 0] = 0
    return as_chosen(layer, replace(stored, q=np.clip(q, -stored.limit, stored.limit), scales=scales))


def bias_up(work: Model, index: int) -> Layer:
    """Add one to a layer's bias, and return the layer."""
    layer = weighted_layers(work.graph)[index]
    bias = work.graph.constant((layer.bias().reshape(-1) + 1).astype(np.float32))
    work.graph.set_operand(layer.node, layer.bias_index, bias)
    return layer


def assert_alike(ours: Model, theirs: Model) -> None:
    """Same nodes, same types, same constants; names may differ."""
    for mine, other in zip(ours.graph, theirs.graph, strict=True):
        assert (mine.kind, mine.attributes) == (other.kind, other.attributes)
        values = zip((*mine.operands, *mine.results), (*other.operands, *other.results), strict=True)
        for a, b in values:
            assert (a and a.type) == (b and b.type)
            if a is not None and b is not None and a.data is not None:
                np.testing.assert_array_equal(a.constant(), b.constant())


@pytest.mark.parametrize("form", ["int8", "one_scale", "int4", "int16x8"])
def test_a_choice_becomes_what_the_quantizer_makes_of_it(form: str) -> None:
    """Layer after layer, weights and biases, in every kind of layer."""
    model = mixed()
    work, made = copy_with(model), quantized(form, model, {})
    chosen: dict[Value, ChosenWeights] = {}
    for index, twin in enumerate(weighted_layers(made.graph)):
        layer = bias_up(work, index)
        chosen[layer.weights] = changed(layer, twin)
        assert put(layer, twin, chosen[layer.weights])
        assert_alike(made, quantized(form, work, chosen))


def test_what_reaches_further_is_left_to_the_quantizer() -> None:
    """Scales that would raise the result's, weights of another type, and weight-only forms change nothing."""
    model = mixed()
    layer = bias_up(copy_with(model), -1)
    for made, factor, dtype in (
        (quantized("int8", model, {}), 1e6, DType.INT8),
        (quantized("int8", model, {}), 1.0, DType.INT4),
        (quantize_weight_only(model, DType.INT8), 1.0, DType.INT8),
    ):
        twin = weighted_layers(made.graph)[-1]
        choice = replace(changed(layer, twin, factor), dtype=dtype)
        before = list(twin.node.operands)
        assert not put(layer, twin, choice)
        assert list(twin.node.operands) == before
