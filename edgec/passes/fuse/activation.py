"""relu, relu6 and relu_n1_to_1 become the fused activation of the node that computes their operand.

They are monotone and work element by element, so they commute with whatever moves or picks elements:

    relu(reshape(conv(x))) = reshape(relu(conv(x)))        relu(max_pool(x)) = max_pool(relu(x))
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgec.ir import DType, Node, Value
from edgec.ops import ActivationFunctionType, Builder
from edgec.passes.canonicalize.matching import (
    ACTIVATION_BOUNDS,
    ACTIVATION_KINDS,
    NONE,
    activation_of,
    owned,
)
from edgec.passes.contract import RulePass
from edgec.passes.fuse.weighted import rebuilt, replayed
from edgec.rewrite import NoMatch, no_match

_ACTIVATION_OF_KIND = {kind: activation for activation, kind in ACTIVATION_KINDS.items()}
_ACTIVATION_OF_BOUNDS = {interval: activation for activation, interval in ACTIVATION_BOUNDS.items()}
_THROUGH = ("reshape", "transpose", "max_pool_2d")
FUSIBLE = (
    "conv_2d",
    "depthwise_conv_2d",
    "fully_connected",
    "add",
    "sub",
    "mul",
    "div",
    "max_pool_2d",
    "average_pool_2d",
)
"""Ops whose kernels and delegates take every fused activation (concatenation has the option, no kernel)."""


@dataclass(frozen=True, slots=True)
class FuseActivation:
    """relu6(reshape(conv_2d(x))) → reshape(conv_2d(x) {RELU6})

    The deepest node that takes it gets it: behind a pool the convolution does, which then has the smaller
    range to quantize. An activation fused already is narrowed where one names the result: relu6 of RELU is
    RELU6.
    """

    fusible: tuple[str, ...] = FUSIBLE
    name: str = "fuse_activation"
    kinds: tuple[str, ...] = tuple(_ACTIVATION_OF_KIND)

    def apply(self, node: Node, build: Builder) -> Sequence[Value] | NoMatch:
        """Walk back over unshared values that only move, and build again from the node that takes it."""
        if node.result.dtype is not DType.FLOAT32:
            return no_match(f"{node.result.dtype} has no fused activations")
        outer = _ACTIVATION_OF_KIND[node.kind]
        chain, value, best = list[Node](), node.operand(0), None
        while value.has_single_use() and value.producer is not None:
            maker = value.producer
            combined = _combined(activation_of(maker), outer)
            if maker.kind in self.fusible and combined is not None:
                best = (maker, combined, list(chain))
            if maker.kind not in _THROUGH or activation_of(maker) is not NONE:
                break
            chain.insert(0, maker)
            value = maker.operand(0)
        if best is None:
            return no_match("the operand is shared, or made by a node without fused activations")
        maker, combined, behind = best
        return [replayed(build, rebuilt(build, maker, {}, combined), behind)]


def _combined(inner: ActivationFunctionType, outer: ActivationFunctionType) -> ActivationFunctionType | None:
    """Return the activation equal to `outer(inner(x))`: inner's bounds, clipped by outer's."""
    ends = ACTIVATION_BOUNDS[outer]
    low, high = (min(max(end, ends[0]), ends[1]) for end in ACTIVATION_BOUNDS[inner])
    return _ACTIVATION_OF_BOUNDS.get((low, high))


@dataclass(frozen=True, slots=True)
class FuseActivationIntoNextPool:
    """max_pool_2d(relu(x)) → max_pool_2d(x) {RELU}, where no node before x takes the relu"""

    name: str = "fuse_activation_into_next_pool"
    kinds: tuple[str, ...] = ("max_pool_2d",)

    def apply(self, node: Node, build: Builder) -> Sequence[Value] | NoMatch:
        """Let the pool clip its maxima: fewer elements than before it."""
        before = owned(node.operand(0), *_ACTIVATION_OF_KIND)
        if before is None or node.result.dtype is not DType.FLOAT32:
            return no_match("the operand is not an unshared float activation")
        combined = _combined(_ACTIVATION_OF_KIND[before.kind], activation_of(node))
        if combined is None:
            return no_match(f"no activation equals {activation_of(node)} of {before.kind}")
        return [rebuilt(build, node, {0: before.operand(0)}, combined)]


FUSE_ACTIVATIONS = RulePass("fuse_activations", (FuseActivation(), FuseActivationIntoNextPool()))
