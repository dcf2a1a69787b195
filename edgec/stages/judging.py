"""What a compiled model is worth: the user's metric on it and on the float model."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING

from edgec.diagnostics import Diagnostic, Severity
from edgec.reports.model import Accuracy
from edgec.stages.job import Job, Quantized

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgec.calibrate.data import InputSpec
    from edgec.ir import Model
    from edgec.recipes.evaluate import Evaluation, EvaluationData

CHANCE = "W0619"
ABOVE_CHANCE = 1.5


def open_evaluation_data(job: Job, ir: Model, inputs: Sequence[InputSpec]) -> EvaluationData | None:
    """Open what --eval names, and see on one sample that the metric takes it: before any long work."""
    from edgec.recipes.evaluate import Evaluation, open_evaluation
    from edgec.recipes.metrics import UserMetric

    options = job.options
    if options.evaluation is None:
        return None
    data = open_evaluation(options.evaluation, inputs, preprocess=options.preprocess)
    data = replace(data, samples=job.pixels.fed_again(data.samples))
    labels = None if data.labels is None else data.labels[:1]
    first = replace(data, samples=list(islice(data.samples, 1)), labels=labels)
    tried = Evaluation(ir, first, options.metric, options.threads)
    if not isinstance(tried.metric, UserMetric):  # that one may need more than a sample
        _ = tried.float_value
    return data


def judge(job: Job, quantized: Quantized) -> Accuracy | None:
    """Return what the metric says, where the user gave data to judge by or a budget to keep."""
    made = quantized.integers
    if made is None or (job.options.evaluation is None and made.search is None):
        return None
    evaluation, metric = made.evaluation, made.evaluation.metric
    with job.clock.stage("evaluate"):
        score = evaluation.score(made.model) if made.search is None else made.search.best.score
        floats = evaluation.float_value
    job.diagnostics.extend(_no_better_than_chance(evaluation))
    return Accuracy(metric.name, evaluation.data.described, metric.unit, score.value, floats, score.drop)


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
