"""Which graph of a file is the model, and what its inputs and outputs are called."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgec.diagnostics import CompileError, Diagnostic
from edgec.frontends.tflite.load import TfliteFile
from edgec.frontends.tflite.structure import text

Table = Any  # objects of the generated schema module, which has no type annotations

_DEFAULT = "serving_default"


@dataclass(frozen=True, slots=True)
class Entry:
    """A graph of the file and the signature's names of its tensors (by tensor index)."""

    subgraph: int
    inputs: Mapping[int, str]
    outputs: Mapping[int, str]


def choose_entry(file: TfliteFile, wanted: str | None) -> Entry:
    """Return the wanted signature, else `serving_default`, else the first, else graph 0 without names.

    CompileError (E0114) where the file has no signature of that name.
    """
    signatures = {text(item.signatureKey): item for item in file.table.signatureDefs or []}
    if wanted is not None and wanted not in signatures:
        known = ", ".join(signatures) or "none"
        raise CompileError(
            Diagnostic(
                "E0114", "--signature", f"{file.name} has no signature '{wanted}'", f"It has: {known}."
            )
        )
    if not signatures:
        return Entry(0, {}, {})
    chosen = signatures[wanted or (_DEFAULT if _DEFAULT in signatures else next(iter(signatures)))]
    return Entry(int(chosen.subgraphIndex), _names(chosen.inputs), _names(chosen.outputs))


def _names(maps: list[Table] | None) -> dict[int, str]:
    names: dict[int, str] = {}
    for entry in maps or []:
        names.setdefault(int(entry.tensorIndex), text(entry.name))
    return names
