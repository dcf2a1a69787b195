"""One way to hold a program of torch's, whatever it came as: run it, convert it to ONNX."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from edgec.frontends.torch.archive import Kind
from edgec.frontends.torch.load import TorchFile
from edgec.ir import Array

if TYPE_CHECKING:
    import onnx

InputShapes = Mapping[str, Sequence[int]]


class Program(Protocol):
    """A torch program with known inputs. Orders are those of its signature."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    def run(self, inputs: Mapping[str, Array]) -> list[Array]:
        """Compute every output as torch does, in evaluation mode and without gradients."""
        ...

    def to_onnx(self) -> onnx.ModelProto | bytes:
        """Return the program as an ONNX model in memory, its inputs and outputs in order."""
        ...


def open_program(source: TorchFile, input_shapes: InputShapes | None = None) -> Program:
    """Load a source with torch, once; CompileError where torch is missing or cannot load or trace it.

    `input_shapes` stand in for example inputs where there are none (TorchScript, live modules).
    """
    if not source.programs:
        source.programs.append(_opened(source, input_shapes or {}))
    return source.programs[0]


def _opened(source: TorchFile, shapes: InputShapes) -> Program:
    if source.kind is Kind.SCRIPT:
        from edgec.frontends.torch.script import open_script

        return open_script(source, shapes)
    from edgec.frontends.torch.exported import open_exported, trace_module

    return trace_module(source, shapes) if source.kind is Kind.MODULE else open_exported(source)
