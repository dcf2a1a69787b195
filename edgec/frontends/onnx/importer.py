"""ONNX graph → IR, node by node; collects a diagnostic for every node that cannot be lowered.

Layouts stay the source's: an NCHW operator becomes `transpose → NHWC op → transpose`, and the layout pass
removes what cancels. A node that reads constants alone is computed at once, so shape arithmetic is gone
before anything needs it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from edgec.diagnostics import CompileError, Diagnostic, Diagnostics, Severity
from edgec.frontends.onnx.context import LoweringContext, LoweringError
from edgec.frontends.onnx.load import Source
from edgec.frontends.onnx.registry import find_lowering
from edgec.frontends.onnx.shapes import InputShapes, pin_shapes
from edgec.ir import Array, DType, Graph, Model, Node, Port, TensorType, Value
from edgec.kernels import KernelError, fold_nodes
from edgec.ops import Builder, InferenceError

if TYPE_CHECKING:
    import onnx

_WIDENED = {"float16": DType.FLOAT32, "bfloat16": DType.FLOAT32, "float64": DType.FLOAT32}
"""Floats compute in float32: few kernels have other forms."""


def import_onnx(source: Source, input_shapes: InputShapes, diagnostics: Diagnostics) -> Model:
    """Return the IR of an ONNX model; CompileError with one diagnostic for each node it cannot express."""
    proto = _inline_functions(source.proto)
    importer = _Importer(proto.graph, source.opset, diagnostics)
    return importer.run(input_shapes)


def _inline_functions(proto: onnx.ModelProto) -> onnx.ModelProto:
    if not proto.functions:
        return proto
    from onnx import inliner

    return inliner.inline_local_functions(proto, convert_version=True)


@dataclass
class _Importer:
    proto: onnx.GraphProto
    opset: int
    diagnostics: Diagnostics
    graph: Graph = field(default_factory=Graph)
    values: dict[str, Value] = field(default_factory=dict[str, Value])
    failed: set[str] = field(default_factory=set[str])

    def __post_init__(self) -> None:
        self.initializers = {tensor.name: tensor for tensor in self.proto.initializer}

    def run(self, input_shapes: InputShapes) -> Model:
        runtime_inputs = [info for info in self.proto.input if info.name not in self.initializers]
        shapes = pin_shapes(runtime_inputs, input_shapes)
        model = Model(self.graph)
        for info in runtime_inputs:
            self._add_input(info, shapes[info.name], model)
        self.diagnostics.raise_if_errors()
        for node in self.proto.node:
            self._lower(node)
        outputs = [self._output(info) for info in self.proto.output]
        self.diagnostics.raise_if_errors()
        found = [value for value in outputs if value is not None]
        self.graph.set_outputs(found)
        model.outputs = [
            Port(info.name, value.shape, value.dtype)
            for info, value in zip(self.proto.output, found, strict=True)
        ]
        return model

    def _add_input(self, info: onnx.ValueInfoProto, shape: tuple[int, ...], model: Model) -> None:
        dtype = self._input_dtype(info)
        if dtype is None:
            return
        model.inputs.append(Port(info.name, shape, dtype))
        self.values[info.name] = self.graph.add_input(info.name, TensorType(shape, dtype))

    def _input_dtype(self, info: onnx.ValueInfoProto) -> DType | None:
        import onnx

        where = f"input '{info.name}'"
        if not info.type.HasField("tensor_type"):
            self.diagnostics.add(Diagnostic("E0110", where, "is not a tensor", "TFLite has tensors only."))
            return None
        name = onnx.TensorProto.DataType.Name(info.type.tensor_type.elem_type).lower()
        name = {"float": "float32", "double": "float64"}.get(name, name)
        if name in _WIDENED:
            self._note_widening(where, name)
            return _WIDENED[name]
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

    def _value(self, name: str) -> Value | None:
        """Return a named value; initializers become constants when first used."""
        if not name:
            return None
        if name not in self.values and name in self.initializers:
            tensor = self.initializers.pop(name)
            self.values[name] = self._constant(name, tensor)
            tensor.ClearField("raw_data")  # the array is ours now: do not hold large weights twice
        return self.values.get(name)

    def _constant(self, name: str, tensor: onnx.TensorProto) -> Value:
        from onnx import numpy_helper

        try:
            array = numpy_helper.to_array(tensor)
        except (ValueError, TypeError) as error:
            raise CompileError(
                Diagnostic(
                    "E0111", f"initializer '{name}'", f"cannot be read: {error}", "The file is damaged."
                )
            ) from None
        return self.graph.constant(self._checked(name, array), name)

    def _checked(self, name: str, array: Array) -> Array:
        if array.dtype.name in _WIDENED:
            array = array.astype(_WIDENED[array.dtype.name].numpy)
        if array.dtype.kind == "f" and np.isnan(array.sum()) and np.isnan(array).any():
            count = int(np.isnan(array).sum())
            raise CompileError(
                Diagnostic(
                    "E0112",
                    f"initializer '{name}' {list(array.shape)}",
                    f"holds NaN in {count} of {array.size} values",
                    "Every result that depends on it would be NaN.",
                    "Training diverged or the export failed: check the weights.",
                )
            )
        return array

    def _lower(self, node: onnx.NodeProto) -> None:
        name = node.name or next(iter(node.output), "")
        where = f"node '{name}' ({node.op_type}, opset {self.opset})"
        lowering = find_lowering(node.op_type, self.opset) if node.domain in ("", "ai.onnx") else None
        if lowering is None:
            self._fail(node, _unsupported(node, where))
            return
        if any(name in self.failed for name in node.input):
            self.failed.update(node.output)  # its own support is known; its inputs are not
            return
        try:
            inputs = [self._value(name) for name in node.input]
            missing = [n for n, v in zip(node.input, inputs, strict=True) if n and v is None]
            if missing:
                raise LoweringError(
                    f"reads '{missing[0]}', which nothing computes", "The graph is not sorted or damaged."
                )
            last = self.graph.last
            stem = next((name for name in node.output if name), node.op_type)
            context = LoweringContext(node, self.opset, inputs, Builder(self.graph, source=stem))
            results = lowering(context)
            results = [results] if isinstance(results, Value) else list(results)
            self._bind(node, inputs, results, self.graph.nodes_after(last))
        except LoweringError as refusal:
            self._fail(node, Diagnostic("E0202", where, refusal.what, refusal.why, refusal.next_step))
        except (InferenceError, KernelError) as error:
            self._fail(node, Diagnostic("E0203", where, str(error), "The kernel does not take this form."))

    def _bind(
        self,
        node: onnx.NodeProto,
        inputs: list[Value | None],
        results: Sequence[Value | None],
        made: list[Node],
    ) -> None:
        """Give results their ONNX names; where only constants went in, keep just the computed data."""
        holders = list(results)
        if made and all(value is None or value.is_constant for value in inputs):
            probe = [value for value in results if value is not None]
            before = self.graph.outputs
            self.graph.set_outputs([*before, *probe])
            fold_nodes(self.graph, made)
            folded = iter(self.graph.outputs[len(before) :])
            holders = [None if value is None else next(folded) for value in results]
            self.graph.set_outputs(before)
        for name, value in zip(node.output, holders, strict=False):
            if not name or value is None:
                continue
            if value.producer in made or (value.is_constant and value not in inputs):
                value.name = self.graph.unique_name(name)
            self.values[name] = value

    def _fail(self, node: onnx.NodeProto, diagnostic: Diagnostic) -> None:
        self.diagnostics.add(diagnostic)
        self.failed.update(name for name in node.output if name)

    def _output(self, info: onnx.ValueInfoProto) -> Value | None:
        value = self._value(info.name)
        if value is None and info.name not in self.failed:
            self.diagnostics.add(
                Diagnostic("E0113", f"output '{info.name}'", "nothing computes it", "The graph is damaged.")
            )
        return value


def _unsupported(node: onnx.NodeProto, where: str) -> Diagnostic:
    if node.domain not in ("", "ai.onnx"):
        why = f"It belongs to the custom domain '{node.domain}', whose meaning the file does not define."
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
