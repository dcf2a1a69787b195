"""Explains an int8 model: its layers against float, the causes of its loss, and histograms of the worst."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice

from edgec.causes.case import Case, Undo
from edgec.causes.find import FINDERS, find_causes
from edgec.causes.profile import MAX_SAMPLES, histograms, layer_checks
from edgec.ir import Model
from edgec.recipes.apply import Integers
from edgec.recipes.evaluate import Evaluation, EvaluationData, Sample
from edgec.recipes.recipe import REPAIRS, Recipe, Repair
from edgec.recipes.sensitivity import sensitivities
from edgec.recipes.workbench import Progress
from edgec.reports.explanation import Explanation, LayerCheck, NamedCause

MAX_MEASURED_NODES = 200
"""Sensitivities of more nodes take minutes."""

MAX_JUDGES = 64
"""Samples that judge causes and nodes, each by a run of its own; a set to test with has thousands."""

FITTED: frozenset[Repair] = frozenset({"bias", "rounding"})
"""Repairs that suit a model to its calibration samples: other samples have no use for them."""


def explain(made: Integers, progress: Progress = lambda what, done, total: None) -> Explanation:
    """Return what the report says of where accuracy goes; judged on the model's evaluation data."""
    bench, recipe = made.bench, made.recipe
    floats = bench.float_model(recipe).model
    judge = with_few_samples(made.evaluation)
    data = judge.data

    def requantize(undo: Undo) -> Model:
        chosen = replace(
            recipe,
            float_nodes=tuple(dict.fromkeys((*recipe.float_nodes, *undo.float_nodes))),
            repairs=_repairs(recipe, undo),
            per_axis=recipe.per_axis or undo.per_axis,
        )
        return bench.quantize(chosen) if undo.ranges is None else bench.quantize_with(chosen, undo.ranges)

    case = Case(floats, made.model, made.ranges, made.calibration, made.sample_name, judge, requantize)
    causes = find_causes(case, lambda done: progress("find causes", done, len(FINDERS)))
    first = list(islice(data.samples, MAX_SAMPLES))
    checked = layer_checks(floats, made.model, _Told(first, "compare layers", len(first), progress))
    layers = _with_shares(checked, made, judge, progress)
    twice = _Told(first, "count values", 2 * len(first), progress)
    shown = histograms(floats, made.model, twice, layers)
    named = tuple(NamedCause(**asdict(cause)) for cause in causes)
    return Explanation(_inputs(made.evaluation.data), layers, named, shown)


def _repairs(recipe: Recipe, undo: Undo) -> tuple[Repair, ...]:
    wanted = {*recipe.repairs, *undo.repairs} - (set() if undo.fitted else FITTED)
    return tuple(name for name in REPAIRS if name in wanted)


def _with_shares(
    layers: tuple[LayerCheck, ...], made: Integers, judge: Evaluation, progress: Progress
) -> tuple[LayerCheck, ...]:
    """Add each node's share of the output's noise, where there are not too many nodes to measure."""
    nodes = list(dict.fromkeys(layer.node for layer in layers))
    if len(nodes) > MAX_MEASURED_NODES:
        return layers
    found = sensitivities(
        made.bench.islands(made.recipe),
        nodes,
        judge,
        lambda done: progress("measure sensitivities", done, len(nodes)),
    )
    shares = {item.node: item.share for item in found}
    return tuple(replace(layer, share=shares[layer.node]) for layer in layers)


@dataclass(slots=True)
class _Told:
    """Samples that tell a bar how many of them were run."""

    samples: Sequence[Sample]
    what: str
    total: int
    progress: Progress
    done: int = 0

    def __len__(self) -> int:
        return len(self.samples)

    def __iter__(self) -> Iterator[Sample]:
        for sample in self.samples:
            yield sample
            self.done += 1
            self.progress(self.what, self.done, self.total)


def with_few_samples(evaluation: Evaluation) -> Evaluation:
    """Return what judges by SQNR, on samples spread over the data where there are many."""
    data = evaluation.data
    count = len(data.samples)
    if count <= MAX_JUDGES:
        return evaluation
    wanted = {index * count // MAX_JUDGES for index in range(MAX_JUDGES)}
    few = [sample for index, sample in enumerate(data.samples) if index in wanted]
    spread = EvaluationData(few, None, f"{MAX_JUDGES} of {data.described}")
    return Evaluation(evaluation.model, spread, "error", evaluation.threads)


def _inputs(data: EvaluationData) -> str:
    return data.described if len(data.samples) <= MAX_SAMPLES else f"{MAX_SAMPLES} of {data.described}"
