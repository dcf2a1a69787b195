"""Which function lowers which ONNX operator, by the opset range it is written for."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from edgec.ir import Value

if TYPE_CHECKING:
    from edgec.frontends.onnx.context import LoweringContext

Lowering = Callable[["LoweringContext"], Sequence[Value | None] | Value]

_LOWERINGS: dict[str, dict[int, Lowering]] = {}
_DYNAMIC: set[Lowering] = set()
_FAMILIES = "edgec.frontends.onnx.lowerings"


def lowers(*op_types: str, since: int = 1, dynamic: bool = False) -> Callable[[Lowering], Lowering]:
    """Register a lowering for ONNX operators from opset `since` on; the newest one that fits wins.

    `dynamic` promises that it is right for operands with dimensions that only the run time knows; others
    are never asked about such nodes.
    """

    def register(lowering: Lowering) -> Lowering:
        if dynamic:
            _DYNAMIC.add(lowering)
        for op_type in op_types:
            versions = _LOWERINGS.setdefault(op_type, {})
            if since in versions:
                raise ValueError(f"{op_type} since {since} has two lowerings")
            versions[since] = lowering
        return lowering

    return register


def find_lowering(op_type: str, opset: int) -> Lowering | None:
    """Return the lowering with the newest `since` not above the model's opset, or None."""
    load_families()
    versions = _LOWERINGS.get(op_type, {})
    fitting = [since for since in versions if since <= opset]
    return versions[max(fitting)] if fitting else None


def takes_dynamic_shapes(lowering: Lowering) -> bool:
    """Whether a lowering is written for dimensions that only the run time knows."""
    return lowering in _DYNAMIC


def supported_operators() -> dict[str, tuple[int, ...]]:
    """Return every operator with a lowering and the opsets its lowerings start at."""
    load_families()
    return {name: tuple(sorted(versions)) for name, versions in sorted(_LOWERINGS.items())}


def load_families() -> None:
    """Import every module of the lowerings folder: a new family needs no entry anywhere else."""
    package = importlib.import_module(_FAMILIES)
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{_FAMILIES}.{module.name}")
