"""TFLite graph → IR, operator by operator; collects a diagnostic for every one that cannot be taken.

The registry in `edgec.ops` says how a kind is written; here the same entries are read backwards. Shapes are
inferred anew from the pinned inputs, element types and quantization are the file's. An operator that reads
float constants alone is computed at once, so shape arithmetic and float16 weights are gone before anything
needs them; what is quantized stays as it is written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from edgec.diagnostics import Diagnostic, Diagnostics, Severity
from edgec.frontends.tflite.context import Context, LoweringError, SpaceToBatch
from edgec.frontends.tflite.load import TfliteFile
from edgec.frontends.tflite.operators import (
    NO_STATE,
    operator_name,
    reads_plain_constants,
    take,
    unknown_builtin,
)
from edgec.frontends.tflite.options import OptionError
from edgec.frontends.tflite.registry import CUSTOM, kinds, lowerings
from edgec.frontends.tflite.shapes import pin_shape
from edgec.frontends.tflite.signature import Entry, choose_entry
from edgec.frontends.tflite.structure import numbers, text
from edgec.frontends.tflite.tensors import Tensor, TensorError, read_tensor
from edgec.ir import DType, Graph, Model, Node, Port, TensorType, Value
from edgec.kernels import KernelError, evaluate
from edgec.ops import Builder, InferenceError
from edgec.ops.recurrent import StatefulAttributes

Table = Any  # objects of the generated schema module, which has no type annotations
InputShapes = Mapping[str, Sequence[int]]


def import_tflite(
    file: TfliteFile,
    input_shapes: InputShapes,
    diagnostics: Diagnostics,
    *,
    signature: str | None = None,
    stateless: bool = False,
) -> Model:
    """Return the IR of a TFLite file; CompileError with one diagnostic for each operator it cannot express.

    Ports of quantized tensors speak in real numbers (float32), as the ports of every model do. `stateless`:
    the file was made from a model whose recurrent layers start from zeros in every run.
    """
    entry = choose_entry(file, signature)
    importer = _Importer(file, diagnostics, stateless)
    return importer.model_of(entry, input_shapes)


@dataclass
class _Importer:
    file: TfliteFile
    diagnostics: Diagnostics
    stateless: bool = False
    model: Model = field(default_factory=lambda: Model(Graph()))
    entered: list[int] = field(default_factory=list[int])

    def model_of(self, entry: Entry, input_shapes: InputShapes) -> Model:
        scope = _Scope(self.file.table.subgraphs[entry.subgraph], self.model.graph)
        self._read_tensors(scope)
        self.diagnostics.raise_if_errors()
        self.entered.append(entry.subgraph)
        if not numbers(scope.table.outputs):
            what, step = "the graph has no outputs", "Name outputs on conversion."
            self.diagnostics.add(Diagnostic("E0103", self.file.name, what, next_step=step))
        self._add_inputs(scope, entry, input_shapes)
        self.diagnostics.raise_if_errors()
        self._run(scope)
        outputs = [self._output(index, scope) for index in numbers(scope.table.outputs)]
        self.diagnostics.raise_if_errors()
        found = [value for value in outputs if value is not None]
        scope.graph.set_outputs(found)
        names = [entry.outputs.get(i, _tensor_name(scope, i)) for i in numbers(scope.table.outputs)]
        self.model.outputs = [_port(name, v.type) for name, v in zip(names, found, strict=True)]
        return self.model

    def inner_graph(self, index: int, operands: list[Value]) -> tuple[int, Graph]:
        """Import a subgraph that control flow runs, for operands of these types."""
        if not 0 < index < len(self.file.table.subgraphs):
            raise LoweringError(f"runs graph {index}, which the file does not have", "The file is damaged.")
        if index in self.entered:
            raise LoweringError(f"runs graph {index}, which runs this operator", "It would never end.")
        scope = _Scope(self.file.table.subgraphs[index], Graph(f"graph_{index}"))
        positions = numbers(scope.table.inputs)
        self._read_tensors(scope)
        if len(positions) != len(operands):
            raise LoweringError(f"gives {len(operands)} operands to a graph of {len(positions)} inputs")
        for position, operand in zip(positions, operands, strict=True):
            scope.values[position] = scope.graph.add_input(scope.tensors[position].name, operand.type)
        self.model.subgraphs.append(scope.graph)
        number = len(self.model.subgraphs)
        self.entered.append(index)
        before = len(self.diagnostics.errors)
        self._run(scope)
        outputs = [self._output(position, scope) for position in numbers(scope.table.outputs)]
        self.entered.pop()
        if len(self.diagnostics.errors) > before:
            raise LoweringError(
                f"runs graph {index}, which cannot be expressed", "Its own operators say why."
            )
        scope.graph.set_outputs(value for value in outputs if value is not None)
        return number, scope.graph

    def _read_tensors(self, scope: _Scope) -> None:
        for index, table in enumerate(scope.table.tensors or []):
            try:
                scope.tensors[index] = read_tensor(self.file, table, index, scope.table.tensors)
            except TensorError as error:
                scope.unreadable[index] = f"'{text(table.name) or index}' {error}"

    def _add_inputs(self, scope: _Scope, entry: Entry, wanted: InputShapes) -> None:
        positions = numbers(scope.table.inputs)
        names = [entry.inputs.get(i, _tensor_name(scope, i)) for i in positions]
        unknown = [name for name in wanted if name not in names and not (name == "" and len(names) == 1)]
        for name in unknown:
            what, why = f"the model has no input '{name}'", f"It has: {', '.join(names)}."
            self.diagnostics.add(Diagnostic("E0601", "--input-shape", what, why))
        for position, name in zip(positions, names, strict=True):
            tensor = scope.tensors.get(position)
            if tensor is None:
                why = "This compiler cannot feed it."
                self.diagnostics.add(Diagnostic("E0110", f"input '{name}'", scope.unreadable[position], why))
                continue
            shape = pin_shape(name, tensor, wanted.get(name, wanted.get("")), self.diagnostics)
            if shape is None:
                continue
            type = tensor.type.with_shape(shape)
            scope.values[position] = scope.graph.add_input(name, type)
            self.model.inputs.append(_port(name, type))

    def _run(self, scope: _Scope) -> None:
        for number, operator in enumerate(scope.table.operators or []):
            code = self.file.table.operatorCodes[operator.opcodeIndex]
            builtin = operator_name(code)
            results = numbers(operator.outputs)
            label = f" '{_tensor_name(scope, results[0])}'" if results else ""
            where = f"operator {number}{label} ({builtin.partition(' ')[0]})"
            if any(index in scope.failed for index in numbers(operator.inputs)):
                scope.failed.update(results)
                continue
            try:
                self._lower(builtin, operator, scope)
            except LoweringError as refusal:
                self._fail(scope, results, refusal.at(where))
            except OptionError as error:
                self._fail(scope, results, Diagnostic("E0202", where, str(error)))
            except (InferenceError, KernelError) as error:
                why = "The kernel does not take this form."
                self._fail(scope, results, Diagnostic("E0203", where, str(error), why))

    def _fail(self, scope: _Scope, results: list[int], diagnostic: Diagnostic) -> None:
        self.diagnostics.add(diagnostic)
        scope.failed.update(results)

    def _lower(self, builtin: str, operator: Table, scope: _Scope) -> None:
        spec, lowering = kinds().get(builtin), lowerings().get(builtin)
        if spec is None and lowering is None:
            raise unknown_builtin(builtin)
        context = self._context(builtin, operator, scope)
        if context.states and lowering is None and (spec is None or not spec.emit.states):
            raise LoweringError("keeps a state between runs", *NO_STATE)
        last = scope.graph.last
        values = lowering(context) if lowering is not None else None
        if values is None and spec is None:
            raise unknown_builtin(builtin)
        if values is None and spec is not None:
            values = take(context, operator, spec)
        values = values or []
        if context.states:
            self._note_state(context, scope)
        self._bind(context, operator, values, scope, scope.graph.nodes_after(last))

    def _context(self, builtin: str, operator: Table, scope: _Scope) -> Context:
        inputs: list[Value | None] = []
        states: dict[int, TensorType] = {}
        for position, index in enumerate(numbers(operator.inputs)):
            value, is_state = _operand(scope, index)
            inputs.append(value)
            if is_state:
                states[position] = scope.tensors[index].type
        results: list[Tensor] = []
        for index in numbers(operator.outputs):
            if index not in scope.tensors:
                raise LoweringError(f"makes tensor {scope.unreadable[index]}")
            if index in scope.values:
                raise LoweringError(f"writes tensor '{scope.tensors[index].name}' a second time", _DAMAGED)
            results.append(scope.tensors[index])
        source = results[0].name if results else builtin
        options = operator.builtinOptions if operator.builtinOptions is not None else operator.builtinOptions2
        options = operator.customOptions if builtin.startswith(CUSTOM) else options
        return Context(
            builtin,
            options,
            inputs,
            states,
            tuple(scope.tensors[index].type for index in numbers(operator.intermediates)),
            results,
            Builder(scope.graph, source=source),
            self.inner_graph,
            scope.blocks,
            self.stateless,
        )

    def _note_state(self, context: Context, scope: _Scope) -> None:
        where = f"operator '{context.results[0].name}' ({context.builtin})"
        if scope.graph.last is not None and isinstance(scope.graph.last.attributes, StatefulAttributes):
            what = "keeps its state from run to run, as in the source"
            why = "The state is zero in a fresh interpreter."
            step = "Call reset_all_variables() where a new sequence begins."
        else:
            what, why = "starts from zeros in every run", "The layer of the source model has no memory."
            step = "Models that carry a state need it as an input and an output."
        self.diagnostics.add(Diagnostic("W0102", where, what, why, step, Severity.NOTE))

    def _bind(
        self, context: Context, operator: Table, values: list[Value], scope: _Scope, made: list[Node]
    ) -> None:
        """Give results their names and types; where only float constants went in, keep just the data."""
        if len(values) != len(context.results):
            raise LoweringError(f"has {len(context.results)} results, not {len(values)}", _DAMAGED)
        if made and context.builtin not in ("IF", "WHILE") and reads_plain_constants(context):
            values = _folded(scope.graph, values, made)
        for index, value, tensor in zip(numbers(operator.outputs), values, context.results, strict=True):
            if value.producer in made or (value.is_constant and value not in context.inputs):
                if value.name != tensor.name:
                    value.name = scope.graph.unique_name(tensor.name)
                if value.dtype is tensor.type.dtype:
                    value.type = replace(value.type, quantization=tensor.type.quantization)
            if value.dtype is not tensor.type.dtype:
                raise InferenceError(f"makes {value.dtype}, but the file says {tensor.type.dtype}")
            scope.values[index] = value

    def _output(self, index: int, scope: _Scope) -> Value | None:
        if index in scope.failed:
            return None
        try:
            value, _ = _operand(scope, index)
        except LoweringError as error:
            self.diagnostics.add(
                Diagnostic("E0113", f"output '{_tensor_name(scope, index)}'", error.what, error.why)
            )
            return None
        return value


@dataclass
class _Scope:
    """One graph of the file on its way to one of ours; keys are tensor indices."""

    table: Table
    graph: Graph
    tensors: dict[int, Tensor] = field(default_factory=dict[int, Tensor])
    unreadable: dict[int, str] = field(default_factory=dict[int, str])
    values: dict[int, Value] = field(default_factory=dict[int, Value])
    failed: set[int] = field(default_factory=set[int])
    blocks: dict[Value, SpaceToBatch] = field(default_factory=dict[Value, SpaceToBatch])


_DAMAGED = "The file is damaged or not sorted."


def _operand(scope: _Scope, index: int) -> tuple[Value | None, bool]:
    """Return a tensor's value, and whether it is a state that lives between runs (value None)."""
    if index < 0:
        return None, False
    if index in scope.values:
        return scope.values[index], False
    tensor = scope.tensors.get(index)
    if tensor is None:
        raise LoweringError(f"reads tensor {scope.unreadable[index]}")
    if tensor.is_variable:
        return None, True
    data = (
        tensor.data
        if tensor.data is not None or tensor.type.size
        else np.zeros(tensor.type.shape, tensor.type.dtype.numpy)
    )
    if data is None:
        raise LoweringError(f"reads '{tensor.name}', which nothing computes", _DAMAGED)
    scope.values[index] = Value(scope.graph.unique_name(tensor.name), tensor.type, data)
    return scope.values[index], False


def _folded(graph: Graph, values: list[Value], made: list[Node]) -> list[Value]:
    computed = [value for value in values if value.data is None]
    arrays = iter(evaluate(made, computed))
    for node in reversed(made):
        graph.remove(node)
    return [v if v.data is not None else Value(v.name, v.type, next(arrays)) for v in values]


def _port(name: str, type: TensorType) -> Port:
    return Port(name, type.shape, DType.FLOAT32 if type.quantization is not None else type.dtype)


def _tensor_name(scope: _Scope, index: int) -> str:
    table = scope.table.tensors[index]
    return text(table.name) or f"tensor_{index}"
