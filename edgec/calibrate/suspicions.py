"""Does the data look as the model expects it? Wrong normalization leaves traces in the first layers.

    gain = sqrt(sum of a filter's squared weights) * rms of its input        (median over the filters)

A trained first layer brings its input to the order of its bias and of one: on the models we looked at, fed as
they want it, the gain is 0.3 to 3 and 0.4 to 28 times the bias. Pixels of 0..255 for a model of 0..1, or the
reverse, move it by 255. A wrong mean or a wrong order of the colors leaves no such trace, and a model without
biases of weight (the MNIST model of CNTK) works at any scale: a suspicion is no proof.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgec.calibrate import problems
from edgec.calibrate.histogram import bin_edges
from edgec.calibrate.statistics import TensorStatistics
from edgec.diagnostics import Diagnostic
from edgec.ir import Model, Node, Value

Floats = npt.NDArray[np.float64]

LARGE, SMALL = 40.0, 0.03
"""Gains, and multiples of the bias, far beyond what right inputs give."""

FLAT = 0.02
"""Spread over magnitude of a first layer's input below which the layer sees next to nothing."""

_PIXELS, _NORMALIZED = "These look like pixels in 0..255.", "These look normalized."

_OUTPUT_AXIS = {"conv_2d": 0, "depthwise_conv_2d": 3, "fully_connected": 0}


@dataclass(frozen=True, slots=True)
class Suspicion:
    """An input whose values, from `low` to `high`, look too large or too small; `text` is what shows it."""

    name: str
    low: float
    high: float
    text: str
    too_large: bool

    def diagnostic(self) -> Diagnostic:
        """Return the warning."""
        size = "large" if self.too_large else "small"
        what = f"values {self.low:.4g}..{self.high:.4g} look too {size} for the model: {self.text}"
        why = "Ranges from wrongly scaled data are wrong in every layer."
        return problems.warning(problems.NORMALIZATION, f"input '{self.name}'", what, why, self._step())

    def _step(self) -> str:
        if self.too_large and self.low >= 0 and 1 < self.high <= 255:
            return f"{_PIXELS} For a model of 0..1 divide by 255: mean = [0], std = [255]."
        if not self.too_large and self.low >= -1.01 and self.high <= 1.01:
            return f"{_NORMALIZED} For a model of pixels in 0..255 leave that out: mean = [0], std = [1]."
        return "Check mean and std against the model's training."


def find_suspicions(model: Model, histograms: Mapping[str, TensorStatistics]) -> list[Suspicion]:
    """Return every input whose values do not suit the first layers that read it.

    Needs the statistics of the inputs with histograms; layers without bias are judged by their gain alone.
    """
    found: list[Suspicion] = []
    for value, port in zip(model.graph.inputs, model.inputs, strict=True):
        seen = histograms.get(value.name)
        if seen is None or not seen.counts.any():
            continue
        trouble = next(
            filter(None, (_trouble(node, seen, histograms) for node in _first_layers(value))), None
        )
        if trouble is not None:
            found.append(Suspicion(port.name, seen.low, seen.high, *trouble))
    return found


def _first_layers(value: Value) -> Iterator[Node]:
    """Yield the nodes with constant weights that the value reaches through nodes without."""
    pending, seen = [value], {value}
    while pending:
        for node in pending.pop(0).users:
            if node.kind in _OUTPUT_AXIS and node.operand(1).is_constant:
                yield node
                continue
            fresh = [result for result in node.results if result not in seen]
            seen.update(fresh)
            pending += fresh


def _trouble(
    node: Node, seen: TensorStatistics, histograms: Mapping[str, TensorStatistics]
) -> tuple[str, bool] | None:
    """Return what a layer shows, and whether its input is too large (or else too small)."""
    read = histograms.get(node.operand(0).name)
    if read is None or not read.counts.any():
        return None
    mean, rms = moments(read)
    if rms and (rms**2 - mean**2) ** 0.5 < FLAT * abs(mean) and seen.high > seen.low:
        return (
            f"'{node.operand(0).name}', which the first layer reads, is all but constant ({mean:.3g})",
            False,
        )
    gain = float(np.median(_filter_norms(node))) * rms
    bias = _usual_bias(node)
    against = f"{gain:.3g}" + (f" against a bias of {bias:.3g}" if bias else "")
    text = f"the first layer '{node.results[0].name}' answers with {against}"
    if gain > LARGE * max(bias, 1.0):
        return text, True
    if gain and gain < SMALL * min(bias or 1.0, 1.0):
        return text, False
    return None


def moments(tensor: TensorStatistics) -> tuple[float, float]:
    """Return mean and root mean square of the counted values."""
    lower, upper = bin_edges(tensor.width)
    centres = np.clip((lower + upper) / 2, tensor.low, tensor.high)
    weights = tensor.counts / tensor.counts.sum()
    return float(weights @ centres), float(weights @ centres**2) ** 0.5


def _filter_norms(node: Node) -> Floats:
    weights = node.operand(1).constant().astype(np.float64)
    filters = np.moveaxis(weights, _OUTPUT_AXIS[node.kind], 0)
    return np.sqrt((filters.reshape(len(filters), -1) ** 2).sum(axis=1))


def _usual_bias(node: Node) -> float:
    bias = node.optional_operand(2)
    if bias is None or not bias.is_constant:
        return 0.0
    return float(np.median(np.abs(bias.constant().astype(np.float64))))
