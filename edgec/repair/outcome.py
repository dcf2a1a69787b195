"""What a repair hands back: the repaired model, and what it gained where."""

from __future__ import annotations

from dataclasses import dataclass

from edgec.ir import Model
from edgec.repair.channels import Statistics


@dataclass(frozen=True, slots=True)
class Gain:
    """Signal to noise, in dB, of one node's result before and after a repair."""

    node: str
    before: float
    after: float


@dataclass(frozen=True, slots=True)
class RepairOutcome:
    """A model that computes the same in float (or nearly, see the repair), and the gains by node.

    `statistics` are those of the repaired model where the repair knows them without another run.
    """

    model: Model
    gains: tuple[Gain, ...]
    statistics: Statistics | None = None
