"""Control flow: `if`, `while` and `call_once` run other graphs of the model, by their index in the file.

    y… = if(condition, x…)     then_graph(x…) → y…      else_graph(x…) → y…
    y… = while(x…)             cond_graph(x…) → bool    body_graph(x…) → x…
    call_once()                init_graph(): sets variables, in the first run alone

Both graphs of an if or while take the same operands. What a graph reads from outside is an operand like any
other; a loop hands it back unchanged.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace

from edgec.ir import Attributes, DType, Node, TensorType
from edgec.ops.infer import expect, fits, required
from edgec.ops.layout import FIXED
from edgec.ops.spec import Emit, InferenceError, Operands, OpSpec, support, unsupported

NOT_EMITTED = {"emitted": False}
_INDEX = "_subgraph_index"


@dataclass(frozen=True, slots=True)
class IfAttributes(Attributes):
    """Settings of if. `results` are types that the results of both graphs fit."""

    then_subgraph_index: int = 0
    else_subgraph_index: int = 0
    results: tuple[TensorType, ...] = field(default=(), metadata=NOT_EMITTED)


@dataclass(frozen=True, slots=True)
class WhileAttributes(Attributes):
    """Settings of while. `results` are types that the operands and the results of every round fit."""

    cond_subgraph_index: int = 0
    body_subgraph_index: int = 0
    results: tuple[TensorType, ...] = field(default=(), metadata=NOT_EMITTED)


@dataclass(frozen=True, slots=True)
class CallOnceAttributes(Attributes):
    """Settings of call_once."""

    init_subgraph_index: int = 0


_Calling = IfAttributes | WhileAttributes | CallOnceAttributes


def called_graphs(node: Node) -> dict[str, int]:
    """Return the indices of the graphs that a node runs, by their role: then, else, cond, body, init."""
    if not isinstance(node.attributes, _Calling):
        return {}
    names = [item.name for item in fields(node.attributes) if item.name.endswith(_INDEX)]
    return {name.removesuffix(_INDEX): getattr(node.attributes, name) for name in names}


def with_called_graphs(node: Node, called: Mapping[str, int]) -> Attributes:
    """Return the attributes of a node that runs other graphs, by their role."""
    if not isinstance(node.attributes, _Calling):
        raise ValueError(f"{node} runs no graphs")
    return replace(node.attributes, **{f"{role}{_INDEX}": index for role, index in called.items()})


def _infer_if(operands: Operands, attributes: Attributes) -> tuple[TensorType, ...]:
    condition = required(operands, 0)
    if condition.dtype is not DType.BOOL or condition.shape not in ((), (1,)):
        raise InferenceError(f"the condition is {condition.type}, not one bool")
    return expect(attributes, IfAttributes).results


def _infer_call_once(operands: Operands, attributes: Attributes) -> tuple[TensorType, ...]:
    return ()


def _infer_while(operands: Operands, attributes: Attributes) -> tuple[TensorType, ...]:
    results = expect(attributes, WhileAttributes).results
    if len(results) != len(operands):
        raise InferenceError(f"{len(operands)} operands for {len(results)} states")
    for index, type in enumerate(results):
        if not fits(required(operands, index).type, type):
            raise InferenceError(f"state {index} is {type} but starts as {required(operands, index).type}")
    return results


_EVERY_TYPE = "f32 f16 i8 u8 i16 i32 u32 i64 bool"
_NO_INT8 = unsupported("ranges inside of control flow are not observed")

OPS = (
    OpSpec(
        name="if",
        operands=("condition", "inputs*"),
        attributes=IfAttributes,
        infer=_infer_if,
        layout=FIXED,
        quant=_NO_INT8,
        emit=Emit("IF", "IfOptions"),
        support=support("bool", tflm="bool"),
    ),
    OpSpec(
        name="while",
        operands=("inputs*",),
        attributes=WhileAttributes,
        infer=_infer_while,
        layout=FIXED,
        quant=_NO_INT8,
        emit=Emit("WHILE", "WhileOptions"),
        support=support(_EVERY_TYPE, tflm=_EVERY_TYPE),
    ),
    OpSpec(
        name="call_once",
        operands=(),
        attributes=CallOnceAttributes,
        infer=_infer_call_once,
        layout=FIXED,
        quant=_NO_INT8,
        emit=Emit("CALL_ONCE", "CallOnceOptions"),
        support=support(_EVERY_TYPE, tflm=_EVERY_TYPE),
    ),
)
