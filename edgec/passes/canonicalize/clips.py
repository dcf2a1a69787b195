"""Clipping: maximum, minimum and the relu family, by the interval a value is known to lie in.

relu, relu6 and relu_n1_to_1 fuse into the node before; maximum and minimum do not, and have no delegated int8
kernel. So a clip becomes a relu wherever the two are equal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

from edgec.ir import DType, Node, Value
from edgec.ops import Builder
from edgec.passes.canonicalize.matching import CLIP_BOUNDS, bounds, forward, made_by, uniform
from edgec.rewrite import NoMatch, no_match

_KIND_OF_BOUNDS = {interval: kind for kind, interval in CLIP_BOUNDS.items()}
_BY_BOUNDS = ("relu", "relu6")
"""relu_n1_to_1 has fewer kernels than minimum, so it stands for nothing but its own interval."""


def clip_interval(node: Node) -> tuple[float, float] | None:
    """Return the interval a node clips its operand 0 to; None where it does anything else."""
    if node.kind in CLIP_BOUNDS:
        return CLIP_BOUNDS[node.kind]
    limit = uniform(node.operand(1)) if node.kind in ("maximum", "minimum") else None
    if limit is None or node.operand(0).shape != node.result.shape:
        return None
    return (limit, inf) if node.kind == "maximum" else (-inf, limit)


@dataclass(frozen=True, slots=True)
class EliminateIdleClip:
    """relu(relu6(x)) → relu6(x): the operand lies in the interval already"""

    name: str = "eliminate_idle_clip"
    kinds: tuple[str, ...] = ("maximum", "minimum", *CLIP_BOUNDS)

    def apply(self, node: Node, build: Builder) -> Sequence[Value] | NoMatch:
        """Forward the operand."""
        interval = clip_interval(node)
        if interval is None:
            return no_match("the limit is not a constant of equal elements, or it broadcasts")
        low, high = bounds(node.operand(0))
        if low < interval[0] or high > interval[1]:
            return no_match(
                f"values in [{low:g}, {high:g}] are clipped to [{interval[0]:g}, {interval[1]:g}]"
            )
        return forward(node, node.operand(0))


@dataclass(frozen=True, slots=True)
class ClipToRelu:
    """min(max(x, 0), 6), max(min(x, 6), 0), relu6(relu(x)) → relu6(x), and so for relu and relu_n1_to_1

    Two clips one after the other are one, to the inner interval clipped by the outer. Where the operand is
    known to lie above (or below) a bound, clipping there as well changes nothing: min(max(x, 0.5), 6) is
    relu6(max(x, 0.5)).
    """

    name: str = "clip_to_relu"
    kinds: tuple[str, ...] = ("maximum", "minimum", *CLIP_BOUNDS)

    def apply(self, node: Node, build: Builder) -> Sequence[Value] | NoMatch:
        """Find one relu that clips alike, from as far back as clips reach."""
        outer = clip_interval(node)
        if outer is None or node.result.dtype is not DType.FLOAT32:
            return no_match("not a float clip to constants of equal elements")
        x = node.operand(0)
        inner = made_by(x, *self.kinds)
        inside = None if inner is None else clip_interval(inner)
        if inner is not None and inside is not None:
            kind = _relu_of(inner.operand(0), _clipped(inside, outer))
            if kind is not None:
                return [build.op(kind, [inner.operand(0)])]
        kind = _relu_of(x, outer)
        if kind is None or kind == node.kind:
            return no_match(f"no relu clips to [{outer[0]:g}, {outer[1]:g}]")
        return [build.op(kind, [x])]


def _clipped(inner: tuple[float, float], outer: tuple[float, float]) -> tuple[float, float]:
    """Return the interval of `clip(clip(x, inner), outer)`: inner's ends, clipped."""
    low, high = (min(max(end, outer[0]), outer[1]) for end in inner)
    return (low, high)


def _relu_of(x: Value, interval: tuple[float, float]) -> str | None:
    """Return the relu that does to `x` what clipping to `interval` does."""
    if interval in _KIND_OF_BOUNDS:
        return _KIND_OF_BOUNDS[interval]
    low, high = bounds(x)
    for (relu_low, relu_high), kind in _KIND_OF_BOUNDS.items():
        if kind not in _BY_BOUNDS:
            continue
        same_low = interval[0] == relu_low or (low >= relu_low and low >= interval[0])
        same_high = interval[1] == relu_high or (high <= relu_high and high <= interval[1])
        if same_low and same_high:
            return kind
    return None
