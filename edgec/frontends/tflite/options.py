"""Option tables of the schema → attributes, by spelling: the inverse of `edgec.emit.options`."""

from __future__ import annotations

from dataclasses import fields
from enum import StrEnum
from functools import cache
from typing import Any, get_type_hints

from edgec.emit.options import schema, schema_name
from edgec.frontends.tflite.structure import numbers, text
from edgec.frontends.tflite.tensors import enum_name
from edgec.ir import Attributes, DType
from edgec.ops.spec import OpSpec

Table = Any  # objects of the generated schema module, which has no type annotations

_HARMLESS = {"quantizedBiasType"}
"""Settings that repeat what the operands say: the bias has its own element type."""


class OptionError(ValueError):
    """A setting that the IR cannot express; the message completes "operator x ..."."""


def read_attributes(operator: Table, spec: OpSpec, result: DType) -> Attributes:
    """Return an operator's attributes; an absent table means the schema's defaults.

    A kind without a table that names an element type takes it from the operator's result.
    """
    table = option_table(operator, spec)
    hints = _hints(spec.attributes)
    if table is None:
        return spec.attributes(**{name: result for name, hint in hints.items() if hint is DType})
    written = [item for item in fields(spec.attributes) if item.metadata.get("emitted") is not False]
    values = {item.name: _value(table, item.name, hints[item.name]) for item in written}
    _refuse_lost(table, {_camel_case(name) for name in values})
    return spec.attributes(**values)


def option_table(operator: Table, spec: OpSpec) -> Table | None:
    """Return the option table an operator carries, or one of defaults; None for a kind without options."""
    if spec.emit.options is None:
        return None
    table = operator.builtinOptions if operator.builtinOptions is not None else operator.builtinOptions2
    wanted = f"{spec.emit.options}T"
    if table is None:
        return getattr(schema(), wanted)()
    if type(table).__name__ != wanted:
        raise OptionError(f"carries {type(table).__name__.removesuffix('T')}, not {spec.emit.options}")
    return table


@cache
def _hints(attributes: type[Attributes]) -> dict[str, Any]:
    return get_type_hints(attributes)


def _value(table: Table, name: str, hint: Any) -> object:
    raw = getattr(table, _camel_case(name))
    if not isinstance(hint, type):  # tuple[int, ...]
        return tuple(numbers(raw))
    if issubclass(hint, DType):
        dtype = DType.named((enum_name("TensorType", raw) or "").lower())
        if dtype is None:
            raise OptionError(f"sets {name} to element type {raw}, which this compiler does not take")
        return dtype
    if hint is str:
        return text(raw)
    if issubclass(hint, StrEnum):
        member = enum_name(schema_name(hint), raw)
        if member is None or member not in hint.__members__:
            raise OptionError(f"sets {name} to {member or raw}; kernels take {', '.join(hint.__members__)}")
        return hint[member]
    return hint(raw)


def _refuse_lost(table: Table, kept: set[str]) -> None:
    """A setting away from its default that no attribute holds would be lost without a word."""
    defaults = vars(type(table)())
    for name, value in vars(table).items():
        if name not in kept and name not in _HARMLESS and value != defaults[name]:
            raise OptionError(f"sets {name} to {value}, which this compiler does not take")


def _camel_case(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)
