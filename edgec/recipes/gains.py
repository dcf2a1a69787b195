"""How much less noise one quantized form of a model has than another, and whether that may be chance."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgec.recipes.metrics import Floats, Outputs

CERTAINTY = 2.0
"""Standard errors by which something has to be better that is usually not."""
CONVICTION = 3.0
"""The same against what is usually better: few judges from few recordings resemble each other."""
LEAST_GAIN_DB = 0.05
MOST_LOSS_DB = 0.5
"""What the worst output may lose where the mean of all outputs gains."""


def noise_of(outputs: Outputs, reference: Outputs) -> Floats:
    """Return the squared error of every sample and output, [samples, outputs]."""
    columns: list[Floats] = []
    for ours, floats in zip(outputs, reference, strict=True):
        wide = floats.astype(np.float64)
        with np.errstate(invalid="ignore"):  # infinite outputs give NaN, which is better than nothing
            noise = np.square(ours.astype(np.float64) - wide).reshape(len(wide), -1).mean(axis=1)
        columns.append(noise / (float(np.square(wide).mean()) or 1.0) + 1e-12)
    return np.stack(columns, axis=1)


def is_better(noise: Floats, before: Floats, certainty: float = 0.0) -> bool:
    """Whether there is less noise than before in the mean of all outputs, by so many standard errors."""
    gain, error = gains(noise, before).mean(), _spread(noise, before, lambda gains: gains.mean())
    return bool(gain > max(LEAST_GAIN_DB, certainty * float(error)))


def is_worse(noise: Floats, before: Floats) -> bool:
    """Whether there is surely more noise than before, or surely more than it may be at one of the outputs."""
    losses, error = -gains(noise, before), _spread(noise, before, lambda gains: gains)
    one = bool(np.any(losses - CONVICTION * error > MOST_LOSS_DB))
    return one or not np.all(np.isfinite(losses)) or is_better(before, noise, CONVICTION)


def _spread(noise: Floats, before: Floats, of: Callable[[Floats], Floats]) -> Floats:
    """Return the standard error of a function of the outputs' gains.

    It is the jackknife's (Efron and Stein 1981, "The jackknife estimate of variance").
    """
    count = len(noise)
    rest = [of(gains(np.delete(noise, one, axis=0), np.delete(before, one, axis=0))) for one in range(count)]
    return np.sqrt((count - 1) * np.var(rest, axis=0))


def gains(noise: Floats, before: Floats) -> Floats:
    """Return by how much the noise of each output fell, in dB; no number where a recipe gave none."""
    with np.errstate(invalid="ignore"):
        return 10 * np.log10(before.sum(axis=0) / noise.sum(axis=0))


def improves(noise: Floats, before: Floats, certainty: float = 0.0) -> bool:
    """Whether there is less noise in the mean, by so many standard errors, and no output pays for it."""
    return is_better(noise, before, certainty) and float(-gains(noise, before).min()) <= MOST_LOSS_DB
