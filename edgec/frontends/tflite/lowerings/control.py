"""If, while and call_once: the graphs they run are imported for the operands at hand."""

from __future__ import annotations

from edgec.frontends.tflite.context import Context, LoweringError
from edgec.frontends.tflite.registry import lowers
from edgec.ir import TensorType, Value
from edgec.ops.control import CallOnceAttributes, IfAttributes, WhileAttributes
from edgec.ops.infer import common_type
from edgec.ops.spec import InferenceError


@lowers("IF")
def if_(ctx: Context) -> list[Value]:
    """Both branches take the same operands."""
    inputs = [ctx.input(index) for index in range(len(ctx.inputs))]
    then_index, then_graph = ctx.inner_graph(ctx.option("thenSubgraphIndex"), inputs[1:])
    else_index, else_graph = ctx.inner_graph(ctx.option("elseSubgraphIndex"), inputs[1:])
    if len(then_graph.outputs) != len(else_graph.outputs):
        raise LoweringError("has branches with different numbers of results", "The file is damaged.")
    try:
        pairs = zip(then_graph.outputs, else_graph.outputs, strict=True)
        results = tuple(common_type([a.type, b.type]) for a, b in pairs)
    except InferenceError as error:
        raise LoweringError("has branches with different results", f"{error}.") from None
    return list(ctx.build.node("if", inputs, IfAttributes(then_index, else_index, results)).results)


@lowers("CALL_ONCE")
def call_once(ctx: Context) -> list[Value]:
    """The graph that gives variables their first values."""
    index, _ = ctx.inner_graph(ctx.option("initSubgraphIndex"), [])
    ctx.build.node("call_once", [], CallOnceAttributes(index))
    return []


@lowers("WHILE")
def while_(ctx: Context) -> list[Value]:
    """Condition and body take the states; each round hands back states of the same types."""
    states = [ctx.input(index) for index in range(len(ctx.inputs))]
    cond, _ = ctx.inner_graph(ctx.option("condSubgraphIndex"), states)
    body, graph = ctx.inner_graph(ctx.option("bodySubgraphIndex"), states)
    results: tuple[TensorType, ...] = tuple(value.type for value in states)
    changed = [v for v, type in zip(graph.outputs, results, strict=False) if v.type != type]
    if changed or len(graph.outputs) != len(states):
        raise LoweringError(
            "is a loop whose states change their shape from round to round",
            "Kernels are compiled for one shape.",
            "Unroll the loop in the source model (recurrent Keras layers: unroll=True).",
        )
    return list(ctx.build.node("while", states, WhileAttributes(cond, body, results)).results)
