"""One way to hold a model of TensorFlow's, whatever it was saved as: run it, convert it for fixed shapes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from edgec.frontends.keras.load import KerasFile
from edgec.ir import Array, Shape


@dataclass(frozen=True, slots=True)
class ProgramInput:
    """An input as the model declares it; None is an open dimension."""

    name: str
    dtype: str
    dims: tuple[int | None, ...]


class Program(Protocol):
    """A model that TensorFlow can run and convert. Orders and names are the model's own."""

    inputs: tuple[ProgramInput, ...]
    outputs: tuple[str, ...]

    def run(self, inputs: Mapping[str, Array]) -> list[Array]:
        """Compute every output as the source does."""
        ...

    def convert(self, shapes: Mapping[str, Shape]) -> bytes:
        """Return a float flatbuffer for these shapes; its signature says in0000, ... and out0000, ..."""
        ...


def open_program(source: KerasFile, signature: str | None = None) -> Program:
    """Load a source with TensorFlow, once; CompileError where it is missing or cannot load it."""
    if signature not in source.programs:
        source.programs[signature] = _opened(source, signature)
    return source.programs[signature]


def _opened(source: KerasFile, signature: str | None) -> Program:
    if source.format == "savedmodel":
        from edgec.frontends.keras.savedmodel import open_savedmodel

        return open_savedmodel(source, signature)
    from edgec.frontends.keras.model import open_keras

    return open_keras(source)
