"""What a model file itself says, before anything is lowered: the source's own operators, names and shapes.

An outline exists for every file that can be read, also where an operator is unknown or a dimension open.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

Dims = tuple[int | str, ...]
"""Sizes; a name or `?` is an open dimension."""


@dataclass(frozen=True, slots=True)
class SourceTensor:
    """A tensor as declared; `shape` is None where not even the rank is known."""

    name: str
    shape: Dims | None
    dtype: str
    scale: float | None = None
    zero_point: int | None = None
    per_axis: int = 0
    """The number of scales where there is one for each slice, else 0."""

    def __str__(self) -> str:
        dims = "?" if self.shape is None else ",".join(map(str, self.shape))
        return f"{self.dtype}[{dims}]"


@dataclass(frozen=True, slots=True)
class SourceOperator:
    """One operator with the tensor names it reads and makes ("" where optional ones are absent)."""

    kind: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Outline:
    """The main graph of a model file.

    `tensors` are the known types by name, constants among them; `histogram` also counts inner graphs;
    `facts` are what else of the file matters (opset, signatures, metadata), in order.
    Where a signature or layer names the ports, `input_tensors` and `output_tensors` are what the operators
    call them; empty where the names are the same.
    """

    inputs: tuple[SourceTensor, ...] = ()
    outputs: tuple[SourceTensor, ...] = ()
    operators: tuple[SourceOperator, ...] = ()
    tensors: Mapping[str, SourceTensor] = field(default_factory=dict[str, SourceTensor])
    constants: frozenset[str] = frozenset()
    histogram: Mapping[str, int] = field(default_factory=dict[str, int])
    parameters: int = 0
    facts: tuple[tuple[str, str], ...] = ()
    input_tensors: tuple[str, ...] = ()
    output_tensors: tuple[str, ...] = ()


def shortened(text: str, limit: int = 80) -> str:
    """Return text on one line, cut at `limit` characters."""
    line = " ".join(text.split())
    return line if len(line) <= limit else f"{line[: limit - 1]}…"
