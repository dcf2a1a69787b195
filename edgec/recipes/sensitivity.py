"""Which nodes cost accuracy: every node is made int8 alone, in an otherwise float model, by the real kernels.

Rounding errors of different nodes are close to independent, so their noise powers add up to nearly the whole
model's, and a node's share says what an island around it could win back.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from edgec.ir import Model
from edgec.recipes.evaluate import Evaluation


class IslandMaker(Protocol):
    """Quantizes one node of a model and leaves the rest in float."""

    def only(self, node: str) -> Model:
        """Return the float model with this node in int8."""
        ...


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """A node, the SQNR of the worst output in dB with this node alone in int8, and its share of the noise."""

    node: str
    sqnr_db: float
    share: float


def sensitivities(
    maker: IslandMaker,
    nodes: Sequence[str],
    evaluation: Evaluation,
    progress: Callable[[int], None] = lambda done: None,
) -> list[Sensitivity]:
    """Return every node's sensitivity, the most sensitive first; equal ones keep the order of execution."""
    found: list[tuple[str, float]] = []
    for count, node in enumerate(nodes, 1):
        found.append((node, evaluation.score(maker.only(node)).worst_sqnr_db))
        progress(count)
    noises = [_noise(sqnr) for _, sqnr in found]
    total = math.fsum(noises) or 1.0
    ranked = [
        Sensitivity(node, sqnr, noise / total) for (node, sqnr), noise in zip(found, noises, strict=True)
    ]
    return sorted(ranked, key=lambda item: -item.share)


def _noise(sqnr_db: float) -> float:
    """Return noise power relative to the signal; bounded, since a dead output has no signal."""
    return 10 ** (-max(sqnr_db, -100.0) / 10)
