"""Which part of a tensor its readers can tell apart: beyond, they saturate, and int8 may saturate as well.

    x → add 3 → relu6 → mul 1/6     (hard sigmoid)     x matters in [-3, 3]
    x → logistic                                       x matters in ±ln 1023: beyond, the result is 0 or 1
    x → mul by relu6(x + 3)         (hard swish)       x matters from -3 on: below, the product is 0

This is no clipping by statistics: no result changes by more than a quarter of a step of its own int8 scale. A
gate whose input spans ±30 gets ten times the resolution. Graph inputs keep their range, which users rely on.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import numpy as np

from edgec.ir import Graph, Node, Value
from edgec.ops import spec_of
from edgec.ops.spec import Constraint

Range = tuple[float, float]

_ALL: Range = (-math.inf, math.inf)

_STEPS = {8: (256, 128), 16: (32768, 32768)}
"""By the bits of activations: 1 over the steps that kernels prescribe for results of logistic and of tanh."""

_CLAMPS: dict[str, Range] = {
    "relu": (0.0, math.inf),
    "relu6": (0.0, 6.0),
    "relu_0_to_1": (0.0, 1.0),
    "relu_n1_to_1": (-1.0, 1.0),
    "hard_swish": (-3.0, math.inf),
}


def useful_ranges(graph: Graph, values: Iterable[Value], bits: int = 8) -> dict[str, Range]:
    """Return by name what matters of each value for activations of 8 or 16 bits; infinite where all does."""
    clamps = {**_CLAMPS, **squashing(bits)}
    known: dict[Value, Range] = {}
    order = [result for node in graph for result in node.results]
    for value in reversed(order):  # readers come before what they read
        known[value] = _ALL if value.is_graph_output else _needed(value, known, clamps)
    return {value.name: known.get(value, _ALL) for value in values}


def squashing(bits: int = 8) -> dict[str, Range]:
    """Return where functions that squash single elements are not within a quarter step of their limits."""
    logistic_steps, tanh_steps = _STEPS[bits]
    logistic, tanh = math.log(4 * logistic_steps - 1), math.atanh(1 - 1 / (4 * tanh_steps))
    return {"logistic": (-logistic, logistic), "tanh": (-tanh, tanh)}


def answers(graph: Graph) -> frozenset[str]:
    """Return the names of values that are outputs, or become outputs by moving or squashing alone.

    A detector's rare high score lies far from all others; no rule about squared errors may clip it away.
    """
    squashes = {*squashing(), "softmax"}
    found: dict[Value, None] = dict.fromkeys(graph.outputs)
    pending = list(found)
    while pending:
        producer = pending.pop().producer
        if producer is None or not (_picks(producer) or producer.kind in squashes):
            continue
        read = [value for value in producer.operands if value is not None and not value.is_constant]
        pending += [value for value in read if value not in found]
        found.update(dict.fromkeys(read))
    return frozenset(value.name for value in found)


def limited(found: Range, useful: Range) -> Range:
    """Return a range without what does not matter; unchanged where nothing of it would be left."""
    low, high = max(found[0], useful[0]), min(found[1], useful[1])
    return (low, high) if low < high else found


def _needed(value: Value, known: Mapping[Value, Range], clamps: Mapping[str, Range]) -> Range:
    wanted = [_by_reader(node, index, known, clamps) for node, index in value.uses]
    if not wanted:
        return _ALL
    return min(low for low, _ in wanted), max(high for _, high in wanted)


def _by_reader(node: Node, index: int, known: Mapping[Value, Range], clamps: Mapping[str, Range]) -> Range:
    if node.kind in clamps:
        return clamps[node.kind]
    if node.kind in ("add", "sub", "mul", "div", "minimum", "maximum") and len(node.operands) == 2:
        other = node.operand(1 - index)
        if other.is_constant:
            return _through(node, index, other.constant().astype(np.float64), known)
        if node.kind == "mul" and node.operand(0) is not node.operand(1):
            return _gated(node.operand(index), other)
    if not _picks(node):
        return _ALL
    wanted = [known[result] for result in node.results]
    return min(low for low, _ in wanted), max(high for _, high in wanted)


def _picks(node: Node) -> bool:
    """Whether results are values that the node reads, so that one that saturates is missed nowhere else."""
    quant = spec_of(node).quant
    return quant.constraint is Constraint.SAME_SCALE and not quant.blends


def _through(node: Node, index: int, constant: np.ndarray, known: Mapping[Value, Range]) -> Range:
    """Return what matters in front of arithmetic with a constant, from what matters behind it."""
    low, high = _behind(node, known)
    if not constant.size or not np.isfinite(constant).all():
        return _ALL
    least, most = float(constant.min()), float(constant.max())
    match node.kind:
        case "add":
            return low - most, high - least
        case "sub" if index == 0:
            return low + least, high + most
        case "sub":
            return least - high, most - low
        case "minimum":
            return low, min(high, most)
        case "maximum":
            return max(low, least), high
        case "mul" if least > 0:
            return min(low / least, low / most), max(high / least, high / most)
        case "div" if least > 0 and index == 0:
            return min(low * least, low * most), max(high * least, high * most)
        case _:
            return _ALL


def _behind(node: Node, known: Mapping[Value, Range]) -> Range:
    """Return what matters of a node's result before its fused activation."""
    wanted = known[node.result]
    fused = getattr(getattr(node.attributes, "fused_activation_function", None), "name", "NONE")
    clamp = _CLAMPS.get(fused.lower())
    return wanted if clamp is None else limited(clamp, wanted)


def _gated(value: Value, gate: Value) -> Range:
    """Return what matters of x in x * gate(x), where the gate is zero for small x."""
    node = gate.producer
    while node is not None and node.kind == "mul" and node.operand(1).is_constant:
        node = node.operand(0).producer
    if node is None or node.kind != "add" or value not in node.operands:
        return _ALL
    fused = getattr(getattr(node.attributes, "fused_activation_function", None), "name", "NONE")
    offset = next((operand for operand in node.operands if operand is not None and operand.is_constant), None)
    if offset is None or fused not in ("RELU", "RELU6") or not np.isfinite(offset.constant()).all():
        return _ALL
    return -float(offset.constant().max(initial=-math.inf)), math.inf
