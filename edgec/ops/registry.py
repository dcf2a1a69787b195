"""The registry: op kind → everything known about it."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from types import MappingProxyType

from edgec.ir import Node
from edgec.ops.spec import OpSpec


@cache
def all_ops() -> MappingProxyType[str, OpSpec]:
    """Return every known op by kind."""
    from edgec.ops import (
        bits,
        control,
        conv,
        detection,
        elementwise,
        matmul,
        movement,
        normalization,
        pool,
        quantization,
        recurrent,
        reduce,
        resize,
        scatter,
        sizes,
        slicing,
        variables,
    )

    families = (
        conv,
        matmul,
        pool,
        resize,
        elementwise,
        normalization,
        reduce,
        movement,
        slicing,
        quantization,
        control,
        bits,
        detection,
        scatter,
        sizes,
        recurrent,
        variables,
    )
    return MappingProxyType(_index(spec for family in families for spec in family.OPS))


def _index(specs: Iterable[OpSpec]) -> dict[str, OpSpec]:
    index: dict[str, OpSpec] = {}
    for spec in specs:
        if spec.name in index:
            raise ValueError(f"op kind '{spec.name}' has two entries")
        index[spec.name] = spec
    return index


def op_spec(kind: str) -> OpSpec:
    """Return the entry of an op kind; KeyError for an unknown one."""
    return all_ops()[kind]


def spec_of(node: Node) -> OpSpec:
    """Return the entry of a node's kind."""
    return op_spec(node.kind)
