"""Named variables, which outlive a run: `var_handle` names one, `read_variable` and `assign_variable` use it.

    handle = var_handle(shared_name)      x = read_variable(handle)      assign_variable(handle, x)

A handle is a value of element type resource: the variable's number in the interpreter. Reading and writing
happen in the order of the nodes. Graphs of one model share variables by name; `call_once` (see `control`)
runs the graph that gives them their first values.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from edgec.ir import Attributes, DType, TensorType
from edgec.ops.infer import expect, required
from edgec.ops.layout import FIXED
from edgec.ops.spec import Emit, InferenceError, Operands, OpSpec, support, unsupported

HANDLE = TensorType((), DType.RESOURCE)


@dataclass(frozen=True, slots=True)
class VarHandleAttributes(Attributes):
    """Settings of var_handle."""

    container: str = ""
    shared_name: str = ""


@dataclass(frozen=True, slots=True)
class ReadVariableAttributes(Attributes):
    """Settings of read_variable: what the variable holds."""

    result: TensorType = field(default=TensorType(()), metadata={"emitted": False})


def _infer_handle(operands: Operands, attributes: Attributes) -> tuple[TensorType, ...]:
    return (HANDLE,)


def _infer_read(operands: Operands, attributes: Attributes) -> tuple[TensorType, ...]:
    _check_handle(operands)
    return (expect(attributes, ReadVariableAttributes).result,)


def _infer_assign(operands: Operands, attributes: Attributes) -> tuple[TensorType, ...]:
    _check_handle(operands)
    required(operands, 1)
    return ()


def _check_handle(operands: Operands) -> None:
    if required(operands, 0).dtype is not DType.RESOURCE:
        raise InferenceError(f"operand is {required(operands, 0).type}, not a variable")


_MEMORY = unsupported("what a variable holds is not observed")

OPS = (
    OpSpec(
        name="var_handle",
        operands=(),
        attributes=VarHandleAttributes,
        infer=_infer_handle,
        layout=FIXED,
        quant=_MEMORY,
        emit=Emit("VAR_HANDLE", "VarHandleOptions"),
        support=support("resource", tflm="resource"),
    ),
    OpSpec(
        name="read_variable",
        operands=("handle",),
        attributes=ReadVariableAttributes,
        infer=_infer_read,
        layout=FIXED,
        quant=_MEMORY,
        emit=Emit("READ_VARIABLE", "ReadVariableOptions"),
        support=support("resource", tflm="resource"),
    ),
    OpSpec(
        name="assign_variable",
        operands=("handle", "value"),
        infer=_infer_assign,
        layout=FIXED,
        quant=_MEMORY,
        emit=Emit("ASSIGN_VARIABLE", "AssignVariableOptions"),
        support=support("resource", tflm="resource"),
    ),
)
