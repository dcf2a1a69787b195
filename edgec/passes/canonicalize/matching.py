"""Questions that rules ask about a node and its values.

Rules that ask for an *owned* producer want one whose result nobody else reads: replacing its only reader
then removes it, so a rewrite never leaves more work behind than it found.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

import numpy as np

from edgec.ir import Array, DType, Node, Value
from edgec.ops import ActivationFunctionType, Builder, spec_of
from edgec.ops.spec import Constraint
from edgec.rewrite import NoMatch, no_match

NONE = ActivationFunctionType.NONE
ACTIVATION_KINDS = {
    ActivationFunctionType.RELU: "relu",
    ActivationFunctionType.RELU6: "relu6",
    ActivationFunctionType.RELU_N1_TO_1: "relu_n1_to_1",
}
"""The op kind that computes what a fused activation does."""

ACTIVATION_BOUNDS = {
    NONE: (-inf, inf),
    ActivationFunctionType.RELU: (0.0, inf),
    ActivationFunctionType.RELU6: (0.0, 6.0),
    ActivationFunctionType.RELU_N1_TO_1: (-1.0, 1.0),
}
"""Every fused activation clips to an interval."""

CLIP_BOUNDS = {kind: ACTIVATION_BOUNDS[activation] for activation, kind in ACTIVATION_KINDS.items()}
_KNOWN_BOUNDS = {**CLIP_BOUNDS, "logistic": (0.0, 1.0), "softmax": (0.0, 1.0), "tanh": (-1.0, 1.0)}
_MAX_DEPTH = 8  # looking further back finds nothing in practice, and a chain of thousands costs nothing
_MAX_SCANNED = 4096  # elements of a constant worth reading for its bounds


def made_by(value: Value | None, *kinds: str) -> Node | None:
    """Return the producer of a value if it is of one of these kinds."""
    node = None if value is None else value.producer
    return node if node is not None and node.kind in kinds else None


def owned(value: Value | None, *kinds: str) -> Node | None:
    """Return the producer of a value that has no other reader, if it is of one of these kinds."""
    return made_by(value, *kinds) if value is not None and value.has_single_use() else None


def uniform(value: Value | None) -> float | None:
    """Return the number that a constant holds in every element; None for anything else."""
    if value is None or value.data is None or not value.data.size or value.dtype is DType.BOOL:
        return None
    first = value.data.flat[0]
    return float(first) if bool(np.all(value.data == first)) else None


def float_constant(value: Value | None) -> Array | None:
    """Return the data of a float32 constant; None for anything else."""
    return value.data if value is not None and value.dtype is DType.FLOAT32 else None


def activation_of(node: Node) -> ActivationFunctionType:
    """Return a node's fused activation, NONE where its kind has none."""
    return getattr(node.attributes, "fused_activation_function", NONE)


def activated(build: Builder, x: Value, activation: ActivationFunctionType) -> Value:
    """Apply what was a fused activation as a node of its own."""
    return x if activation is NONE else build.op(ACTIVATION_KINDS[activation], [x])


def forward(node: Node, value: Value) -> Sequence[Value] | NoMatch:
    """Let an existing value stand in for the only result of a node.

    Two graph outputs, or a graph input and a graph output, stay two tensors: each has a name to keep.
    """
    if node.result.is_graph_output and (value.producer is None or value.is_graph_output):
        return no_match("the result is a graph output, and the value behind it has a name of its own")
    return [value]


def bounds(value: Value, depth: int = _MAX_DEPTH) -> tuple[float, float]:
    """Return an interval that holds every element, as far as the nodes before it tell (never NaN)."""
    if value.data is not None:
        known = 0 < value.data.size <= _MAX_SCANNED and value.dtype.is_float
        return (float(value.data.min()), float(value.data.max())) if known else (-inf, inf)
    node = value.producer
    if node is None or depth == 0 or not value.dtype.is_float:
        return (-inf, inf)
    if node.kind in _KNOWN_BOUNDS:
        return _KNOWN_BOUNDS[node.kind]
    low, high = ACTIVATION_BOUNDS[activation_of(node)]
    inner = _bounds_of_operands(node, depth - 1)
    return (max(low, inner[0]), min(high, inner[1]))


def _bounds_of_operands(node: Node, depth: int) -> tuple[float, float]:
    """Same-scale ops pick or blend their operands' values; a pad adds zeros."""
    if spec_of(node).quant.constraint is not Constraint.SAME_SCALE:
        return (-inf, inf)
    found = [bounds(v, depth) for v in node.operands if v is not None and v.dtype.is_float]
    if not found:
        return (-inf, inf)
    lows, highs = zip(*found, strict=True)
    if node.kind == "maximum":
        return (max(lows), max(highs))
    if node.kind == "minimum":
        return (min(lows), min(highs))
    return (min(*lows, 0.0), max(*highs, 0.0))
