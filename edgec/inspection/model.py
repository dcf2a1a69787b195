"""The facts of one inspection; every view (terminal, JSON, HTML) shows these."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields

from edgec.diagnostics import Diagnostic
from edgec.frontends.outline import Outline, SourceTensor

SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True)
class InspectedTensor:
    """An input or output; `layout` is `nchw` or `nhwc` where the graph shows that it is an image."""

    tensor: SourceTensor
    layout: str | None = None

    def to_dict(self) -> dict[str, object]:
        """Return JSON-ready fields; open dimensions are names or "?"."""
        found: dict[str, object] = asdict(self.tensor)
        shape = self.tensor.shape
        return found | {"shape": None if shape is None else list(shape), "layout": self.layout}


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a board does not run the model: one rule, every place that breaks it."""

    code: str
    text: str
    places: tuple[str, ...]

    @property
    def count(self) -> int:
        """The number of places."""
        return len(self.places)

    def __str__(self) -> str:
        times = f" ({self.count}×)" if self.count > 1 else ""
        return f"{self.code} {self.text}{times}"


@dataclass(frozen=True, slots=True)
class Board:
    """What became of the model for one board and precision; it runs there where no reason is left.

    `size_bytes` and `arena_bytes` are those of the compiled form, None where it was not reached.
    """

    target: str
    precision: str
    reasons: tuple[Reason, ...] = ()
    size_bytes: int | None = None
    arena_bytes: int | None = None

    @property
    def runs(self) -> bool:
        """Whether nothing stands in the way."""
        return not self.reasons


@dataclass(frozen=True, slots=True)
class Peak:
    """Most bytes of activations in memory at once, and the node where that is."""

    bytes: int
    node: str


@dataclass(frozen=True, slots=True)
class Inspection:
    """What `edgec inspect` found. `kinds` are the op kinds after the float passes, by TFLite builtin.

    `macs` and `activation_peak` are None where the model could not be imported or a shape is open,
    `parameters` where not even the operators are known.
    """

    name: str
    format: str
    sha256: str
    size_bytes: int
    outline: Outline
    inputs: tuple[InspectedTensor, ...]
    outputs: tuple[InspectedTensor, ...]
    kinds: Mapping[str, int]
    parameters: int | None
    macs: int | None
    activation_peak: Peak | None
    boards: tuple[Board, ...]
    diagnostics: tuple[Diagnostic, ...] = ()

    def to_json(self) -> str:
        """Return the inspection as JSON; the drawing's operators are left to the HTML view."""
        plain = ("name", "format", "sha256", "size_bytes", "parameters", "macs")
        found: dict[str, object] = {"schema_version": SCHEMA_VERSION}
        found |= {item.name: getattr(self, item.name) for item in fields(self) if item.name in plain}
        found["facts"] = dict(self.outline.facts)
        found["inputs"] = [item.to_dict() for item in self.inputs]
        found["outputs"] = [item.to_dict() for item in self.outputs]
        found["operators"] = dict(sorted(self.outline.histogram.items()))
        found["compiled_operators"] = dict(sorted(self.kinds.items()))
        found["activation_peak"] = None if self.activation_peak is None else asdict(self.activation_peak)
        found["boards"] = [_board(item) for item in self.boards]
        found["diagnostics"] = [item.to_dict() for item in self.diagnostics]
        return json.dumps(_finite(found), indent=2, ensure_ascii=True) + "\n"


def _board(board: Board) -> dict[str, object]:
    reasons = [asdict(reason) | {"count": reason.count} for reason in board.reasons]
    return asdict(board) | {"runs": board.runs, "reasons": reasons}


def _finite(value: object) -> object:
    """Return the value with NaN and infinity, which JSON lacks, as text."""
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
