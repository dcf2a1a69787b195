"""Reductions over axes of size 1 reduce nothing.

A keep_dims reduction whose axes a reshape drops next is left alone: the int8 mean kernel has a fast path for
keep_dims over H and W only, and a reshape costs nothing beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgec.ir import Node, Value
from edgec.ops import Builder
from edgec.ops.infer import int_list
from edgec.passes.canonicalize.matching import forward
from edgec.rewrite import NoMatch, no_match


@dataclass(frozen=True, slots=True)
class ReductionToReshape:
    """mean(x[1,1,1,8], axes [1,2]) → reshape(x, [1,8]); with keep_dims → x"""

    name: str = "reduction_to_reshape"
    kinds: tuple[str, ...] = (
        "mean",
        "sum",
        "reduce_max",
        "reduce_min",
        "reduce_prod",
        "reduce_any",
        "reduce_all",
    )

    def apply(self, node: Node, build: Builder) -> Sequence[Value] | NoMatch:
        """One element is its own mean, sum, product and extreme."""
        x, axes = node.operand(0), node.operand(1).data
        if axes is None or not axes.size or not x.type.is_static:
            return no_match("the axes or the shape are not known, or there are no axes")
        if any(x.shape[axis] != 1 for axis in int_list(axes)):
            return no_match(f"axes {int_list(axes)} of {list(x.shape)} are not all of size 1")
        if x.shape == node.result.shape:
            return forward(node, x)
        return [build.reshape(x, node.result.shape)]
