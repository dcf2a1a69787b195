"""Facts of a finished compile → `Report`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

import edgec
from edgec.calibrate.pixels import NO_PIXELS, RawPixels
from edgec.diagnostics import Diagnostic
from edgec.ir import Model, Port, Value
from edgec.ops import spec_of
from edgec.reports.model import (
    Artifact,
    Breaker,
    Calibration,
    FloatOp,
    MeasuredRecipe,
    Partitions,
    PixelFeed,
    Pruning,
    Quantization,
    RepairGain,
    Report,
    ReportedDiagnostic,
    Source,
    TensorInfo,
    TensorRange,
    Tool,
    TransposeSite,
    TriedRecipe,
    Verification,
)

if TYPE_CHECKING:
    from edgec.calibrate.data import SampleSet
    from edgec.frontends.source import SourceModel
    from edgec.kernels import Partitions as MeasuredPartitions
    from edgec.recipes.apply import Integers
    from edgec.recipes.recipe import Repair
    from edgec.recipes.search import Trial
    from edgec.recipes.tune import Tuning
    from edgec.targets import Target


@dataclass(frozen=True)
class ReportParts:
    """What was compiled, for what, and what came out."""

    source: SourceModel
    board: Target
    ir: Model
    size_bytes: int
    sha256: str
    precision: str
    pixels: RawPixels = NO_PIXELS


def build_report(
    parts: ReportParts,
    verification: Verification | None,
    partitions: MeasuredPartitions | None,
    quantization: Quantization | None,
    pruning: Pruning | None,
    timings: Mapping[str, float],
    diagnostics: Sequence[Diagnostic],
) -> Report:
    """Return the report of a compile."""
    from edgec.memory.plan import plan_for

    graph, source = parts.ir.graph, parts.source
    nodes = [node for item in parts.ir.graphs for node in item]
    transposes = [node for node in nodes if node.kind == "transpose"]
    is_planned = not parts.ir.subgraphs and all(value.type.is_static for value in _activations(parts.ir))
    return Report(
        tool=Tool("edgec", edgec.__version__),
        source=Source(source.name, source.format, source.sha256, source.size_bytes, source.opset),
        artifact=Artifact(None, parts.sha256),
        target=parts.board.name,
        precision=parts.precision,
        inputs=tuple(_with_feed(info, parts.pixels) for info in _tensors(parts.ir.inputs, graph.inputs)),
        outputs=_tensors(parts.ir.outputs, graph.outputs),
        ops=dict(sorted(Counter(spec_of(node).emit.builtin for node in nodes).items())),
        transposes=len(transposes),
        size_bytes=parts.size_bytes,
        parameters=_parameters(parts.ir),
        # what runs how often, and in which size, is known for static shapes without control flow only
        macs=sum(spec_of(node).macs(node) for node in graph) if is_planned else None,
        arena_bytes=plan_for(parts.board.profile, graph).total_bytes if is_planned else None,
        transpose_sites=tuple(TransposeSite(node.result.name, node.source) for node in transposes),
        partitions=_partitions(partitions, len(graph)),
        verification=verification,
        quantization=quantization,
        pruning=pruning,
        timings={stage: round(seconds, 6) for stage, seconds in timings.items()},
        diagnostics=tuple(ReportedDiagnostic.of(item) for item in diagnostics),
    )


def describe_integers(made: Integers, samples: SampleSet) -> Quantization:
    """Return what the report says: recipe, data, each tensor's range and numbers, what stayed float."""
    recipe, ranges = made.recipe, made.ranges
    calibration = Calibration(samples.describe().source, ranges.samples, ranges.observer, samples.sha256)
    tensors = [
        TensorRange(value.name, str(value.dtype), *ranges[value.name], q.scale[0], q.zero_point[0])
        for value in _activations(made.model)
        if (q := value.type.quantization) is not None and value.name in ranges
    ]
    scales = "per-axis" if recipe.per_axis else "per-tensor"
    scheme = f"{recipe.precision}, {scales} weights"
    repairs = tuple(_repair_gain(name, made) for name in recipe.repairs)
    trials = () if made.search is None else tuple(map(_trial, made.search.pareto))
    candidates = None if made.tuning is None else tuple(_candidates(made.tuning))
    return Quantization(
        scheme, calibration, tuple(tensors), _float_ops(made.model), repairs, trials, candidates
    )


def _candidates(tuning: Tuning) -> Iterator[MeasuredRecipe]:
    for item in tuning.tried:
        yield MeasuredRecipe(str(item.recipe), item.gain_db, item.recipe == tuning.recipe)


def _repair_gain(name: Repair, made: Integers) -> RepairGain:
    """Return how many nodes a repair made better, and its median gain over them."""
    gains = sorted(gain.after - gain.before for gain in made.gains.get(name, ()))
    better = [gain for gain in gains if gain > 0]
    return RepairGain(name, len(better), better[len(better) // 2] if better else 0.0)


def _trial(trial: Trial) -> TriedRecipe:
    score = trial.score
    return TriedRecipe(str(trial.recipe), score.drop, score.worst_sqnr_db, trial.size_bytes, trial.cost)


def describe_given(ir: Model) -> Quantization:
    """Return what the report says of a source that was quantized already: its numbers, what stays float."""
    tensors = [
        TensorRange(value.name, str(value.dtype), *_represented(value), q.scale[0], q.zero_point[0])
        for value in _activations(ir)
        if (q := value.type.quantization) is not None and not q.per_axis
    ]
    return Quantization("the source model's own scales", None, tuple(tensors), _float_ops(ir))


def _represented(value: Value) -> tuple[float, float]:
    """Return the smallest and the largest real number that a quantized tensor holds."""
    quantization = value.type.quantization
    assert quantization is not None
    limits = np.iinfo(value.dtype.value)
    scale, zero_point = quantization.scale[0], quantization.zero_point[0]
    return (limits.min - zero_point) * scale, (limits.max - zero_point) * scale


def _float_ops(ir: Model) -> tuple[FloatOp, ...]:
    bridges = ("quantize", "dequantize")
    return tuple(
        FloatOp(node.results[0].name, node.kind, spec_of(node).quant.reason or "its neighbours are float")
        for node in ir.graph
        if node.kind not in bridges and any(result.dtype.is_float for result in node.results[:1])
    )


def _activations(ir: Model) -> list[Value]:
    return [*ir.graph.inputs, *(result for node in ir.graph for result in node.results)]


def _tensors(ports: Sequence[Port], values: Sequence[Value]) -> tuple[TensorInfo, ...]:
    found: list[TensorInfo] = []
    for port, value in zip(ports, values, strict=True):
        quantization = value.type.quantization
        scale = quantization.scale[0] if quantization is not None else None
        zero_point = quantization.zero_point[0] if quantization is not None else None
        info = TensorInfo(port.name, value.shape, str(value.dtype), scale, zero_point, port.layout)
        found.append(info)
    return tuple(found)


def _with_feed(info: TensorInfo, pixels: RawPixels) -> TensorInfo:
    """Add what an image input takes, where it takes raw pixels."""
    found = [each for each in pixels.inputs if each.name == info.name]
    if not found:
        return info
    height, width = info.shape[2:] if info.layout == "nchw" else info.shape[1:3]
    color = "gray" if found[0].channels == 1 else "rgb"
    subtract = 128 if info.dtype == "int8" else 0
    return replace(info, pixels=PixelFeed(color, width, height, pixels.settings.how_to_resize, subtract))


def _parameters(ir: Model) -> int:
    """Count the elements of float and quantized constants: weights, biases, tables."""
    distinct = {id(value.data): value for graph in ir.graphs for value in graph.constants()}
    return sum(v.type.size for v in distinct.values() if v.dtype.is_float or v.type.quantization is not None)


def _partitions(measured: MeasuredPartitions | None, total: int) -> Partitions | None:
    if measured is None:
        return None
    from edgec.legalize.partitions import explain_breaker

    counts = Counter(measured.outside)
    breakers = tuple(
        Breaker(f"{count} nodes" if count > 1 else "1 node", kind, explain_breaker(kind))
        for kind, count in sorted(counts.items())
    )
    delegated = total - len(measured.outside)
    return Partitions("XNNPACK", measured.delegated, delegated, total, breakers)
