"""Explaining takes time for every node and cause, so it looks at few samples of a large set."""

from __future__ import annotations

import numpy as np

from edgec.causes.explain import MAX_JUDGES, with_few_samples
from edgec.ir import Graph, Model
from edgec.recipes.evaluate import Evaluation, EvaluationData


def test_many_samples_are_judged_by_some_spread_over_them() -> None:
    """1000 labelled samples: 64 of them, from first to last, and no metric that would need labels."""
    samples = [{"x": np.float32(index)} for index in range(1000)]
    data = EvaluationData(samples, np.zeros(1000, np.int64), "1000 labelled samples of test.npz")
    few = with_few_samples(Evaluation(Model(Graph(), [], []), data, "top1"))
    values = [float(sample["x"]) for sample in few.data.samples]
    assert len(values) == MAX_JUDGES
    assert np.allclose(np.diff(values), 1000 / MAX_JUDGES, atol=1)
    assert few.data.described == "64 of 1000 labelled samples of test.npz"
    assert (few.metric_name, few.data.labels) == ("error", None)


def test_few_samples_judge_as_they_are() -> None:
    data = EvaluationData([{"x": np.float32(0)}], None, "1 sample")
    evaluation = Evaluation(Model(Graph(), [], []), data)
    assert with_few_samples(evaluation) is evaluation
