"""Calibrated ranges, and what they tell of tensors that calibration had no reason to watch.

Int8 models need few ranges (`roles.observed_values`). An island makes a tensor matter that did not: what
stands between two same-scale nodes, or a softmax that became float. Calibrating again for every choice of
islands would be slow, so such a tensor takes the range of what same-scale nodes make of it (all they pass on
lies in there), of what its kernel can make at all, or of what a same-scale node makes it from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from edgec.ir import Graph, Node, Quantization, Value
from edgec.ops import spec_of
from edgec.ops.spec import Constraint
from edgec.quantize.parameters import represented

Range = tuple[float, float]


def known_ranges(graph: Graph, ranges: Mapping[str, Range]) -> dict[str, Range]:
    """Return ranges by name, those of unwatched values added where neighbours tell."""
    values = [result for node in graph for result in node.results]
    known = dict(ranges)
    for value in reversed(values):
        _add(known, value, _of_kernel(value) or _of_readers(value, known))
    for value in values:
        _add(known, value, _of_sources(value, known))
    return known


def _add(known: dict[str, Range], value: Value, found: Range | None) -> None:
    if value.name not in known and found is not None:
        known[value.name] = found


def _of_kernel(value: Value) -> Range | None:
    fixed = None if value.producer is None else spec_of(value.producer).quant.fixed_int8
    return None if fixed is None else represented(Quantization.per_tensor(*fixed))


def _of_readers(value: Value, known: Mapping[str, Range]) -> Range | None:
    results = [result for node in value.users if _passes_on(node) for result in node.results]
    return _union([known[result.name] for result in results if result.name in known])


def _of_sources(value: Value, known: Mapping[str, Range]) -> Range | None:
    if value.producer is None or not _passes_on(value.producer):
        return None
    return _union([known[v.name] for v in value.producer.operands if v is not None and v.name in known])


def _passes_on(node: Node) -> bool:
    return spec_of(node).quant.constraint is Constraint.SAME_SCALE


def _union(found: Sequence[Range]) -> Range | None:
    if not found:
        return None
    return min(low for low, _ in found), max(high for _, high in found)
