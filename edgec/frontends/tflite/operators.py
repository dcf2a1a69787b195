"""One operator as the registry knows it: its kind, attributes by spelling, operands completed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from edgec.frontends.tflite.bias import zero_bias
from edgec.frontends.tflite.context import Context, LoweringError
from edgec.frontends.tflite.options import read_attributes
from edgec.frontends.tflite.registry import CUSTOM
from edgec.frontends.tflite.structure import text
from edgec.frontends.tflite.tensors import enum_name
from edgec.ir import Attributes, DType, Value
from edgec.ops import OpSpec
from edgec.ops.elementwise import AddAttributes, CastAttributes, SubAttributes
from edgec.ops.normalization import SoftmaxAttributes
from edgec.ops.recurrent import StatefulAttributes
from edgec.ops.variables import ReadVariableAttributes

Table = Any  # objects of the generated schema module, which has no type annotations

NO_STATE = (
    "A compiled graph has no memory between runs.",
    "Carry the state through an extra input and output of the source model.",
)
_BRIDGES = ("quantize", "dequantize", "cast")
"""Kinds whose result takes its element type from the file, not from inference."""


def builtin_name(code: Table) -> str:
    """Return the builtin of an operator code; old files hold it in the 8-bit field alone."""
    number = max(code.builtinCode, code.deprecatedBuiltinCode)
    return enum_name("BuiltinOperator", number) or f"builtin {number}"


def operator_name(code: Table) -> str:
    """Return the builtin of an operator code, or `CUSTOM` and the name of a custom operator."""
    builtin = builtin_name(code)
    return builtin if builtin != "CUSTOM" else f"{CUSTOM}{text(code.customCode) or 'without a name'}"


def unknown_builtin(builtin: str) -> LoweringError:
    """Return why an operator that neither the registry nor a lowering knows is refused."""
    if builtin.startswith(CUSTOM):
        return LoweringError(
            f"is a custom operator: {builtin.removeprefix(CUSTOM)}",
            "Its meaning is not in the file, and no runtime has it built in.",
            "Convert the model without custom operators (not for an accelerator, no select-TF ops).",
            "E0201",
        )
    return LoweringError(
        "has no op kind in this compiler",
        "",
        "Replace the operator in the source model; docs/operators.md lists kinds.",
        "E0201",
    )


def take(context: Context, operator: Table, spec: OpSpec) -> list[Value]:
    """Take an operator as it is: attributes by spelling, result types by inference."""
    half = context.input(0) if context.builtin == "DEQUANTIZE" else None
    if half is not None and half.data is not None and half.dtype is DType.FLOAT16:
        return [context.build.constant(half.data.astype(np.float32), name=half.name)]
    operands = _operands(context, spec)
    if context.builtin == "CAST":  # old files leave the option table out
        attributes = CastAttributes(context.input(0).dtype, context.results[0].type.dtype)
    else:
        made = context.results[0].type.dtype if context.results else DType.FLOAT32
        attributes = read_attributes(operator, spec, made)
    if isinstance(attributes, StatefulAttributes):
        attributes = _with_states(context, spec, attributes)
    attributes = _with_results(context, attributes)
    node = context.build.node(spec.name, operands, attributes)
    if spec.name in _BRIDGES:
        node.result.type = replace(node.result.type, dtype=context.results[0].type.dtype)
    return list(node.results)


def _with_results(context: Context, attributes: Attributes) -> Attributes:
    """Return the attributes with what the file says of the results where operands do not tell."""
    if isinstance(attributes, ReadVariableAttributes):
        return ReadVariableAttributes(context.results[0].type)
    if isinstance(attributes, SoftmaxAttributes):
        dtypes = (context.input(0).dtype, context.results[0].type.dtype)
        return replace(attributes, wide_result=dtypes == (DType.INT8, DType.INT16))
    if isinstance(attributes, AddAttributes | SubAttributes) and context.input(0).dtype is not DType.INT16:
        return replace(attributes, pot_scale_int16=False)  # the schema's default says nothing here
    return attributes


def _with_states(context: Context, spec: OpSpec, attributes: StatefulAttributes) -> Attributes:
    """Return the attributes with the types of the operator's memory, for the batch that was pinned."""
    if set(context.states) != set(spec.emit.states):
        raise LoweringError("has states that are not its own variables", "", "Convert the model again.")
    x = context.input(0)
    batch = x.shape[1 if getattr(attributes, "time_major", False) else 0]
    states = [context.states[position] for position in spec.emit.states]
    pinned = tuple(type.with_shape((batch, *type.shape[1:])) for type in states)
    if x.dtype is DType.INT8 and all(type.dtype is DType.INT8 for type in pinned):
        raise LoweringError(
            "keeps an int8 state",
            "TFLite Micro runs this form; LiteRT takes the state for int16 and crashes.",
            "`edgec doctor MODEL --fix` writes a form that both run.",
        )
    return replace(attributes, states=pinned, intermediates=context.intermediates)


def _operands(context: Context, spec: OpSpec) -> list[Value | None]:
    """Return the operands with absent trailing ones cut; a bias our kind demands is made."""
    operands = list(context.inputs)
    while operands and operands[-1] is None:
        operands.pop()
    facts = spec.quant.weights
    if facts is not None and facts.bias is not None and spec.operands[len(operands) :] == ("bias",):
        weights = context.input(facts.operand)
        units = weights.shape[facts.quantized_dimension]
        operands.append(zero_bias(context, context.input(facts.data), weights, units))
    if not spec.variadic and not spec.required_operands <= len(operands) <= len(spec.operands):
        raise LoweringError(f"has {len(operands)} operands; {spec.name} takes {', '.join(spec.operands)}")
    return operands


def reads_plain_constants(context: Context) -> bool:
    """Whether an operator can be computed now: constants go in, and nothing of it is quantized."""
    return (
        bool(context.inputs)
        and all(v is None or (v.is_constant and v.type.quantization is None) for v in context.inputs)
        and not any(tensor.type.quantization for tensor in context.results)
        and not context.states
    )
