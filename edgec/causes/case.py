"""What every finder looks at, and what it says.

The number of a cause is an ablation: the model is quantized again with this one thing undone, run on the same
samples, and the SQNR of the worst output compared. A cause without a measurable ablation has no number and
ranks last.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from edgec.causes.extremes import Extremes, Floats, channel_peaks
from edgec.ir import DType, Model, Node, Value
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
    """What to do differently when quantizing again; the default is everything as it was.

    `float_nodes` and `repairs` come on top of the recipe's; `per_axis` gives each channel of weights a scale.
    Without `fitted`, repairs that suit the model to its calibration samples (bias, rounding) are left out.
    """

    ranges: Ranges | None = None
    float_nodes: tuple[str, ...] = ()
    repairs: tuple[str, ...] = ()
    per_axis: bool = False
    fitted: bool = True


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
    def channel_peaks(self) -> Mapping[Value, Floats]:
        """Largest magnitude of every channel of weighted nodes' results, on the evaluation samples."""
        return channel_peaks(self.model, tuple(self.ranges), self.evaluation.data.samples)

    @cached_property
    def scales(self) -> Mapping[str, float]:
        """Scale of every activation that one node of the int8 model makes, by name."""
        made = [result for node in self.quantized.graph for result in node.results]
        forms = [(value.name, value.type.quantization) for value in made]
        return {name: form.scale[0] for name, form in forms if form is not None and not form.per_axis}

    @cached_property
    def sqnr_db(self) -> float:
        """SQNR of the worst output of the model to explain, in dB."""
        return self.evaluation.score(self.quantized).worst_sqnr_db

    def ranges_of(self, keep: npt.NDArray[np.bool_]) -> dict[str, tuple[float, float]]:
        """Return the min/max ranges over some calibration samples only."""
        return {**self.ranges, **self.extremes.ranges(keep)}

    def gain_of(self, undo: Undo) -> float:
        """Return how much better the worst output is with one thing undone, in dB."""
        return self.evaluation.score(self.requantize(undo)).worst_sqnr_db - self.sqnr_db

    @property
    def has_int16(self) -> bool:
        """Whether activations have 16 bits."""
        return any(value.dtype is DType.INT16 for node in self.quantized.graph for value in node.results)

    def output_is_float(self, index: int) -> bool:
        """Whether the model to explain gives an output in float."""
        return self.quantized.graph.outputs[index].dtype.is_float

    def nodes(self, kinds: Sequence[str] | None = None) -> list[Node]:
        """Return the nodes of the float graph, of all kinds or of some."""
        return [node for node in self.model.graph if kinds is None or node.kind in kinds]
