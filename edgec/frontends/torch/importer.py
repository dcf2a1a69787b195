"""Torch program → ONNX in memory → IR, with the program's names on the ports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from edgec.diagnostics import CompileError, Diagnostic, Diagnostics
from edgec.frontends.onnx import import_onnx, load_onnx
from edgec.frontends.torch.load import TorchFile
from edgec.frontends.torch.program import Program, open_program
from edgec.ir import Model

InputShapes = Mapping[str, Sequence[int]]


def import_torch(source: TorchFile, input_shapes: InputShapes, diagnostics: Diagnostics) -> Model:
    """Return the IR of a torch program.

    CompileError where torch is missing, cannot load, trace or translate it, or an input's shape stays open.
    """
    program = open_program(source, input_shapes)
    model = import_onnx(load_onnx(program.to_onnx()), input_shapes, diagnostics)
    _check_inputs(model, program, source.name)
    _name_outputs(model, program.outputs)
    return model


def _check_inputs(model: Model, program: Program, name: str) -> None:
    """Exporters drop what the program never reads; the contract says that inputs stay."""
    found = tuple(port.name for port in model.inputs)
    if found != program.inputs:
        what = f"takes {', '.join(program.inputs)}, and torch.onnx made of that {', '.join(found) or 'none'}"
        step = "Remove inputs that the model does not read."
        raise CompileError(Diagnostic("E0119", name, what, "Inputs must stay as they are.", step))


def _name_outputs(model: Model, names: Sequence[str]) -> None:
    graph = model.graph
    for name, value in zip(names, graph.outputs, strict=True):
        if value.producer is not None and value.name != name:
            value.name = graph.unique_name(name)
    model.outputs = [replace(port, name=name) for port, name in zip(model.outputs, names, strict=True)]
