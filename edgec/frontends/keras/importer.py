"""Keras → float flatbuffer → IR, with the Keras model's names and orders on the ports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from edgec.diagnostics import CompileError, Diagnostic, Diagnostics
from edgec.frontends.keras.load import KerasFile
from edgec.frontends.keras.program import Program, ProgramInput, open_program
from edgec.frontends.tflite import TfliteFile, import_tflite, load_tflite
from edgec.frontends.tflite.signature import choose_entry
from edgec.frontends.tflite.structure import numbers
from edgec.ir import Model, Port, Shape, Value

InputShapes = Mapping[str, Sequence[int]]


def import_keras(
    source: KerasFile,
    input_shapes: InputShapes,
    diagnostics: Diagnostics,
    *,
    signature: str | None = None,
) -> Model:
    """Return the IR of a Keras model or SavedModel.

    CompileError where TensorFlow is missing, cannot load or convert it, or an input's shape stays open.
    """
    program = open_program(source, signature)
    shapes = pin_inputs(program.inputs, input_shapes)
    file = load_tflite(program.convert(shapes))
    model = import_tflite(file, {}, diagnostics, stateless=True)
    _restore_order(model, file, program)
    return model


def pin_inputs(inputs: Sequence[ProgramInput], wanted: InputShapes) -> dict[str, Shape]:
    """Return a static shape for every input: an open batch is 1, other open dimensions the user must say."""
    given = dict(wanted)
    if "" in given and len(inputs) == 1:
        given[inputs[0].name] = given.pop("")
    names = [item.name for item in inputs]
    problems = [
        Diagnostic("E0601", "--input-shape", f"the model has no input '{n}'", f"It has: {', '.join(names)}.")
        for n in given
        if n not in names
    ]
    shapes: dict[str, Shape] = {}
    for item in inputs:
        shape = tuple(given.get(item.name, ())) or tuple(
            1 if i == 0 and d is None else d for i, d in enumerate(item.dims)
        )
        problem = _conflict(item, shape)
        if problem is not None:
            problems.append(problem)
        else:
            shapes[item.name] = tuple(int(dim or 0) for dim in shape)
    if problems:
        raise CompileError(problems)
    return shapes


def _conflict(item: ProgramInput, shape: Sequence[int | None]) -> Diagnostic | None:
    shown = ",".join("?" if dim is None else str(dim) for dim in item.dims)
    where = f"input '{item.name}' [{shown}]"
    if None in shape:
        why = "Kernels are compiled for one shape; only the batch has a default (1)."
        step = f"Add --input-shape {item.name}=... with a number for each ?."
        return Diagnostic("E0109", where, "leaves dimensions open", why, step)
    fits = len(shape) == len(item.dims) and all(
        size is not None and size > 0 and dim in (None, size)
        for dim, size in zip(item.dims, shape, strict=True)
    )
    if fits:
        return None
    what = f"cannot become [{','.join(map(str, shape))}]"
    return Diagnostic("E0109", where, what, "Its fixed dimensions must stay.", "Correct --input-shape.")


def _restore_order(model: Model, file: TfliteFile, program: Program) -> None:
    """Put ports and tensors into the source's order under the source's names.

    The converter sorts, and gives one tensor for two outputs that are the same; its signature still says
    which is which (in0000, out0000, ...).
    """
    graph, entry = model.graph, choose_entry(file, None)
    table = file.table.subgraphs[entry.subgraph]
    placed = {entry.inputs.get(i, ""): v for i, v in zip(numbers(table.inputs), graph.inputs, strict=True)}
    inputs: list[Value] = []
    ports: list[Port] = []
    by_value = dict(zip(graph.inputs, model.inputs, strict=True))
    for index, item in enumerate(program.inputs):
        value = placed[f"in{index:04d}"]
        inputs.append(value)
        ports.append(replace(by_value[value], name=item.name))
        value.name = value.name if value.name == item.name else graph.unique_name(item.name)
    graph.inputs[:] = inputs
    model.inputs = ports
    _restore_outputs(model, file, program)


def _restore_outputs(model: Model, file: TfliteFile, program: Program) -> None:
    graph = model.graph
    signature = file.table.signatureDefs[0]
    table = file.table.subgraphs[signature.subgraphIndex]
    values = dict(zip(numbers(table.outputs), graph.outputs, strict=True))
    tensor_of = {entry.name.decode(): int(entry.tensorIndex) for entry in signature.outputs}
    outputs = [values[tensor_of[f"out{index:04d}"]] for index in range(len(program.outputs))]
    graph.set_outputs(outputs)
    for name, value in zip(program.outputs, outputs, strict=True):
        if value.producer is not None and value.name != name:
            value.name = graph.unique_name(name)
    model.outputs = [
        Port(name, value.shape, value.dtype) for name, value in zip(program.outputs, outputs, strict=True)
    ]
