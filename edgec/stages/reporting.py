"""What a compile has to say of itself: causes of a loss, the report, the manifest."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

from edgec.emit import Flatbuffer
from edgec.frontends.source import SourceModel
from edgec.ir import Model
from edgec.legalize.profile import find_profile
from edgec.reports.build import ReportParts, build_report
from edgec.reports.manifest import Manifest, manifest_of
from edgec.reports.model import Gate, Pruning, Report
from edgec.stages.job import Checked, Job, Quantized
from edgec.targets import Target

if TYPE_CHECKING:
    from edgec.reports.explanation import Explanation


def explain(job: Job, quantized: Quantized) -> Explanation | None:
    """Say where accuracy goes and why, where that was asked for or a budget was not met."""
    made = quantized.integers
    missed = made is not None and made.search is not None and not made.search.reached
    if made is None or not (job.options.explain or missed):
        return None
    from edgec.causes.explain import explain

    with job.clock.steps("explain") as steps:
        return explain(made, steps)


def report(
    job: Job,
    source: SourceModel,
    board: Target,
    ir: Model,
    flatbuffer: Flatbuffer,
    checked: Checked,
    quantized: Quantized,
    pruning: Pruning | None,
) -> Report:
    """Put together what the compile has to say."""
    digest = hashlib.sha256()
    for chunk in flatbuffer.chunks():
        digest.update(chunk)
    parts = ReportParts(
        source, board, ir, flatbuffer.size, digest.hexdigest(), job.options.precision, job.pixels
    )
    made = build_report(
        parts,
        checked.verification,
        checked.partitions if find_profile(board.profile).delegates else None,
        quantized.described,
        pruning,
        job.clock.seconds,
        list(job.diagnostics),
    )
    return replace(made, gates=_gates(quantized))


def _gates(quantized: Quantized) -> tuple[Gate, ...]:
    """Return the accuracy budget as a gate."""
    made = quantized.integers
    if made is None or made.search is None:
        return ()
    search, metric = made.search, made.evaluation.metric
    name = f"max drop ({metric.name} on {made.evaluation.data.described})"
    return (Gate(name, search.budget, search.best.score.drop, metric.unit, search.reached),)


def manifest(job: Job, made: Report, quantized: Quantized) -> Manifest:
    """Return the manifest; its options rebuild the artifact."""
    options = job.options.reproducible()
    if job.pixels.inputs:
        options["preprocess"] = job.pixels.settings.to_toml()
    if quantized.recipe is not None:
        options["recipe"] = quantized.recipe.to_toml()
    return manifest_of(made, made.artifact.file or "", options)
