"""What every finder looks at, and what it says.

The number of a cause is an ablation: the model is quantized again with this one thing undone, run on the same
samples, and the SQNR of the worst output compared. A cause without a measurable ablation has no number and
ranks last.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from edgec.causes.extremes import Extremes
from edgec.ir import Model, Node
from edgec.recipes.evaluate import Evaluation, Samples

Ranges = Mapping[str, tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Cause:
    """One reason. `gain_db` is what undoing it won on the worst output, in dB; None where none was measured.

    `tried` says what edgec did to measure or mend it, `next_step` what the user can do.
    """

    kind: str
    where: str
    what: str
    gain_db: float | None = None
    tried: str = ""
    next_step: str = ""


@dataclass(frozen=True)
class Undo:
    """What to do differently when quantizing again; the default is everything as it was."""

    ranges: Ranges | None = None
    float_nodes: tuple[str, ...] = ()
    repairs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Case:
    """One int8 model to explain.

    `model` is the float model that was quantized and `ranges` what it was quantized with; `samples` are the
    calibration samples, `sample_name` names one by its position. `requantize` makes the int8 model again.
    """

    model: Model
    quantized: Model
    ranges: Ranges
    samples: Samples
    sample_name: Callable[[int], str]
    evaluation: Evaluation
    requantize: Callable[[Undo], Model]

    @cached_property
    def extremes(self) -> Extremes:
        """Smallest and largest value of every tensor in every calibration sample."""
        return Extremes.collect(self.model, tuple(self.ranges), self.samples)

    @cached_property
    def sqnr_db(self) -> float:
        """SQNR of the worst output of the model to explain, in dB."""
        return self.evaluation.score(self.quantized).worst_sqnr_db

    def gain_of(self, undo: Undo) -> float:
        """Return how much better the worst output is with one thing undone, in dB."""
        return self.evaluation.score(self.requantize(undo)).worst_sqnr_db - self.sqnr_db

    def nodes(self, kinds: Sequence[str] | None = None) -> list[Node]:
        """Return the nodes of the float graph, of all kinds or of some."""
        return [node for node in self.model.graph if kinds is None or node.kind in kinds]
