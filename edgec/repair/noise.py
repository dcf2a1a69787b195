"""The expected noise at the outputs of an int8 model, as a function of channel factors.

With factors s = exp(z), statistics and sensitivities S (see `sensitivity`), a tensor with one scale adds

    Δ² / 12 * Σ_c S_c p_c / s_c²          Δ = (max_c s_c high_c - min_c s_c low_c) / 255

where p_c is the share of elements other than zero, which rounds to itself. Samples that were not seen reach
beyond that range (see `reach`), and what is clipped there adds, with the end T of the range,

    Σ_c clipped_c * (1 + (T / s_c - high_c) / (k_c excess_c)) ^ -k_c

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
class Side:
    """One end of the range that activations share, seen from zero; arrays have one entry for each channel.

    `reach` is how far each channel was seen to go, in how many `samples`; `excess` how far beyond it goes in
    the mean where it does, and `clipped` the noise at the outputs if the range ends at its reach.
    """

    reach: Floats
    samples: Floats
    excess: Floats
    clipped: Floats

    def end(self, factors: Floats, norm: float) -> tuple[float, Floats]:
        """Return where the range ends, and each channel's share in that."""
        return _smooth_max(self.reach * factors, norm)

    def noise(self, end: float, factors: Floats) -> tuple[float, Floats]:
        """Return the noise of what is clipped, and what it falls by as log(end / factor) grows."""
        room = end / factors / self.excess
        rarity = 1 + np.maximum(room - self.reach / self.excess, 0.0) / self.samples
        clipped = self.clipped * rarity**-self.samples
        return float(clipped.sum()), clipped / rarity * room


@dataclass(frozen=True, slots=True)
class ActivationTerm:
    """Activations that share one scale; `rounded` is the noise at the outputs for errors of power 1."""

    node: Node | None
    labels: Labels
    high: Side
    low: Side
    rounded: Floats

    def evaluate(self, z: Floats, gradient: Floats | None = None) -> float:
        """Return the noise power at the outputs; add its derivative by z to `gradient`.

        Without gradient, maxima are exact.
        """
        factors = np.exp(z[self.labels])
        norm = np.inf if gradient is None else NORM
        high, high_shares = self.high.end(factors, norm)
        low, low_shares = self.low.end(factors, norm)
        received = self.rounded / factors**2
        total = float(received.sum())
        step = (high + low) / ACTIVATION_LEVELS
        above, high_falls = self.high.noise(high, factors)
        below, low_falls = self.low.noise(low, factors)
        if gradient is not None:
            slope = 2 * step * total / ACTIVATION_LEVELS * (high * high_shares + low * low_shares)
            slopes = _ROUNDING * (slope - 2 * step**2 * received)
            slopes += high_falls - high_shares * high_falls.sum() + low_falls - low_shares * low_falls.sum()
            np.add.at(gradient, self.labels, slopes)
        return _ROUNDING * step**2 * total + above + below


@dataclass(frozen=True, slots=True)
class WeightTerm:
    """The weights of one node, in groups of outputs that read the same inputs: [group, output, input].

    `largest` is max_k |w[o,k,c]|, `raised` its ratio to the largest of the row (of all, without per-axis
    scales) to the power `NORM`, and `peaks` are these largest of rows. The errors of power 1 that output o
    makes of what it reads of channel c, as heard at the model's outputs, are S_o p_o K E[x_c²]: the sum of
    `heard[i,o] * read[i,c]` over i, one for independent errors and one for shared ones.
    """

    node: Node | None
    inputs: Labels
    outputs: Labels
    largest: Floats
    raised: Floats
    peaks: Floats
    heard: Floats
    read: Floats
    per_axis: bool

    @staticmethod
    def of(
        node: Node,
        inputs: Labels,
        outputs: Labels,
        largest: Floats,
        heard: Floats,
        read: Floats,
        per_axis: bool,
    ) -> WeightTerm:
        """Return the term for vectors over all inputs and outputs; `largest` is by group."""
        groups, rows, depth = largest.shape
        peaks = largest.max(axis=2) if per_axis else np.full((groups, rows), largest.max(initial=0.0))
        raised = (largest / np.maximum(peaks, _TINY)[:, :, None]) ** NORM
        return WeightTerm(
            node,
            inputs.reshape(groups, depth),
            outputs.reshape(groups, rows),
            largest,
            raised,
            peaks,
            heard.reshape(-1, groups, rows),
            read.reshape(-1, groups, depth),
            per_axis,
        )

    def evaluate(self, z: Floats, gradient: Floats | None = None) -> float:
        """Return the noise power at the outputs; add its derivative by z to `gradient`.

        Without gradient, maxima are exact.
        """
        into, out = np.exp(z[self.inputs]), np.exp(z[self.outputs])
        powers = self.read * into**2
        received = (self.heard * powers.sum(axis=2, keepdims=True)).sum(axis=0)
        if gradient is None:
            largest = (self.largest / into[:, None, :]).max(axis=2)
            if not self.per_axis:
                largest = float((largest * out).max()) / out
            return _ROUNDING * float(((largest / WEIGHT_LEVELS) ** 2 * received).sum())
        narrowed = into**-NORM
        rows = np.maximum(np.matmul(self.raised, narrowed[:, :, None])[:, :, 0], _TINY)
        if self.per_axis:
            largest = self.peaks * rows ** (1 / NORM)
            noise = _ROUNDING * (largest / WEIGHT_LEVELS) ** 2 * received
            shares = noise / rows
        else:
            raised_out = out**NORM
            whole = max(float((raised_out * rows).sum()), _TINY)
            largest = self.peaks * whole ** (1 / NORM) / out
            noise = _ROUNDING * (largest / WEIGHT_LEVELS) ** 2 * received
            shares = raised_out * (noise.sum() / whole)
            np.add.at(gradient, self.outputs, 2 * shares * rows - 2 * noise)
        by_heard = (self.heard * (noise / np.maximum(received, _TINY))).sum(axis=2, keepdims=True)
        slopes = 2 * (by_heard * powers).sum(axis=0)
        slopes -= 2 * np.matmul(shares[:, None, :], self.raised)[:, 0, :] * narrowed
        np.add.at(gradient, self.inputs, slopes)
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
