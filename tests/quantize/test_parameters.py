"""Scales and zero points, by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgec.ir import DType, Quantization
from edgec.quantize.parameters import (
    MIN_SCALE,
    Form,
    as_uint8,
    from_range,
    quantize_array,
    represented,
    symmetric_from_limit,
    symmetric_scales,
    weight_quantization,
)

FLOAT32_MAX = float(np.finfo(np.float32).max)


@pytest.mark.parametrize(
    ("low", "high", "scale", "zero_point"),
    [
        (0.0, 6.0, 6 / 255, -128),  # ReLU6: all 256 levels above zero
        (-1.0, 3.0, 4 / 255, -64),  # -128 + 255 / 4 = -64.25
        (2.0, 5.0, 5 / 255, -128),  # zero joins the range
        (-5.0, -2.0, 5 / 255, 127),
        (0.0, 0.0, 1 / 255, -128),  # dead tensor: [0, 1]
    ],
)
def test_parameters_of_a_range(low: float, high: float, scale: float, zero_point: int) -> None:
    """scale = (high - low) / 255 as float32, zero point rounded."""
    assert from_range(low, high) == Quantization((float(np.float32(scale)),), (zero_point,))


def test_a_range_too_small_for_a_kernel_gets_the_least_scale() -> None:
    """Multipliers stay within int32 fixed point however small the values are."""
    assert from_range(-1e-30, 1e-30).scale == (float(np.float32(MIN_SCALE)),)


def test_the_widest_float32_range_has_a_finite_scale() -> None:
    """high - low overflows float32 here; the scale is computed in float64."""
    found = from_range(-FLOAT32_MAX, FLOAT32_MAX)
    assert found.scale[0] == pytest.approx(2 * FLOAT32_MAX / 255, rel=1e-6)


@pytest.mark.parametrize(("low", "high"), [(float("nan"), 1.0), (0.0, float("inf"))])
def test_a_range_that_is_not_finite_is_refused(low: float, high: float) -> None:
    """NaN must never become a scale."""
    with pytest.raises(ValueError, match="is not finite"):
        from_range(low, high)


@given(st.floats(-1e6, 1e6, width=32), st.floats(-1e6, 1e6, width=32))
def test_zero_is_exact_and_the_ends_are_within_a_step(first: float, second: float) -> None:
    """Zero is a level by construction; nudging it there moves the ends by half a step at most."""
    low, high = sorted((first, second))
    found = from_range(low, high)
    (scale,), (zero_point,) = found.scale, found.zero_point
    assert -128 <= zero_point <= 127
    bottom, top = represented(found)
    assert bottom <= 0.0 <= top
    assert bottom <= low + 0.501 * scale
    assert top >= high - 0.501 * scale


def test_uint8_of_an_int8_tensor_differs_by_128_in_the_zero_point() -> None:
    """The same real values, so that a device may feed camera bytes."""
    assert as_uint8(from_range(-1.0, 3.0)) == Quantization(from_range(-1.0, 3.0).scale, (64,))
    assert from_range(0.0, 6.0, DType.UINT8) == as_uint8(from_range(0.0, 6.0))


def test_symmetric_parameters_have_zero_point_zero() -> None:
    """127 levels each side; a limit of zero stands for a dead tensor."""
    assert symmetric_from_limit(2.54) == Quantization.per_tensor(0.02)
    assert symmetric_from_limit(0.0) == Quantization.per_tensor(1 / 127)
    with pytest.raises(ValueError, match="not finite"):
        symmetric_from_limit(float("inf"))


WEIGHTS = np.array([[[1.27, -0.5]], [[0.1, -2.54]], [[0.0, 0.0]]], np.float32)


def test_symmetric_scales_per_axis_and_for_all() -> None:
    """max |w| / 127 of each slice; a zero slice is 0, which `guarded_scales` replaces."""
    np.testing.assert_allclose(symmetric_scales(WEIGHTS, 0), [0.01, 0.02, 0.0], rtol=1e-6)
    np.testing.assert_allclose(symmetric_scales(WEIGHTS, 2), [0.01, 0.02], rtol=1e-6)
    np.testing.assert_allclose(symmetric_scales(WEIGHTS, None), [0.02], rtol=1e-6)


def test_quantized_weights_along_their_axis() -> None:
    """Each slice is divided by its own scale; -128 never appears in the narrow range."""
    form = weight_quantization(np.array([0.01, 0.02, 1.0]), 0)
    q = quantize_array(WEIGHTS, form, -127, 127)
    assert q.dtype == np.int8
    assert q.tolist() == [[[127, -50]], [[5, -127]], [[0, 0]]]


def test_rounding_is_half_to_even_and_saturates() -> None:
    """As the runtime's own quantize does; infinity (padding of a max pool) is the last level."""
    values = np.array([0.5, 1.5, -0.5, 1000.0, -np.inf, np.inf], np.float32)
    assert quantize_array(values, Quantization.per_tensor(1.0)).tolist() == [0, 2, 0, 127, -128, 127]
    assert quantize_array(values, Quantization.per_tensor(1.0, 10)).tolist() == [10, 12, 10, 127, -128, 127]


def test_one_scale_is_never_called_per_axis() -> None:
    """A tensor with one output channel has per-tensor parameters: axis 0."""
    assert weight_quantization(np.array([0.5]), 3) == Quantization((0.5,), (0,), 0)


def test_int16_is_symmetric_whatever_the_range() -> None:
    """Kernels assume a zero point of 0, so a one-sided range leaves half of the integers unused.

    Scales are powers of two: 3.2767 needs 4 = 32768 * 2^-13, 1 needs 32768 * 2^-15.
    """
    assert from_range(0.0, 3.2767, DType.INT16) == Quantization.per_tensor(2.0**-13)
    assert from_range(-3.2767, 1.0, DType.INT16) == Quantization.per_tensor(2.0**-13)
    assert from_range(0.0, 0.0, DType.INT16) == Quantization.per_tensor(2.0**-15)
    assert from_range(-1.0, 0.5, DType.INT16) == Quantization.per_tensor(2.0**-15)
    low, high = represented(Quantization.per_tensor(0.5), DType.INT16)
    assert (low, high) == (-16384.0, 16383.5)


def test_a_form_encodes_in_its_own_type() -> None:
    """Rounded half to even, saturated to what the type holds."""
    data = np.array([0.25, 0.75, 1e9, -1e9], np.float32)
    stored = Form(DType.INT16, Quantization.per_tensor(0.5)).encode(data)
    assert stored.dtype == np.int16
    assert stored.tolist() == [0, 2, 32767, -32768]
    stored = Form(DType.UINT8, Quantization.per_tensor(0.5, 128)).encode(data)
    assert stored.dtype == np.uint8
    assert stored.tolist() == [128, 130, 255, 0]
