"""Attributes → option tables of the schema, by spelling: `stride_h` is `strideH`, enums by their name."""

from __future__ import annotations

from dataclasses import fields
from enum import StrEnum
from functools import cache
from types import ModuleType

import numpy as np

from edgec.ir import DType, Node
from edgec.ops import spec_of


@cache
def schema() -> ModuleType:
    """Return the generated TFLite schema bindings (0.1 s to import, so not at import time)."""
    from ai_edge_litert import schema_py_generated

    return schema_py_generated


def option_table(node: Node) -> object | None:
    """Return the node's options as a schema object, or None where the op has no options table."""
    name = spec_of(node).emit.options
    if name is None:
        return None
    table = getattr(schema(), f"{name}T")()
    for item in fields(node.attributes):
        if item.metadata.get("emitted") is False:  # what only inference needs
            continue
        setattr(table, _camel_case(item.name), _option_value(getattr(node.attributes, item.name)))
    return table


def tensor_type(dtype: DType) -> int:
    """Return the schema's number of an element type."""
    return int(getattr(schema().TensorType, dtype.name))


def schema_name(enum: type[StrEnum]) -> str:
    """Return the schema's name of an enumeration: our class's own, unless it takes part of the members."""
    return getattr(enum, "__schema__", enum.__name__)


def _camel_case(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)


def _option_value(value: object) -> object:
    if isinstance(value, DType):
        return tensor_type(value)
    if isinstance(value, StrEnum):
        return getattr(getattr(schema(), schema_name(type(value))), value.name)
    if isinstance(value, tuple):
        return np.asarray(value, np.int32)
    return value
