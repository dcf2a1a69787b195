"""If: the branch that is taken where the condition is known, else both as subgraphs.

    y… = if(c, captured…)     then(captured…) → y…     else(captured…) → y…

What either branch reads from outside is an operand of both.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgec.frontends.onnx.context import LoweringContext, LoweringError
from edgec.frontends.onnx.registry import lowers
from edgec.frontends.onnx.scope import Scope
from edgec.ir import TensorType, Value
from edgec.ops.control import IfAttributes
from edgec.ops.infer import common_type
from edgec.ops.spec import InferenceError


@lowers("If", dynamic=True)
def if_(ctx: LoweringContext) -> list[Value]:
    """Inlined where the condition is a constant, else the kernel of the same name."""
    condition = ctx.input(0)
    if condition.data is not None:
        taken = "then_branch" if bool(np.all(condition.data)) else "else_branch"
        return ctx.inner.inline(ctx.graph(taken), [])
    branches = [ctx.inner.separate(ctx.graph(name), name) for name in ("then_branch", "else_branch")]
    results = [ctx.inner.run(branch, []) for branch in branches]
    types = _common_types(*results)
    captured = share_captures(branches)
    for branch, values in zip(branches, results, strict=True):
        branch.graph.set_outputs(values)
    indices = [ctx.inner.add(branch.graph) for branch in branches]
    attributes = IfAttributes(indices[0], indices[1], types)
    return list(ctx.build.node("if", [ctx.build.reshape(condition, ()), *captured], attributes).results)


def share_captures(scopes: Sequence[Scope]) -> list[Value]:
    """Give graphs that take the same operands an input for all that any of them captured; returns those."""
    captured = list(dict.fromkeys(value for scope in scopes for value in scope.captured))
    for scope in scopes:
        inputs = [scope.capture(value) for value in captured]
        own = [value for value in scope.graph.inputs if value not in inputs]
        scope.graph.inputs[:] = [*own, *inputs]
    return captured


def _common_types(then: Sequence[Value], other: Sequence[Value]) -> tuple[TensorType, ...]:
    if len(then) != len(other):
        raise LoweringError(
            f"returns {len(then)} values from one branch and {len(other)} from the other",
            "Branches have to agree.",
            "Export the model again.",
        )
    try:
        return tuple(common_type((a.type, b.type)) for a, b in zip(then, other, strict=True))
    except InferenceError as error:
        raise LoweringError(
            f"has branches whose results {error}",
            "A tensor has one rank and one element type, whatever branch computes it.",
            "Let both branches return the same kind of tensor, or fix the condition when exporting.",
        ) from None
