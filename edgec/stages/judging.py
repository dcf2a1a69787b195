"""What a compiled model is worth: the user's metric on it and on the float model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING

from edgec.diagnostics import Diagnostic, Severity
from edgec.reports import words
from edgec.reports.model import Accuracy
from edgec.stages.job import Job, Quantized

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgec.calibrate.data import InputSpec
    from edgec.ir import Model
    from edgec.recipes.evaluate import Evaluation, EvaluationData, Sample, Samples
    from edgec.recipes.search import SearchResult

CHANCE, OUT_OF_REACH = "W0619", "W0620"
ABOVE_CHANCE = 1.5


def open_evaluation_data(job: Job, ir: Model, inputs: Sequence[InputSpec]) -> EvaluationData | None:
    """Open what --eval names, and see on one sample that the metric takes it: before any long work."""
    from edgec.recipes.evaluate import Evaluation, open_evaluation
    from edgec.recipes.metrics import UserMetric, find_metric

    options = job.options
    if options.evaluation is None:
        if options.metric is not None:
            find_metric(options.metric, (), labels=False)
        return None
    data = open_evaluation(options.evaluation, inputs, preprocess=options.preprocess)
    data = replace(data, samples=_Counted(job.pixels.fed_again(data.samples)))
    labels = None if data.labels is None else data.labels[:1]
    first = replace(data, samples=list(islice(data.samples, 1)), labels=labels)
    tried = Evaluation(ir, first, options.metric, options.threads)
    if not isinstance(tried.metric, UserMetric):  # that one may need more than a sample
        _ = tried.float_value
    return data


def judge(job: Job, quantized: Quantized) -> Accuracy | None:
    """Return what the metric says, where the user named data to judge by, a metric or a budget to keep."""
    made, options = quantized.integers, job.options
    if made is None or (options.evaluation is None and options.metric is None and made.search is None):
        return None
    evaluation, samples = made.evaluation, made.evaluation.data.samples
    with job.clock.stage("evaluate", 2 * len(samples)), _counting(samples, job.clock.progress.advance):
        metric = evaluation.metric
        score = evaluation.score(made.model) if made.search is None else made.search.best.score
        floats = evaluation.float_value
    job.diagnostics.extend(_no_better_than_chance(evaluation))
    job.diagnostics.extend(_out_of_reach(made.search, metric.unit))
    return Accuracy(metric.name, evaluation.data.described, metric.unit, score.value, floats, score.drop)


@dataclass(slots=True)
class _Counted:
    """Samples that tell how many of them were taken, where somebody wants to know."""

    samples: Samples
    tell: Callable[[int], None] | None = None
    taken: int = 0

    def __len__(self) -> int:
        return len(self.samples)

    def __iter__(self) -> Iterator[Sample]:
        for sample in self.samples:
            yield sample
            self.taken += 1
            if self.tell is not None:
                self.tell(self.taken)


@contextmanager
def _counting(samples: Samples, tell: Callable[[int], None]) -> Iterator[None]:
    if not isinstance(samples, _Counted):
        yield
        return
    samples.tell, samples.taken = tell, 0
    try:
        yield
    finally:
        samples.tell = None


def _out_of_reach(search: SearchResult | None, unit: str) -> list[Diagnostic]:
    """Return a warning with the layers to blame, where no recipe keeps the budget."""
    if search is None or search.reached:
        return []
    drop, budget = (f"{number:.3g} {unit}".strip() for number in (search.best.score.drop, search.budget))
    what = f"{budget} is out of reach: the best of {len(search.trials)} recipes drops by {drop}"
    layers = ", ".join(f"'{item.node}' {words.percent(item.share)}" for item in search.blame)
    why = f"The layers that make most of the noise: {layers}." if layers else ""
    step = "Give more samples, allow more, or train these layers with quantization in mind."
    return [Diagnostic(OUT_OF_REACH, "--max-drop", what, why, step, Severity.WARNING)]


def _no_better_than_chance(evaluation: Evaluation) -> list[Diagnostic]:
    """Return a warning where even the float model only guesses: then a drop says nothing."""
    from edgec.recipes.metrics import TopK

    metric = evaluation.metric
    if not isinstance(metric, TopK):
        return []
    chance = metric.chance(evaluation.reference)
    if evaluation.float_value > ABOVE_CHANCE * chance:
        return []
    what = f"the float model itself reaches {metric.name} {evaluation.float_value:.3g}, guessing {chance:.3g}"
    why = "So a small drop tells nothing."
    step = "Check that labels count classes from 0 in the model's order, and how samples are normalized."
    return [Diagnostic(CHANCE, evaluation.data.described, what, why, step, Severity.WARNING)]
