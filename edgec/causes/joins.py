"""Joins (concat, pack, ...) of tensors with unlike ranges, which have to share one scale.

Inside a model the loss shows at the outputs. A head that ends in such a join hides it: boxes of 0..640 drown
the noise of scores of 0..1 in one SQNR. There, the part of the output is judged for itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from edgec.causes.case import Case, Cause, Undo
from edgec.ir import DType, Model, Node, Port, Value
from edgec.ops import spec_of
from edgec.ops.spec import Constraint
from edgec.passes.elements import Numbers, moved
from edgec.quantize import quantize_int8
from edgec.quantize.known_ranges import known_ranges
from edgec.quantize.names import node_name
from edgec.recipes.evaluate import outputs_of
from edgec.recipes.metrics import Outputs, sqnr_db

SHARED_RATIO = 8.0
"""A tensor that fills less than an eighth of the scale it has to share has lost three of its eight bits."""

MIN_GAIN_DB = 0.5

_INSIDE = "Scale the parts alike in the source model, or give these nodes to a recipe's float_nodes."
_STEP = "Give the parts as separate outputs, or leave the output type open so that the join is in float."


def shared_scale(case: Case) -> Iterator[Cause]:
    """Joins of tensors with unlike ranges; undone by keeping the join in float."""
    known = known_ranges(case.model.graph, case.ranges)
    for node in case.nodes():
        if spec_of(node).quant.constraint is not Constraint.SAME_SCALE:
            continue
        widths = {v.name: _width(known[v.name]) for v in _joined(node) if v.name in known}
        if len(widths) < 2 or min(widths.values()) * SHARED_RATIO > max(widths.values()):
            continue
        small, large = min(widths, key=lambda n: widths[n]), max(widths, key=lambda n: widths[n])
        gain, tried, step = _gain(case, node, small)
        if gain < MIN_GAIN_DB:
            continue
        parts = " with ".join(
            f"'{name}' ({known[name][0]:.3g} to {known[name][1]:.3g})" for name in (small, large)
        )
        levels = max(1, round(256 * widths[small] / widths[large])) if widths[large] else 1
        what = f"joins {parts} in one scale: the smaller has {levels} of 256 levels"
        yield Cause("shared-scale concat", f"node '{node_name(node)}'", what, gain, tried, step)


def _gain(case: Case, join: Node, small: str) -> tuple[float, str, str]:
    """Return what a join in float wins, what was done to measure that, and what to do."""
    behind = _behind(join)
    readers = [user for node in behind for user in node.results[0].users if user not in behind]
    undone = Undo(float_nodes=tuple(node.results[0].name for node in (*behind, *dict.fromkeys(readers))))
    parts = _parts_of_outputs(case.model, join, small)
    if not parts or case.has_int16:
        return case.gain_of(undone), "kept the join in float, and what reads it", _INSIDE
    outputs = [value.name for value in case.model.graph.outputs]
    ends = [outputs[index] for index in parts]
    apart = quantize_int8(
        case.model,
        case.ranges,
        float_nodes=undone.float_nodes,
        float_outputs=ends,
        allow_float_islands=True,
    )
    together = quantize_int8(case.model, case.ranges, allow_float_islands=True)
    one_scale = _worst(case, together, parts)
    gain = _worst(case, apart, parts) - one_scale if np.isfinite(one_scale) else 0.0
    if all(case.output_is_float(index) for index in parts):
        step = "Nothing more is needed; separate outputs in the source model need no float."
        return gain, f"joined in float, as it is now: the gain is that of '{small}'", step
    return gain, f"kept the join in float: the gain is that of '{small}'", _STEP


def _worst(case: Case, model: Model, parts: dict[int, Numbers]) -> float:
    """Return the SQNR of the part alone, in the output where it is worst."""
    ours = _cut(outputs_of(model, case.evaluation.data.samples, case.evaluation.threads), parts)
    return min(sqnr_db(ours, _cut(case.evaluation.reference, parts)))


def _cut(outputs: Outputs, parts: dict[int, Numbers]) -> Outputs:
    return [outputs[index].reshape(len(outputs[index]), -1)[:, where] for index, where in parts.items()]


def _parts_of_outputs(model: Model, join: Node, small: str) -> dict[int, Numbers]:
    """Return where one operand of a join ends up, by output: flat positions in the source's axes.

    Nothing if it goes elsewhere, too, or if more than movement is on the way.
    """
    behind, labels = _behind(join), dict[Value, Numbers]()
    for node in behind:
        operands = [value for value in node.operands if value is not None and value.dtype.is_float]
        given = {
            v: np.full(v.shape, 2 if node is join and v.name == small else 1, np.int64) for v in operands
        }
        results = moved(node, {**given, **labels})
        if results is None or any(user not in behind for each in node.results for user in each.users):
            return {}
        labels.update(zip(node.results, results, strict=True))
    ports = enumerate(zip(model.outputs, model.graph.outputs, strict=True))
    ends = {index: _in_source(port, labels[value]) for index, (port, value) in ports if value in labels}
    return {index: found for index, end in ends.items() if (found := np.flatnonzero(end == 2)).size}


def _in_source(port: Port, labels: Numbers) -> Numbers:
    return labels if port.permutation is None else labels.transpose(np.argsort(port.permutation))


def _joined(node: Node) -> list[Value]:
    real = [v for v in node.operands if v is not None and v.dtype is DType.FLOAT32 and not v.is_constant]
    return list(dict.fromkeys(real))


def _behind(join: Node) -> Sequence[Node]:
    """Return the join and the same-scale nodes that only pass it on."""
    found = [join]
    for item in found:
        for user in item.result.users if len(item.results) == 1 else ():
            if spec_of(user).quant.constraint is Constraint.SAME_SCALE and user not in found:
                found.append(user)
    return found


def _width(found: tuple[float, float]) -> float:
    return max(found[1], 0.0) - min(found[0], 0.0)
