"""One layer's choice: compensation where it holds on samples not seen, nearest where it does not."""

from __future__ import annotations

import numpy as np
import pytest

from edgec.ir import DType
from edgec.quantize.parameters import Floats
from edgec.repair.rounding.choose import Method, choose
from edgec.repair.rounding.moments import Moments
from edgec.repair.rounding.stored import Stored


def nearest(weights: Floats, dtype: DType, one_scale: bool = False) -> Stored:
    """Weights rounded to nearest on natural scales."""
    limit = {DType.INT8: 127, DType.INT4: 7}[dtype]
    largest = np.abs(weights).max(axis=2)
    if one_scale:
        largest = np.full_like(largest, largest.max())
    scales = (largest / limit).astype(np.float32).astype(np.float64)
    safe = np.where(scales > 0, scales, 1.0)
    return Stored(np.rint(weights / safe[..., None]), scales, dtype, one_scale)


def moments(x: Floats, r: Floats) -> Moments:
    """Moments of positions [g, p, k] and [g, p, m]."""
    found = Moments(x.shape[0], r.shape[2], x.shape[2])
    found.add(x, r)
    return found


def inputs(seed: int, positions: int = 600, columns: int = 12) -> Floats:
    """Columns with a mean of 1 and a strong common part."""
    rng = np.random.default_rng(seed)
    common = rng.normal(size=(1, positions, 1))
    return 1 + common + 0.3 * rng.normal(size=(1, positions, columns))


WEIGHTS = np.random.default_rng(7).normal(size=(1, 6, 12))
NOTHING = np.zeros((1, 600, 6))


def mean_squared_error(x: Floats, r: Floats, stored: Stored, shift: Floats) -> float:
    """What a half that was not seen shows, summed over channels."""
    y = x @ (stored.real - WEIGHTS).transpose(0, 2, 1) + r + shift[:, None]
    return float((y**2).mean(axis=1).sum())


@pytest.mark.parametrize("dtype", [DType.INT8, DType.INT4])
def test_correlated_inputs_are_compensated(dtype: DType) -> None:
    """The error reported on unseen halves is borne out by a third set of positions."""
    stored = nearest(WEIGHTS, dtype)
    choice = choose(WEIGHTS, stored, (moments(inputs(1), NOTHING), moments(inputs(2), NOTHING)))
    assert choice.candidate.method is Method.COMPENSATED
    assert choice.error < 0.2 * choice.nearest_error
    x = inputs(3)
    before = mean_squared_error(x, NOTHING, stored, np.zeros((1, 6)))
    after = mean_squared_error(x, NOTHING, choice.candidate.stored, choice.candidate.shift)
    assert after < 0.2 * before
    assert choice.error == pytest.approx(after, rel=0.3)
    assert np.abs(choice.candidate.stored.q).max() <= stored.limit


def test_what_upstream_got_wrong_is_taken_back() -> None:
    """Inputs that arrive 10 % too small are answered by weights about 1 / 0.9 as large."""
    x = inputs(1)
    r = x @ WEIGHTS.transpose(0, 2, 1) * (1 - 1 / 0.9)
    seen = moments(x, r)
    choice = choose(WEIGHTS, nearest(WEIGHTS, DType.INT8), (seen, moments(x, r)))
    assert choice.error < 1e-3 * choice.nearest_error
    unseen = inputs(3)
    wanted = unseen @ WEIGHTS.transpose(0, 2, 1) / 0.9
    found = unseen @ choice.candidate.stored.real.transpose(0, 2, 1) + choice.candidate.shift[:, None]
    assert ((found - wanted) ** 2).mean() < 1e-3 * (wanted**2).mean()


def test_halves_that_contradict_each_other_leave_nearest() -> None:
    """What one half asks for makes the other worse: no candidate beats rounding to nearest."""
    x, rng = inputs(1), np.random.default_rng(8)
    r = 3 * x @ rng.normal(size=(1, 12, 6))
    stored = nearest(WEIGHTS, DType.INT8)
    choice = choose(WEIGHTS, stored, (moments(x, r), moments(x, -r)))
    assert choice.candidate.method is Method.NEAREST
    assert choice.candidate.stored is stored
    assert choice.error == choice.nearest_error
    assert not choice.candidate.shift.any()


def test_a_mean_error_alone_is_the_bias_matter() -> None:
    """Exact weights with an offset upstream keep their integers; the bias takes the offset back."""
    weights = np.round(WEIGHTS * 20).clip(-127, 127)
    weights[:, :, 0] = 127  # scale 1: all weights are on the grid
    stored = nearest(weights, DType.INT8)
    r = np.full((1, 600, 6), 0.25)
    choice = choose(weights, stored, (moments(inputs(1), r), moments(inputs(2), r)))
    assert choice.candidate.method is Method.BIAS
    np.testing.assert_allclose(choice.candidate.shift, -0.25, rtol=1e-9)
    assert choice.candidate.stored is stored


def test_one_scale_stays_one_scale() -> None:
    """Kernels without per-axis scales get integers on one grid, and they are better than nearest."""
    weights = WEIGHTS * np.array([1, 0.3, 0.1, 1, 1, 0.5])[None, :, None]
    stored = nearest(weights, DType.INT4, one_scale=True)
    choice = choose(weights, stored, (moments(inputs(1), NOTHING), moments(inputs(2), NOTHING)))
    assert len(np.unique(choice.candidate.stored.scales)) == 1
    assert choice.error < 0.3 * choice.nearest_error


def test_dead_channels_and_dead_inputs_are_harmless() -> None:
    """A channel of zeros stays zero, and so does everything where no input ever moves."""
    weights = WEIGHTS.copy()
    weights[:, 2] = 0
    stored = nearest(weights, DType.INT4)
    still = np.zeros((1, 600, 12))
    choice = choose(weights, stored, (moments(still, NOTHING), moments(still, NOTHING)))
    assert choice.candidate.method is Method.NEAREST
    moving = choose(weights, stored, (moments(inputs(1), NOTHING), moments(inputs(2), NOTHING)))
    assert not moving.candidate.stored.q[:, 2].any()
    assert moving.candidate.method is Method.COMPENSATED


def test_a_scale_that_a_kernel_prescribed_is_not_undercut() -> None:
    """A scale wider than the weights need stays: with a smaller one the quantizer would round anew."""
    stored = nearest(WEIGHTS, DType.INT8)
    scales = stored.scales.copy()
    scales[0, 1] *= 10
    widened = Stored(np.rint(WEIGHTS / scales[..., None]), scales, DType.INT8, False)
    choice = choose(WEIGHTS, widened, (moments(inputs(1), NOTHING), moments(inputs(2), NOTHING)))
    assert choice.candidate.method is Method.COMPENSATED
    assert choice.candidate.stored.scales[0, 1] == scales[0, 1]
    assert choice.candidate.stored.scales[0, 0] < 1.05 * scales[0, 0]
