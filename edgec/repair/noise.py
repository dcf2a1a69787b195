"""The expected rounding noise at the outputs of an int8 model, as a function of channel factors.

With factors s = exp(z), statistics and sensitivities S (see `sensitivity`), a tensor with one scale adds

    Δ² / 12 * Σ_c S_c / s_c²              Δ = (max_c s_c high_c - min_c s_c low_c) / 255

and the weights of a node, rounded to Δ_o = max_{k,c} |w[o,k,c]| s_o / s_c / 127, add

    Σ_o S_o p_o Δ_o² / 12 / s_o² * Σ_{k,c} E[x_c²] s_c²

(with a scale for each output channel s_o cancels; with one scale for all, Δ is the largest of them). Rounding
errors count as uniform and independent (Widrow 1956). Maxima are smoothed to p-norms, so that all is
differentiable in z.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from edgec.ir import Node
from edgec.repair.channels import Floats
from edgec.repair.freedom import Labels

ACTIVATION_LEVELS = 255
WEIGHT_LEVELS = 127
_ROUNDING = 1 / 12
_TINY = 1e-200
NORM = 24.0


class Term(Protocol):
    """One source of noise."""

    @property
    def node(self) -> Node | None:
        """What makes the noise; None for the model's inputs."""
        ...

    def evaluate(self, z: Floats, gradient: Floats | None = None) -> float:
        """Return the noise power at the outputs; add its derivative by z to `gradient`.

        Without gradient, maxima are exact.
        """
        ...


@dataclass(frozen=True, slots=True)
class ActivationTerm:
    """Activations that share one scale."""

    node: Node | None
    labels: Labels
    high: Floats
    low: Floats
    sensitivity: Floats

    def evaluate(self, z: Floats, gradient: Floats | None = None) -> float:
        """Return the noise power at the outputs; add its derivative by z to `gradient`.

        Without gradient, maxima are exact.
        """
        factors = np.exp(z[self.labels])
        norm = np.inf if gradient is None else NORM
        high, high_shares = _smooth_max(self.high * factors, norm)
        low, low_shares = _smooth_max(self.low * factors, norm)
        received = self.sensitivity / factors**2
        total = float(received.sum())
        step = (high + low) / ACTIVATION_LEVELS
        if gradient is not None:
            slope = 2 * step * total / ACTIVATION_LEVELS * (high * high_shares + low * low_shares)
            np.add.at(gradient, self.labels, _ROUNDING * (slope - 2 * step**2 * received))
        return _ROUNDING * step**2 * total


@dataclass(frozen=True, slots=True)
class WeightTerm:
    """The weights of one node, `norm` powers of their magnitudes prepared for matrix products.

    `largest[o, c]` is max_k |w[o,k,c]|, `raised` its ratio to the largest of the row (of all, without
    per-axis scales) to the power `NORM`, `power[o, c]` is S_o p_o K E[x_c²] where o reads c.
    """

    node: Node | None
    inputs: Labels
    outputs: Labels
    largest: Floats
    raised: Floats
    power: Floats
    per_axis: bool

    def evaluate(self, z: Floats, gradient: Floats | None = None) -> float:
        """Return the noise power at the outputs; add its derivative by z to `gradient`.

        Without gradient, maxima are exact.
        """
        into, out = np.exp(z[self.inputs]), np.exp(z[self.outputs])
        received = self.power @ into**2
        if gradient is None:
            steps = self.largest / into
            largest = steps.max(axis=1) if self.per_axis else float((steps.max(axis=1) * out).max()) / out
            return _ROUNDING * float((largest / WEIGHT_LEVELS) ** 2 @ received)
        narrowed = into**-NORM
        rows = np.maximum(self.raised @ narrowed, _TINY)
        if self.per_axis:
            peaks = self.largest.max(axis=1) * rows ** (1 / NORM)
            noise = _ROUNDING * (peaks / WEIGHT_LEVELS) ** 2 * received
            shares = noise / rows
        else:
            raised_out = out**NORM
            whole = max(float(raised_out @ rows), _TINY)
            peak = float(self.largest.max()) * whole ** (1 / NORM)
            noise = _ROUNDING * (peak / out / WEIGHT_LEVELS) ** 2 * received
            shares = raised_out * (noise.sum() / whole)
            np.add.at(gradient, self.outputs, 2 * shares * rows - 2 * noise)
        by_power = (noise / np.maximum(received, _TINY)) @ self.power * into**2
        np.add.at(gradient, self.inputs, 2 * by_power - 2 * (shares @ self.raised) * narrowed)
        return float(noise.sum())


def _smooth_max(values: Floats, norm: float) -> tuple[float, Floats]:
    """Return the p-norm, and each value's share d log(result) / d log(value)."""
    largest = max(float(values.max(initial=0.0)), _TINY)
    if np.isinf(norm):
        return largest, np.zeros_like(values)
    powers = (values / largest) ** norm
    whole = max(float(powers.sum()), _TINY)
    return largest * whole ** (1 / norm), powers / whole


def total_noise(terms: Sequence[Term], z: Floats) -> float:
    """Return the sum of all terms."""
    return sum(term.evaluate(z) for term in terms)
