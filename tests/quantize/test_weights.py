"""Weight scales and bias within the limits of every kernel, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from edgec.ir import DType, Quantization
from edgec.quantize.parameters import MIN_WEIGHT_SCALE, symmetric_scales
from edgec.quantize.weights import (
    MAX_BIAS,
    MIN_MULTIPLIER,
    ZERO_CHANNEL_MULTIPLIER,
    guarded_scales,
    quantize_bias,
    weight_scales,
)


def test_ordinary_weights_keep_their_natural_scale() -> None:
    """No limit is near, so nothing is widened: max |w| / 127."""
    natural = symmetric_scales(np.array([[1.27], [2.54]], np.float32), 0)
    found = guarded_scales(natural, np.array([0.5, -3.0], np.float32), 0.02, 0.05)
    np.testing.assert_array_equal(found, natural)


def test_bias_is_in_units_of_the_accumulator() -> None:
    """0.5 * [0.25, 0.125] = [0.125, 0.0625]; 1 / 0.125 = 8, -2 / 0.0625 = -32."""
    weights = Quantization((0.25, 0.125), (0, 0), 0)
    q, form = quantize_bias(np.array([1.0, -2.0], np.float32), 0.5, weights)
    assert q.dtype == np.int32
    assert q.tolist() == [8, -32]
    assert form == Quantization((0.125, 0.0625), (0, 0), 0)


def test_a_channel_of_tiny_weights_keeps_its_bias() -> None:
    """With weights of 1e-9 a bias of 5 would need 5 / (0.02 * 8e-12) = 3e13: far beyond int32."""
    natural = np.array([1e-9 / 127, 0.01])
    bias = np.array([5.0, 5.0], np.float32)
    scales = guarded_scales(natural, bias, 0.02, 0.04)
    q, form = quantize_bias(bias, 0.02, Quantization(tuple(np.float32(scales).tolist()), (0, 0)))
    assert abs(int(q[0])) < 2**30
    np.testing.assert_allclose(q * np.array(form.scale), bias, rtol=1e-4)
    assert scales[1] == natural[1]


def test_one_scale_for_all_is_widened_by_the_largest_bias() -> None:
    """Per tensor, the worst channel decides."""
    scales = guarded_scales(np.array([1e-12]), np.array([0.0, -7.0], np.float32), 0.02, 0.04)
    assert scales.tolist() == pytest.approx([7.0 / (0.02 * MAX_BIAS)])


def test_a_vanishing_channel_keeps_a_multiplier_that_kernels_can_shift() -> None:
    """1e-38 / 127 would underflow to a multiplier of 0."""
    (scale,) = guarded_scales(np.array([1e-38 / 127]), None, 0.02, 0.04)
    assert 0.02 * scale / 0.04 == pytest.approx(MIN_MULTIPLIER)


def test_a_zero_channel_gets_a_scale_fine_enough_for_its_bias() -> None:
    """Its output is its bias: 2^-16 of an output step is the unit."""
    (scale,) = guarded_scales(np.zeros(1), np.array([0.3], np.float32), 0.02, 0.04)
    assert 0.02 * scale / 0.04 == pytest.approx(ZERO_CHANNEL_MULTIPLIER)


def test_no_scale_is_near_the_denormal_numbers() -> None:
    """Even where input and output scales make the other limits tiny."""
    (scale,) = guarded_scales(np.zeros(1), None, 1e30, 1e-9)
    assert scale == MIN_WEIGHT_SCALE


def test_bias_beside_int16_activations_has_64_bits() -> None:
    """Units are 256 times finer: 5 / (1e-4 * 1e-6) = 5e10 fits, where int8 would have to widen the scale."""
    natural = np.array([1e-6])
    bias = np.array([5.0], np.float32)
    scales = guarded_scales(natural, bias, 1e-4, 1e-4, DType.INT16)
    np.testing.assert_array_equal(scales, natural)
    assert guarded_scales(natural, bias, 1e-4, 1e-4)[0] > 10 * natural[0]
    weights = Quantization((float(np.float32(scales[0])),), (0,))
    q, form = quantize_bias(bias, 1e-4, weights, DType.INT16)
    assert q.dtype == np.int64
    assert q[0] * form.scale[0] == pytest.approx(5.0)


def test_scales_of_int4_are_finer_than_the_largest_weight_asks_for() -> None:
    """int8 covers it exactly; int4 cuts it off, per slice or for all."""
    data = np.random.default_rng(0).normal(size=(4, 300)).astype(np.float32)
    largest = np.abs(data).max(axis=1)
    np.testing.assert_allclose(weight_scales(data, 0, DType.INT8), largest / 127)
    assert (weight_scales(data, 0, DType.INT4) < 0.95 * largest / 7).all()
    assert weight_scales(data, None, DType.INT4).shape == (1,)
