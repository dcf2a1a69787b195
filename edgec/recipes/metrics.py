"""What "good enough" is measured by: a metric turns the outputs of two models into a drop, smaller is better.

with labels       top1, top5, ...    points of 100 that the share of right answers fell
                  mse                growth of the mean squared error, in percent of the float model's
                  module:function    your own `function(outputs, labels) -> float`, larger is better;
                                     the drop is in its own unit (an mAP of 0..1 drops by 0.01)
without labels    agreement          percent of samples whose top class is another one than in float
                  error              RMS error of the worst output, in percent of its RMS (1 % is 40 dB)
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, cast

import numpy as np
import numpy.typing as npt

from edgec.diagnostics import CompileError, Diagnostic
from edgec.ir import Array

Floats = npt.NDArray[np.float64]
Outputs = Sequence[Array]
"""One array for each output of a model, samples along the first axis: `[n, *shape]`, real values."""

UNKNOWN = "E0613"
UNSUITED = "E0614"


class Metric(Protocol):
    """Compares a model with the float model it came from."""

    @property
    def name(self) -> str:
        """How users call it."""
        ...

    @property
    def unit(self) -> str:
        """The unit of a drop."""
        ...

    def value(self, outputs: Outputs, reference: Outputs, labels: Array | None) -> float:
        """Return the figure of one model; `reference` are the float model's outputs."""
        ...

    def drop(self, value: float, reference: float) -> float:
        """Return by how much a model's figure is worse than the float model's; negative where better."""
        ...


@dataclass(frozen=True)
class TopK:
    """Share of samples whose label is among the k largest outputs, in percent."""

    k: int = 1
    unit: str = "points"

    @property
    def name(self) -> str:
        """`top1`, `top5`, ..."""
        return f"top{self.k}"

    def value(self, outputs: Outputs, reference: Outputs, labels: Array | None) -> float:
        """Rank the last axis of the only output with more than one class; ties go to the lower index."""
        scores = _class_scores(outputs, self.name)
        assert labels is not None
        if labels.shape != (len(scores),) or labels.dtype.kind not in "iu":
            shape = ", ".join(("n", *map(str, labels.shape[1:])))
            raise _unsuited(self.name, f"labels are {labels.dtype}[{shape}], not one class a sample")
        classes = scores.shape[1]
        if self.k >= classes:
            raise _unsuited(self.name, f"the model has only {classes} classes")
        low, high = int(labels.min(initial=0)), int(labels.max(initial=0))
        if low < 0 or high >= classes:
            classes_are = f"the model's {classes} classes from 0 to {classes - 1}"
            raise _unsuited(self.name, f"labels reach from {low} to {high}, {classes_are}")
        best = np.argsort(-scores.astype(np.float64), axis=1, kind="stable")[:, : self.k]
        return 100.0 * float(np.mean(np.any(best == labels[:, None], axis=1)))

    def drop(self, value: float, reference: float) -> float:
        """Points of 100."""
        return reference - value

    def chance(self, outputs: Outputs) -> float:
        """Return what guessing would give, in percent."""
        return 100.0 * self.k / _class_scores(outputs, self.name).shape[1]


@dataclass(frozen=True)
class MeanSquaredError:
    """Mean squared distance of the first output from the labels."""

    name: str = "mse"
    unit: str = "%"

    def value(self, outputs: Outputs, reference: Outputs, labels: Array | None) -> float:
        """Average over all samples and elements."""
        assert labels is not None
        ours = outputs[0].reshape(len(outputs[0]), -1).astype(np.float64)
        wanted = labels.reshape(len(labels), -1).astype(np.float64)
        if ours.shape != wanted.shape:
            raise _unsuited(self.name, f"labels have shape {labels.shape}, the output {outputs[0].shape}")
        return float(np.mean(np.square(ours - wanted)))

    def drop(self, value: float, reference: float) -> float:
        """Growth in percent of the float model's error."""
        if value == reference:
            return 0.0
        return 100.0 * (value - reference) / reference if reference else math.inf


@dataclass(frozen=True)
class UserMetric:
    """`function(outputs, labels) -> float` of the user's own module."""

    name: str
    function: Callable[[list[Array], Array], float]
    unit: str = ""

    def value(self, outputs: Outputs, reference: Outputs, labels: Array | None) -> float:
        """Call the function; what it raises is the user's to see."""
        assert labels is not None
        try:
            found = float(self.function(list(outputs), labels))
        except Exception as error:
            raise _unsuited(self.name, f"it failed: {type(error).__name__}: {error}") from error
        if not math.isfinite(found):
            raise _unsuited(self.name, f"it returned {found}")
        return found

    def drop(self, value: float, reference: float) -> float:
        """The difference; larger values are better."""
        return reference - value


@dataclass(frozen=True)
class Agreement:
    """Share of samples whose top class is the float model's, in percent."""

    name: str = "agreement"
    unit: str = "points"

    def value(self, outputs: Outputs, reference: Outputs, labels: Array | None) -> float:
        """Compare the largest entry of the only output with more than one class."""
        ours, floats = _class_scores(outputs, self.name), _class_scores(reference, self.name)
        return 100.0 * float(np.mean(ours.argmax(axis=1) == floats.argmax(axis=1)))

    def drop(self, value: float, reference: float) -> float:
        """Points of 100."""
        return reference - value


@dataclass(frozen=True)
class RelativeError:
    """RMS error of the worst output, in percent of that output's RMS: `100 · 10^(-SQNR / 20)`."""

    name: str = "error"
    unit: str = "%"

    def value(self, outputs: Outputs, reference: Outputs, labels: Array | None) -> float:
        """Return 0 for equal outputs and infinity where the float model says only zero."""
        return max(100.0 * 10 ** (-sqnr / 20) for sqnr in sqnr_db(outputs, reference))

    def drop(self, value: float, reference: float) -> float:
        """The error itself: float has none."""
        return value - reference


def find_metric(name: str | None, reference: Outputs, *, labels: bool) -> Metric:
    """Return the metric of a name, or the one that fits: top1 with labels, else agreement, else error.

    Raises:
        CompileError: E0613 for a name that is none, or that needs labels where there are none.
    """
    if name is None:
        if labels:
            return TopK() if _is_classifier(reference) else MeanSquaredError()
        return Agreement() if _is_classifier(reference) else RelativeError()
    if name in ("agreement", "error"):
        return Agreement() if name == "agreement" else RelativeError()
    if not labels:
        what = f"'{name}' needs labels, and there are none" if _is_known(name) else f"'{name}' is no metric"
        raise CompileError(Diagnostic(UNKNOWN, "--metric", what, next_step=_CHOICES))
    if name == "mse":
        return MeanSquaredError()
    if name.startswith("top") and name[3:].isdigit() and int(name[3:]) > 0:
        return TopK(int(name[3:]))
    return UserMetric(name, _load(name))


def sqnr_db(outputs: Outputs, reference: Outputs) -> list[float]:
    """Return `10 log10(Σ ref² / Σ (out - ref)²)` of each output over all samples, in dB."""
    found: list[float] = []
    for ours, floats in zip(outputs, reference, strict=True):
        wide = floats.astype(np.float64)
        noise = float(np.sum(np.square(ours.astype(np.float64) - wide)))
        signal = float(np.sum(np.square(wide)))
        found.append(math.inf if noise == 0 else 10 * math.log10(signal / noise) if signal else -math.inf)
    return found


_CHOICES = "Choices: top1, top5, ..., mse, module:function (with labels), agreement, error (without)."


def _is_known(name: str) -> bool:
    return name == "mse" or ":" in name or (name.startswith("top") and name[3:].isdigit())


def _is_classifier(outputs: Outputs) -> bool:
    """Whether there is one output and a sample of it is one row of at least two scores."""
    return len(outputs) == 1 and outputs[0][0].size == outputs[0].shape[-1] >= 2


def _class_scores(outputs: Outputs, metric: str) -> Array:
    rows = [o.reshape(len(o), -1) for o in outputs if o[0].size == o.shape[-1] >= 2]
    if len(rows) != 1:
        raise _unsuited(metric, f"{len(rows)} outputs are a row of class scores; exactly one has to be")
    return rows[0]


def _load(name: str) -> Callable[[list[Array], Array], float]:
    module, _, function = name.partition(":")
    if not function:
        raise CompileError(Diagnostic(UNKNOWN, "--metric", f"'{name}' is no metric", next_step=_CHOICES))
    try:
        found = getattr(importlib.import_module(module), function)
    except Exception as error:
        why = f"{type(error).__name__}: {error}"
        raise CompileError(Diagnostic(UNKNOWN, f"--metric {name}", "cannot be imported", why)) from error
    if not callable(found):
        raise CompileError(Diagnostic(UNKNOWN, f"--metric {name}", "is not a function"))
    return cast("Callable[[list[Array], Array], float]", found)


def _unsuited(metric: str, why: str) -> CompileError:
    step = "Give another --metric, or your own as module:function."
    what = f"does not suit model and labels: {why}"
    return CompileError(Diagnostic(UNSUITED, f"metric {metric}", what, next_step=step))
