"""The calibrator `auto`: each range by what rounding its tensor alone does to the outputs.

    float model ── one tensor rounded to 8 bits in 1, 0.9, 0.8, ... of its range ──▶ noise at the outputs

A narrower range rounds finer and clips what is rare; how much either matters only the outputs can tell. The
noise of single tensors adds up as if they were independent, so each may be judged by itself. A comparison of
whole models cannot: every change of a range draws the rounding errors of all tensors behind it anew, and that
is a decibel of luck. A range shrinks only where samples agree that it should.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from edgec.calibrate.saturation import answers
from edgec.ir import DType, Model, Node, Value
from edgec.ops import spec_of
from edgec.quantize.parameters import from_range
from edgec.quantize.roles import assign_roles, is_fixed, needs_whole_range, quantized_values
from edgec.recipes.evaluate import Sample
from edgec.recipes.gains import CERTAINTY, improves, is_better, noise_of
from edgec.recipes.logits import Comparison
from edgec.recipes.metrics import Floats
from edgec.repair.copying import copy_with

Range = tuple[float, float]

PARTS = (0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.05)
HOPELESS = 3.0
"""Where clipping makes so many times the least noise found, clipping more only makes it worse."""

MOST_SAMPLES, MOST_BYTES = 96, 96 << 20
"""So many samples are looked at, fewer where they are large: they stay in memory."""
LEAST_SAMPLES = 8
"""With fewer samples no range shrinks: what one of them has once may be common elsewhere."""

AFFORDABLE = 1e11
"""Multiply-accumulates that a compile spends on this unasked: some ten seconds of one core."""
_USUAL_RUNS = 3
"""Runs over the samples that one tensor takes; most ranges are not worth shrinking."""


def is_affordable(model: Model, samples: int) -> bool:
    """Whether choosing ranges in this way takes no more than seconds."""
    macs = sum(spec_of(node).macs(node) for node in model.graph)
    return macs * len(_candidates(model)) * _USUAL_RUNS * min(samples, MOST_SAMPLES) <= AFFORDABLE


def shrink_ranges(
    model: Model,
    ranges: Mapping[str, Range],
    samples: Iterable[Sample],
    threads: int = 2,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Range]:
    """Return ranges for int8, each the part of its min/max with surely the least noise at the outputs.

    Args:
        model: float32, in the state that will be quantized.
        ranges: min/max of all tensors, by name.
        samples: arrays by input name in the source's layout; at most `MOST_SAMPLES` of them are looked at,
            the same ones in whatever order they come.
        threads: of the kernels.
        progress: called with the number of tensors done and of all.
    """
    found, kept = dict(ranges), _some(samples, _input_bytes(model))
    if len(kept) < LEAST_SAMPLES:
        return found
    compared, tensors = Comparison(model, kept, threads), _candidates(model)

    def noise(name: str, part: float) -> Floats:
        return noise_of(*compared.answers(round_alone(model, name, _part(ranges[name], part))))

    for count, name in enumerate(tensors, 1):
        if name in ranges:
            found[name] = _part(ranges[name], _best_part(lambda part, name=name: noise(name, part)))
        progress(count, len(tensors))
    return found


def _best_part(noise: Callable[[float], Floats]) -> float:
    whole = least = noise(1.0)
    best = 1.0
    for part in PARTS:
        here = noise(part)
        if improves(here, whole, CERTAINTY) and is_better(here, least):
            best, least = part, here
        if here.mean() > HOPELESS * least.mean():
            break
    return best


def _part(whole: Range, part: float) -> Range:
    return whole[0] * part, whole[1] * part


def round_alone(model: Model, name: str, found: Range) -> Model:
    """Return the float model in which one tensor takes the values that int8 has in a range."""
    new = copy_with(model)
    value = next(result for node in new.graph for result in node.results if result.name == name)
    assert value.producer is not None
    following = new.graph.nodes_after(value.producer)
    before = following[0] if following else None
    stored = replace(value.type, dtype=DType.INT8, quantization=from_range(*found))
    coarse = Value(new.graph.unique_name(f"{name}/int8"), stored)
    rounded = Value(new.graph.unique_name(f"{name}/rounded"), value.type)
    new.graph.replace_uses(value, rounded)
    new.graph.insert(Node("quantize", [value], [coarse]), before)
    new.graph.insert(Node("dequantize", [coarse], [rounded]), before)
    return new


def _candidates(model: Model) -> list[str]:
    """Return the names of inner activations whose own range counts; answers are never clipped."""
    graph = model.graph
    roles, last = assign_roles(graph), answers(graph)
    return [
        value.name
        for value in quantized_values(graph, roles)
        if value.producer is not None
        and value.name not in last
        and not value.is_graph_output
        and not is_fixed(value, roles)
        and needs_whole_range(value, graph, roles)
    ]


def _input_bytes(model: Model) -> int:
    return sum(max(value.type.size, 1) * value.dtype.numpy.itemsize for value in model.graph.inputs)


def _some(samples: Iterable[Sample], size: int) -> list[Sample]:
    """Return a part of the samples, of `size` bytes each, chosen and ordered by their contents."""
    count = min(MOST_SAMPLES, max(MOST_BYTES // max(size, 1), LEAST_SAMPLES))
    digested = ((_digest(sample), sample) for sample in samples)
    return [sample for _, sample in heapq.nsmallest(count, digested, key=lambda pair: pair[0])]


def _digest(sample: Sample) -> bytes:
    digest = hashlib.sha256()
    for name in sorted(sample):
        digest.update(sample[name].tobytes())
    return digest.digest()
