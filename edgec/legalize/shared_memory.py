"""Keeps LiteRT's memory planner from letting one tensor overwrite another that is still to be read.

The planner lets ADD, SUB, MUL, DIV and SOFTMAX write into their operand's memory when nobody else reads the
operand, and gives RESHAPE's result its operand's memory. It counts the readers of the first tensor of such a
chain alone, so a reader of a tensor further down is overlooked:

    a ─ add ─ t ─┬─ reshape ─ r ─ softmax      softmax finds one reader of a (the add), writes into its
                 └─ exp (runs later)           memory, and exp reads softmax's numbers in place of t

With a copy, r starts a chain of its own: `t ─ slice ─ reshape ─ r`. XNNPACK keeps its own memory, but which
nodes it takes on a device is not ours to know. Seen with ai-edge-litert 2.3.0 and builtin kernels
(tensorflow/lite/arena_planner.cc, IdentifyInPlaceTensors).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgec.ir import Node, Value
from edgec.legalize.moves import Moves, refusal
from edgec.ops import Builder
from edgec.ops.movement import ReshapeAttributes
from edgec.rewrite import NoMatch, no_match

WRITE_IN_PLACE = frozenset({"add", "sub", "mul", "div", "softmax"})
"""Kinds whose result may take an operand's memory; the tests see each of them do it."""


@dataclass(frozen=True)
class CopyBeforeReshape:
    """reshape(t) → reshape(slice(t)) where what follows may overwrite t too early."""

    name: str = "copy_before_reshape"
    kinds: tuple[str, ...] = ("reshape",)

    def apply(self, node: Node, build: Builder) -> Sequence[Value] | NoMatch:
        """Copy the operand where its memory is shared on both sides and somebody else reads it."""
        x = node.operand(0)
        if len(x.uses) < 2 or x.is_graph_output:
            return no_match("nobody else reads the operand, or it has memory of its own")
        if x.producer is None or x.producer.kind not in WRITE_IN_PLACE | {"reshape"}:
            return no_match("the operand's memory is not another tensor's")
        if not _is_overwritten(node.result):
            return no_match("what reads the result does not write into it")
        refused = refusal(node, ("slice",), "xnnpack")
        if refused is not None:
            return refused
        moves, rank = Moves.like(x, build), x.type.rank
        whole = [x, build.constant([0] * rank), build.constant(list(x.shape))]
        copied = moves.scaled(build.op("slice", whole))
        target = build.constant(list(node.result.shape))
        return [moves.scaled(build.op("reshape", [copied, target], ReshapeAttributes(node.result.shape)))]


def _is_overwritten(value: Value) -> bool:
    """Whether the only reader may write into the tensor, perhaps behind more reshapes."""
    if len(value.uses) != 1:
        return False
    reader = value.users[0]
    return reader.kind in WRITE_IN_PLACE or (reader.kind == "reshape" and _is_overwritten(reader.result))
