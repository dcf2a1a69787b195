"""What the report says of accuracy, layer by layer, and why it was lost."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LayerCheck:
    """A node's first result in the quantized model against the float model, as both run.

    `sqnr_db` holds all rounding up to here. `share` is the part of the output's noise that this node alone
    makes, with the rest of the model in float; null where it was not measured.
    """

    node: str
    kind: str
    sqnr_db: float
    share: float | None = None


@dataclass(frozen=True, slots=True)
class NamedCause:
    """One reason for lost accuracy. `gain_db` is what undoing it alone won on the worst output, or null."""

    kind: str
    where: str
    what: str
    gain_db: float | None
    tried: str
    next_step: str


@dataclass(frozen=True, slots=True)
class TensorHistogram:
    """How the values of a tensor lie in the range it was given.

    `counts` are of equal bins from `low` to `high`; [`range_low`, `range_high`] is what its integers express,
    and values beyond are clipped to it. The bins at both ends hold what lies farther out.
    `role` is `activations` or `weights`.
    """

    tensor: str
    role: str
    low: float
    high: float
    range_low: float
    range_high: float
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Explanation:
    """`inputs` says in words what was run; the lists are in order of execution, causes by what they cost."""

    inputs: str
    layers: tuple[LayerCheck, ...] = ()
    causes: tuple[NamedCause, ...] = ()
    histograms: tuple[TensorHistogram, ...] = ()
