"""Evaluation data, and what a model's outputs on it are worth.

--eval DATA.npz          arrays as for calibration, and one called `labels` (or `y`, `label`, `targets`)
without --eval           every fourth calibration sample is held out, and the float model is the judge
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np

from edgec.calibrate.arrays import FileColumn, memory_columns, open_columns
from edgec.calibrate.binding import array_samples
from edgec.calibrate.data import InputSpec, SampleSet
from edgec.calibrate.preprocess import Preprocess
from edgec.diagnostics import CompileError, Diagnostic
from edgec.emit import emit
from edgec.ir import Array, Model
from edgec.kernels import Runner
from edgec.recipes.metrics import Metric, Outputs, find_metric, sqnr_db
from edgec.verify.run import from_device, to_device

LABELS = ("labels", "label", "y", "targets")
HELD_OUT_EVERY = 4
MIN_SAMPLES_TO_SPLIT = 8
"""With fewer, ranges would suffer more from the missing samples than the judgement gains from fresh ones."""

MAX_KEPT_BYTES = 512 << 20
LABELS_CODE = "E0615"

Sample = Mapping[str, Array]


class Samples(Protocol):
    """Samples that can be counted and gone through again and again: a list, a `SampleSet`, a `Selection`."""

    def __len__(self) -> int:
        """Return how many there are."""
        ...

    def __iter__(self) -> Iterator[Sample]:
        """Start again from the first."""
        ...


@dataclass(frozen=True, slots=True)
class Score:
    """How one model did: the metric's figure, its drop against float, and the SQNR of each output in dB."""

    value: float
    drop: float
    sqnr_db: tuple[float, ...]

    @property
    def worst_sqnr_db(self) -> float:
        """The SQNR of the worst output."""
        return min(self.sqnr_db)


@dataclass(frozen=True)
class EvaluationData:
    """Samples with or without labels; `described` says where they come from."""

    samples: Samples
    labels: Array | None
    described: str


@dataclass(frozen=True)
class Evaluation:
    """Judges quantized forms of one float model on fixed data."""

    model: Model
    data: EvaluationData
    metric_name: str | None = None
    threads: int = 2

    @cached_property
    def reference(self) -> list[Array]:
        """The float model's outputs: one array for each, samples first."""
        return outputs_of(self.model, self.data.samples, self.threads)

    @cached_property
    def metric(self) -> Metric:
        """What is measured."""
        return find_metric(self.metric_name, self.reference, labels=self.data.labels is not None)

    @cached_property
    def float_value(self) -> float:
        """The float model's own figure."""
        return self.metric.value(self.reference, self.reference, self.data.labels)

    def score(self, model: Model) -> Score:
        """Run a quantized form on all samples and judge it."""
        return self.score_outputs(outputs_of(model, self.data.samples, self.threads))

    def score_outputs(self, outputs: Outputs) -> Score:
        """Judge outputs that were made elsewhere."""
        value = self.metric.value(outputs, self.reference, self.data.labels)
        drop = self.metric.drop(value, self.float_value)
        return Score(value, drop, tuple(sqnr_db(outputs, self.reference)))


def outputs_of(model: Model, samples: Samples, threads: int = 2) -> list[Array]:
    """Run a model of any precision in LiteRT; outputs in the source's axes, real values, samples first."""
    runner = Runner(emit(model).to_bytes(), threads=threads)
    graph = model.graph
    columns: list[list[Array]] = [[] for _ in model.outputs]
    for sample in samples:
        feeds = [
            to_device(sample[port.name], port, value)
            for port, value in zip(model.inputs, graph.inputs, strict=True)
        ]
        results = runner.run(feeds)
        for column, port, value, result in zip(columns, model.outputs, graph.outputs, results, strict=True):
            column.append(from_device(result, port, value))
    return [np.stack(column) for column in columns]


class Selection:
    """Some samples of a set, by position; read again at every pass, so it costs no memory."""

    def __init__(self, samples: SampleSet, wanted: Callable[[int], bool]) -> None:
        self._samples, self._wanted = samples, wanted
        self._count = sum(map(wanted, range(len(samples))))

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Sample]:
        return (sample for index, sample in enumerate(self._samples) if self._wanted(index))


def hold_out(samples: SampleSet) -> tuple[Samples, EvaluationData]:
    """Split calibration samples: (those to calibrate with, those to judge with).

    With fewer than eight samples both are all of them, and the description says so.
    """
    if len(samples) < MIN_SAMPLES_TO_SPLIT:
        kept = in_memory(samples)
        described = f"the {len(samples)} calibration samples themselves (too few to hold some out)"
        return kept, EvaluationData(kept, None, described)
    rest = in_memory(Selection(samples, lambda index: not _is_held_out(index)))
    held = in_memory(Selection(samples, _is_held_out))
    return rest, EvaluationData(held, None, f"{len(held)} held-out calibration samples")


def calibration_positions(count: int) -> Sequence[int]:
    """Return the positions of the samples that `hold_out` leaves to calibrate with."""
    if count < MIN_SAMPLES_TO_SPLIT:
        return range(count)
    return [index for index in range(count) if not _is_held_out(index)]


def in_memory(samples: Samples) -> Samples:
    """Return the samples as a list where they are small: images are decoded once, not at every pass."""
    first = next(iter(samples), None)
    size = 0 if first is None else sum(array.nbytes for array in first.values())
    return list(samples) if size * len(samples) <= MAX_KEPT_BYTES else samples


def open_evaluation(
    source: str | os.PathLike[str] | Mapping[str, Array],
    inputs: Sequence[InputSpec],
    *,
    preprocess: Preprocess | None = None,
) -> EvaluationData:
    """Return the samples and labels of an .npz file, or of arrays by name.

    Raises:
        CompileError: E0615 for a file that cannot be opened, without one array of labels, or with another
            number of labels than samples; E03xx for samples that do not fit the inputs.
    """
    where = "--eval" if isinstance(source, Mapping) else str(source)
    columns = memory_columns(source) if isinstance(source, Mapping) else _columns_of(Path(source))
    found = [column for column in columns if column.name in LABELS]
    if len(found) != 1:
        have = ", ".join(f"'{column.name}'" for column in columns) or "nothing"
        what = f"needs one array of labels, and has {have}"
        raise CompileError(Diagnostic(LABELS_CODE, where, what, next_step=f"Call it {' or '.join(LABELS)}."))
    rest = [column for column in columns if column is not found[0]]
    samples = array_samples(rest, inputs, where, preprocess, None)
    labels = np.stack([np.asarray(row) for row in found[0].rows()]) if found[0].shape[0] else np.zeros(0)
    if len(labels) != len(samples):
        raise CompileError(
            Diagnostic(LABELS_CODE, where, f"has {len(labels)} labels for {len(samples)} samples")
        )
    return EvaluationData(in_memory(samples), labels, f"{len(samples)} labelled samples of {where}")


def _columns_of(path: Path) -> Sequence[FileColumn]:
    """Return a file's arrays, after seeing that it can be opened: saving it again would not help there."""
    try:
        path.open("rb").close()
    except OSError as error:
        what = "is a folder" if path.is_dir() else f"cannot be opened: {error.strerror or error}"
        step = f"Check the path given to --eval: an .npz with the model's inputs and {' or '.join(LABELS)}."
        raise CompileError(Diagnostic(LABELS_CODE, str(path), what, next_step=step)) from None
    return open_columns(path)


def _is_held_out(index: int) -> bool:
    return index % HELD_OUT_EVERY == HELD_OUT_EVERY - 1
