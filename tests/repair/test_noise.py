"""The expected noise: its derivative, and the noise itself against kernels that round."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgec.calibrate.ranges import collect_ranges
from edgec.ir import Model
from edgec.quantize import quantize_int8
from edgec.quantize.roles import assign_roles
from edgec.repair.bias import correct_bias_analytically
from edgec.repair.channels import collect_channel_statistics
from edgec.repair.freedom import FIXED, Freedom, find_freedom
from edgec.repair.noise import ActivationTerm, Term, total_noise
from edgec.repair.sensitivity import find_sensitivities
from edgec.repair.terms import activation_terms, weight_terms
from tests.quantize.small_graphs import output_sqnr, samples
from tests.repair.nets import mixed, uneven

KINDS = frozenset({"conv_2d", "depthwise_conv_2d", "fully_connected"})


def terms_of(model: Model, per_tensor: bool = False) -> tuple[list[Term], Freedom]:
    roles = assign_roles(model.graph)
    statistics = collect_channel_statistics(model, samples(model, 64))
    freedom = find_freedom(model.graph, roles)
    hearing = find_sensitivities(model.graph, roles, statistics)
    facts = (model.graph, roles, statistics, freedom, hearing)
    kinds = KINDS if per_tensor else frozenset[str]()
    return [*activation_terms(*facts), *weight_terms(*facts, kinds)], freedom


@pytest.mark.parametrize("per_tensor", [False, True])
def test_the_gradient_is_the_derivative(per_tensor: bool) -> None:
    """Of every term of a graph with all kinds of joints, in a random direction (central differences)."""
    terms, freedom = terms_of(mixed(), per_tensor)
    rng = np.random.default_rng(0)
    z = rng.normal(0, 0.3, freedom.count)
    z[FIXED] = 0
    for term in terms:
        gradient, unused = np.zeros(freedom.count), np.zeros(freedom.count)
        value = term.evaluate(z, gradient)
        direction = rng.normal(size=freedom.count)
        direction[FIXED] = 0
        above, below = (term.evaluate(z + h * direction, unused) for h in (1e-5, -1e-5))
        slope = (above - below) / 2e-5
        assert gradient @ direction == pytest.approx(slope, rel=1e-5, abs=1e-9 * value), term.node


def test_smoothing_only_adds_rounding_noise() -> None:
    """A p-norm is no less than the maximum, and near it; a wider range clips less, that is left out here."""
    terms, freedom = terms_of(mixed())
    z = np.zeros(freedom.count)
    for term in map(without_clipping, terms):
        exact, smooth = term.evaluate(z), term.evaluate(z, np.zeros(freedom.count))
        assert exact <= smooth * (1 + 1e-9) and smooth < 2 * exact


def without_clipping(term: Term) -> Term:
    if not isinstance(term, ActivationTerm):
        return term
    high, low = (replace(side, clipped=0 * side.clipped) for side in (term.high, term.low))
    return replace(term, high=high, low=low)


def test_expected_noise_is_near_what_int8_kernels_show() -> None:
    """A network's weights are one draw of rounding errors, which scatters by some dB.

    The mean over eight networks of four weighted nodes is within 1.5 dB, biases corrected. (Nothing is
    clipped: 64 normal samples show nearly all there is.)
    """
    apart: list[float] = []
    for seed in range(8):
        model = uneven(spread=10.0, seed=seed)
        terms, freedom = terms_of(model)
        expected = -10 * np.log10(total_noise(list(map(without_clipping, terms)), np.zeros(freedom.count)))
        ranges = collect_ranges(model, samples(model, 64))
        statistics = collect_channel_statistics(model, samples(model, 64))
        corrected = correct_bias_analytically(
            model, statistics, lambda m, r=ranges: quantize_int8(m, r)
        ).model
        (measured,) = output_sqnr(model, quantize_int8(corrected, ranges))
        apart.append(measured - expected)
    assert np.abs(apart).max() < 6
    assert abs(np.mean(apart)) < 1.5


def test_one_scale_for_all_weights_costs_more_where_channels_are_uneven() -> None:
    """Per axis, a narrow output channel has a scale of its own."""
    model = uneven()
    zero = np.zeros(terms_of(model)[1].count)
    assert total_noise(terms_of(model, True)[0], zero) > 10 * total_noise(terms_of(model)[0], zero)
