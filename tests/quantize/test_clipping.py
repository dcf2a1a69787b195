"""The scale of least squared error, where levels are few."""

from __future__ import annotations

import numpy as np
import pytest

from edgec.ir import DType
from edgec.quantize.clipping import least_error_scales
from edgec.quantize.parameters import WEIGHT_LIMITS, symmetric_scales

INT4 = WEIGHT_LIMITS[DType.INT4]


def error(weights: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """Squared error of each row."""
    q = np.clip(np.rint(weights / scales[:, None]), *INT4)
    return ((weights - q * scales[:, None]) ** 2).sum(axis=1)


def test_weights_on_a_grid_are_found_exactly() -> None:
    """Integers times 0.25 that reach 7 steps: any other scale has an error."""
    data = 0.25 * np.array([[7, -3, 1, 0], [-7, 2, 5, 4]], np.float32)
    np.testing.assert_allclose(least_error_scales(data, 0, *INT4), [0.25, 0.25])


def test_an_outlier_is_cut_off_where_the_rest_gains_more() -> None:
    """1000 weights of ±1 beside one of 8: covering it (step 8/7) costs each of them 1/7."""
    data = np.ones((1, 1001), np.float32)
    data[0, ::2] = -1
    data[0, 0] = 8
    (found,) = least_error_scales(data, 0, *INT4)
    covering = 8 / 7
    assert error(data, np.array([found]))[0] < error(data, np.array([covering]))[0] / 10


def test_no_scale_of_a_fine_grid_is_better() -> None:
    """The search finds the least error of every channel to 1 %, against brute force."""
    rng = np.random.default_rng(0)
    rows = rng.standard_t(3, (20, 50)).astype(np.float32)
    found = error(rows, least_error_scales(rows, 0, *INT4))
    largest = np.abs(rows).max(axis=1) / 7
    brute = np.min([error(rows, largest * part) for part in np.linspace(0.1, 1.1, 2001)], axis=0)
    assert (found <= 1.01 * brute).all()


def test_normal_weights_gain_a_decibel_over_the_largest_weight_s_scale() -> None:
    """The optimum for a Gauss curve cut at 7 steps either way; the module's docstring says how much."""
    rows = np.random.default_rng(1).normal(size=(16, 1152)).astype(np.float32)
    covering = np.abs(rows).max(axis=1) / 7
    gain = error(rows, covering).sum() / error(rows, least_error_scales(rows, 0, *INT4)).sum()
    assert 10 * np.log10(gain) > 1


def test_any_axis_one_scale_and_zeros() -> None:
    """Axis 3 of depthwise weights; one scale for all; a channel of zeros has scale 0, as in int8."""
    data = np.random.default_rng(2).normal(size=(1, 3, 3, 4)).astype(np.float32)
    data[..., 2] = 0
    found = least_error_scales(data, 3, *INT4)
    rows = data.reshape(9, 4).T
    assert found[2] == 0
    np.testing.assert_allclose(found, least_error_scales(rows, 0, *INT4))
    assert least_error_scales(data, None, *INT4).shape == (1,)
    assert found.shape == symmetric_scales(data, 3).shape


@pytest.mark.parametrize("rows", [1, 3])
def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    """Large weights are searched in parts to keep memory small."""
    data = np.random.default_rng(3).normal(size=(7, 10)).astype(np.float32)
    whole = least_error_scales(data, 0, *INT4)
    monkeypatch.setattr("edgec.quantize.clipping._CHUNK", 10 * rows)
    np.testing.assert_array_equal(least_error_scales(data, 0, *INT4), whole)
