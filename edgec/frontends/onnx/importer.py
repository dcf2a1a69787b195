"""ONNX graph → IR, node by node; collects a diagnostic for every node that cannot be lowered.

Layouts stay the source's: an NCHW operator becomes `transpose → NHWC op → transpose`, and the layout pass
removes what cancels. A node that reads constants alone is computed at once, so shape arithmetic is gone
before anything needs it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from edgec.diagnostics import CompileError, Diagnostic, Diagnostics, Severity
from edgec.frontends.onnx.context import InnerGraphError, InnerGraphs, LoweringContext, LoweringError
from edgec.frontends.onnx.inlining import expand_functions
from edgec.frontends.onnx.load import Source
from edgec.frontends.onnx.registry import Lowering, find_lowering, takes_dynamic_shapes
from edgec.frontends.onnx.scope import WIDENED, Scope
from edgec.frontends.onnx.sequence import EmptyOptional, SequenceValue
from edgec.frontends.onnx.shapes import InputShapes, pin_shapes
from edgec.ir import DType, Graph, Model, Node, Port, TensorType, Value
from edgec.kernels import KernelError, fold_nodes
from edgec.ops import Builder, InferenceError

if TYPE_CHECKING:
    import onnx


def import_onnx(
    source: Source,
    input_shapes: InputShapes,
    diagnostics: Diagnostics,
    input_values: Mapping[str, float] | None = None,
) -> Model:
    """Return the IR of an ONNX model; CompileError with one diagnostic for each node it cannot express.

    `input_values` turn inputs into constants, every element the given number.
    """
    proto = expand_functions(_inline_functions(source.proto), source.lowered_opset)
    importer = _Importer(source.lowered_opset, diagnostics, input_values or {})
    return importer.model_of(proto, input_shapes)


def _inline_functions(proto: onnx.ModelProto) -> onnx.ModelProto:
    if not proto.functions:
        return proto
    from onnx import checker, inliner

    try:
        return inliner.inline_local_functions(proto, convert_version=True)
    except checker.ValidationError as error:
        where, what = "the model's functions", "cannot be inlined"
        why, next_step = " ".join(str(error).split()), "Export the model without them."
        raise CompileError(Diagnostic("E0123", where, what, why, next_step)) from None


@dataclass
class _Importer:
    opset: int
    diagnostics: Diagnostics
    input_values: Mapping[str, float]
    model: Model = field(default_factory=lambda: Model(Graph()))
    known: dict[Value, tuple[int | None, ...]] = field(default_factory=dict[Value, tuple[int | None, ...]])

    def model_of(self, proto: onnx.ModelProto, input_shapes: InputShapes) -> Model:
        scope = Scope(proto.graph, self.model.graph)
        shapes = pin_shapes(scope.runtime_inputs, input_shapes, proto.ir_version)
        self._check_values([info.name for info in scope.runtime_inputs])
        for info in scope.runtime_inputs:
            self._add_input(info, shapes[info.name], scope)
        self.diagnostics.raise_if_errors()
        outputs = self.run(scope)
        self.diagnostics.raise_if_errors()
        found = [value for value in outputs if value is not None]
        scope.graph.set_outputs(found)
        self.model.outputs = [
            Port(info.name, value.shape, value.dtype)
            for info, value in zip(proto.graph.output, found, strict=True)
        ]
        return self.model

    def run(self, scope: Scope) -> list[Value | None]:
        """Lower every node of a scope; returns its outputs, None for what could not be lowered."""
        for node in scope.proto.node:
            self._lower(node, scope)
        return [self._output(info, scope) for info in scope.proto.output]

    def _add_input(self, info: onnx.ValueInfoProto, shape: tuple[int, ...], scope: Scope) -> None:
        dtype = self._input_dtype(info)
        if dtype is None:
            return
        if info.name in self.input_values:
            value = np.full(shape, self.input_values[info.name], dtype.numpy)
            self.model.fixed_inputs[info.name] = value
            scope.values[info.name] = scope.graph.constant(value, info.name)
            return
        self.model.inputs.append(Port(info.name, shape, dtype))
        scope.values[info.name] = scope.graph.add_input(info.name, TensorType(shape, dtype))

    def _check_values(self, names: Sequence[str]) -> None:
        for name in self.input_values:
            if name not in names:
                what, why = f"the model has no input '{name}'", f"It has: {', '.join(names)}."
                self.diagnostics.add(Diagnostic("E0605", "--input-value", what, why))

    def _input_dtype(self, info: onnx.ValueInfoProto) -> DType | None:
        import onnx

        where = f"input '{info.name}'"
        if not info.type.HasField("tensor_type"):
            self.diagnostics.add(Diagnostic("E0110", where, "is not a tensor", "TFLite has tensors only."))
            return None
        name = onnx.TensorProto.DataType.Name(info.type.tensor_type.elem_type).lower()
        name = {"float": "float32", "double": "float64"}.get(name, name)
        if name in WIDENED:
            self._note_widening(where, name)
            return WIDENED[name]
        dtype = DType.named(name)
        if dtype is None:
            self.diagnostics.add(
                Diagnostic("E0110", where, f"is of type {name}", "No TFLite kernel takes it.")
            )
        return dtype

    def _note_widening(self, where: str, name: str) -> None:
        what = f"is {name} and becomes float32"
        why = "Kernels compute in float32."
        self.diagnostics.add(Diagnostic("W0101", where, what, why, severity=Severity.NOTE))

    def _lower(self, node: onnx.NodeProto, scope: Scope) -> None:
        name = node.name or next(iter(node.output), "")
        where = f"node '{name}' ({node.op_type}, opset {self.opset})"
        lowering = find_lowering(node.op_type, self.opset) if node.domain in ("", "ai.onnx") else None
        if lowering is None:
            self._fail(node, scope, _unsupported(node, where))
            return
        if any(scope.has_failed(name) for name in node.input):
            scope.failed.update(node.output)  # its own support is known; its inputs are not
            return
        try:
            self._apply(lowering, node, scope)
        except InnerGraphError:
            scope.failed.update(node.output)
        except LoweringError as refusal:
            self._fail(node, scope, Diagnostic("E0202", where, refusal.what, refusal.why, refusal.next_step))
        except (InferenceError, KernelError) as error:
            why = "The kernel does not take this form."
            self._fail(node, scope, Diagnostic("E0203", where, str(error), why))

    def _apply(self, lowering: Lowering, node: onnx.NodeProto, scope: Scope) -> None:
        inputs = [scope.lookup(name) if name else None for name in node.input]
        missing = [n for n, v in zip(node.input, inputs, strict=True) if n and v is None]
        if missing:
            raise LoweringError(
                f"reads '{missing[0]}', which nothing computes", "The graph is not sorted or damaged."
            )
        _require_shapes(lowering, inputs)
        last = scope.graph.last
        stem = next((name for name in node.output if name), node.op_type)
        build = Builder(scope.graph, source=stem)
        context = LoweringContext(node, self.opset, inputs, build, InnerGraphs(self, scope))
        results = lowering(context)
        results = [results] if isinstance(results, Value) else list(results)
        _bind(node, inputs, results, scope, scope.graph.nodes_after(last))

    def _fail(self, node: onnx.NodeProto, scope: Scope, diagnostic: Diagnostic) -> None:
        self.diagnostics.add(diagnostic)
        scope.failed.update(name for name in node.output if name)

    def _output(self, info: onnx.ValueInfoProto, scope: Scope) -> Value | None:
        value = scope.lookup(info.name)
        if value is None and not scope.has_failed(info.name):
            self.diagnostics.add(
                Diagnostic("E0113", f"output '{info.name}'", "nothing computes it", "The graph is damaged.")
            )
        if scope.outer is None and isinstance(value, SequenceValue | EmptyOptional):
            why = "TFLite has tensors only; sequences and optionals can be used inside of the model."
            self.diagnostics.add(Diagnostic("E0110", f"output '{info.name}'", "is not a tensor", why))
        return value


def _require_shapes(lowering: Lowering, inputs: Sequence[Value | None]) -> None:
    unknown = [value for value in inputs if value is not None and not value.type.is_static]
    if unknown and not takes_dynamic_shapes(lowering):
        raise LoweringError(
            f"reads '{unknown[0].name}', {unknown[0].type}, whose shape is known at run time only",
            "The lowering of this operator needs to know the shape.",
            "Pin the dimensions of the inputs (--input-shape), or move the node out of the model.",
        )


def _bind(
    node: onnx.NodeProto,
    inputs: list[Value | None],
    results: Sequence[Value | None],
    scope: Scope,
    made: list[Node],
) -> None:
    """Give results their ONNX names; where only constants went in, keep just the computed data."""
    holders = list(results)
    sealed = not any(attribute.HasField("g") for attribute in node.attribute)  # reads its operands alone
    known = all(value is None or value.is_constant for value in inputs)
    if made and sealed and known and not _is_huge(made):
        holders = _folded(scope.graph, results, made)
    for name, value in zip(node.output, holders, strict=False):
        if not name or value is None:
            continue
        if value.producer in made or (value.is_constant and value not in inputs):
            value.name = scope.graph.unique_name(name)
        scope.values[name] = value


MAX_FOLDED_BYTES = 1 << 28
"""A constant that grows beyond this stays an operation: the file need not hold it, and may not be able to."""


def _is_huge(made: list[Node]) -> bool:
    results = [result for node in made for result in node.results]
    return any(
        not result.type.is_static or result.type.size * result.dtype.numpy.itemsize > MAX_FOLDED_BYTES
        for result in results
    )


def _folded(graph: Graph, results: Sequence[Value | None], made: list[Node]) -> list[Value | None]:
    before = graph.outputs
    graph.set_outputs([*before, *(value for value in results if value is not None)])
    fold_nodes(graph, made)
    folded = iter(graph.outputs[len(before) :])
    graph.set_outputs(before)
    return [None if value is None else next(folded) for value in results]


def _unsupported(node: onnx.NodeProto, where: str) -> Diagnostic:
    if node.domain not in ("", "ai.onnx"):
        why = f"It belongs to the custom domain '{node.domain}', whose meaning the file does not define."
        return Diagnostic(
            "E0201", where, "is not a standard ONNX operator", why, "Export with standard operators."
        )
    import onnx

    if not onnx.defs.has(node.op_type):
        why = f"onnx {onnx.__version__} knows no such operator: a custom one, exported without its domain."
        return Diagnostic(
            "E0201", where, "is not a standard ONNX operator", why, "Export with standard operators."
        )
    return Diagnostic(
        "E0201",
        where,
        "has no lowering to TFLite",
        "No builtin or sequence of builtins is known for it at this opset.",
        "Replace the operator, or see docs/onnx-support.md for what is supported.",
    )
