"""Which builtins are not taken as they are: TFLite's second spellings, and forms our op kinds do not have.

Every other builtin that `edgec.ops` emits is read by inverting its entry there.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from types import MappingProxyType

from edgec.frontends.tflite.context import Context
from edgec.ir import Value
from edgec.ops import OpSpec, all_ops

Lowering = Callable[[Context], list[Value] | None]
"""Returns the results, or None where the operator is to be taken as it is after all."""

CUSTOM = "CUSTOM "
"""Starts the name of a custom operator; its custom code follows."""

_LOWERINGS: dict[str, Lowering] = {}


def lowers(*builtins: str) -> Callable[[Lowering], Lowering]:
    """Register a function as the lowering of builtins."""

    def register(function: Lowering) -> Lowering:
        for builtin in builtins:
            if builtin in _LOWERINGS:
                raise ValueError(f"{builtin} has two lowerings")
            _LOWERINGS[builtin] = function
        return function

    return register


@cache
def lowerings() -> MappingProxyType[str, Lowering]:
    """Return every lowering by builtin name."""
    from edgec.frontends.tflite import lowerings as package

    for module in iter_modules(package.__path__):
        import_module(f"{package.__name__}.{module.name}")
    return MappingProxyType(_LOWERINGS)


@cache
def kinds() -> MappingProxyType[str, OpSpec]:
    """Return our op kinds by the builtin they are written as."""
    return MappingProxyType({spec.emit.builtin: spec for spec in all_ops().values()})
