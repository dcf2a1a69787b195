"""Integers chosen for weights are taken as they are, unless a kernel's limit widens their scale."""

from __future__ import annotations

import numpy as np
import pytest

from edgec.ir import Array, DType, Model, Value
from edgec.quantize import ChosenWeights, check_quantized, quantize_int8
from edgec.quantize.parameters import WEIGHT_LIMITS
from tests.quantize.small_graphs import Sketch, calibrated


def sketch() -> Model:
    """A convolution of 4 channels and a dense layer of 3."""
    s = Sketch(seed=4)
    y = s.conv(s.input(1, 6, 6, 2), 4, stride=2)
    flat = s.build.op("reshape", [y, s.build.constant(np.array([1, 36], np.int32))])
    return s.model(s.dense(flat, 3))


def weights_of(model: Model, kind: str) -> Value:
    """The weights of the only node of a kind."""
    (node,) = [node for node in model.graph if node.kind == kind]
    return node.operand(1)


def upward(weights: Array, dtype: DType = DType.INT8) -> ChosenWeights:
    """Every weight rounded up, on scales 5 % wider than natural: nothing that nearest would give."""
    limit = WEIGHT_LIMITS[dtype][1]
    rows = weights.reshape(len(weights), -1)
    scales = 1.05 * np.abs(rows).max(axis=1).astype(np.float64) / limit
    data = np.ceil(rows / scales[:, None]).reshape(weights.shape)
    return ChosenWeights(data.astype(np.int8), scales, dtype)


@pytest.mark.parametrize("kind", ["conv_2d", "fully_connected"])
def test_chosen_integers_appear_unchanged(kind: str) -> None:
    """Data and scales are the chosen ones to the bit; the other node's weights are rounded as ever."""
    model = sketch()
    ranges = calibrated(model)
    chosen = upward(weights_of(model, kind).constant())
    quantized = quantize_int8(model, ranges, chosen_weights={weights_of(model, kind): chosen})
    plain = quantize_int8(model, ranges)
    made = weights_of(quantized, kind)
    np.testing.assert_array_equal(made.constant(), chosen.data)
    assert made.type.quantization is not None
    assert made.type.quantization.scale == tuple(chosen.scales.astype(np.float32).tolist())
    assert not np.array_equal(made.constant(), weights_of(plain, kind).constant())
    other = {"conv_2d": "fully_connected", "fully_connected": "conv_2d"}[kind]
    np.testing.assert_array_equal(
        weights_of(quantized, other).constant(), weights_of(plain, other).constant()
    )
    assert check_quantized(quantized) == []


def test_the_bias_follows_the_chosen_scales() -> None:
    """The accumulator counts in input scale times chosen scale, so that is the unit of the bias."""
    model = sketch()
    weights = weights_of(model, "conv_2d")
    chosen = upward(weights.constant())
    quantized = quantize_int8(model, calibrated(model), chosen_weights={weights: chosen})
    (old,) = [node for node in model.graph if node.kind == "conv_2d"]
    (node,) = [node for node in quantized.graph if node.kind == "conv_2d"]
    form = node.operand(0).type.quantization
    assert form is not None
    expected = np.rint(old.operand(2).constant() / (form.scale[0] * chosen.scales))
    np.testing.assert_allclose(node.operand(2).constant(), expected, atol=1)  # float32 scales


def test_a_channel_whose_scale_is_widened_is_rounded_anew() -> None:
    """Weights of 1e-9 beside a bias of 5: int32 holds it on a wider scale only, where those weights are 0."""
    model = sketch()
    (node,) = [node for node in model.graph if node.kind == "conv_2d"]
    data, bias = node.operand(1).constant().copy(), node.operand(2).constant().copy()
    data[1] *= 1e-9
    bias[1] = 5.0
    weights = model.graph.constant(data, "weights")
    model.graph.set_operand(node, 1, weights)
    model.graph.set_operand(node, 2, model.graph.constant(bias, "bias"))
    chosen = upward(data)
    quantized = quantize_int8(model, calibrated(model), chosen_weights={weights: chosen})
    made = weights_of(quantized, "conv_2d")
    assert made.type.quantization is not None
    assert made.type.quantization.scale[1] > 100 * chosen.scales[1]
    assert not made.constant()[1].any() and chosen.data[1].any()
    for kept in (0, 2, 3):
        np.testing.assert_array_equal(made.constant()[kept], chosen.data[kept])
        assert made.type.quantization.scale[kept] == float(np.float32(chosen.scales[kept]))


def test_a_choice_for_another_element_type_does_not_apply() -> None:
    """Integers chosen for int4 are no use to an int8 model: it rounds to nearest."""
    model = sketch()
    ranges = calibrated(model)
    weights = weights_of(model, "conv_2d")
    chosen = upward(weights.constant(), DType.INT4)
    quantized = quantize_int8(model, ranges, chosen_weights={weights: chosen})
    plain = weights_of(quantize_int8(model, ranges), "conv_2d")
    np.testing.assert_array_equal(weights_of(quantized, "conv_2d").constant(), plain.constant())


def test_chosen_int4_integers_appear_unchanged() -> None:
    """The same for 4-bit weights, in [-7, 7]; the layer is large enough to be worth them."""
    s = Sketch(seed=5)
    model = s.model(s.dense(s.input(1, 128), 64))
    weights = weights_of(model, "fully_connected")
    chosen = upward(weights.constant(), DType.INT4)
    quantized = quantize_int8(model, calibrated(model), weights=DType.INT4, chosen_weights={weights: chosen})
    made = weights_of(quantized, "fully_connected")
    assert made.dtype is DType.INT4
    np.testing.assert_array_equal(made.constant(), chosen.data)
