"""Gives an int8 graph integer inputs and outputs: the float ones lose the bridge at the border.

x (float32) ─ quantize ─ q …  … r ─ dequantize ─ y (float32)     →     x (int8) …  … y (int8)
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from edgec.ir import DType, Graph, Model, Value
from edgec.ops import Builder
from edgec.ops.grids import shifted
from edgec.passes.contract import PassResult
from edgec.passes.integer_forms import IntegerForms, quantize
from edgec.rewrite import eliminate_unused

_UINT8_SHIFT = 128


@dataclass(frozen=True)
class QuantizeInterface:
    """Makes inputs that are only quantized, and outputs that are only dequantized, int8 or uint8.

    Runs after `AbsorbQuantization`. A type of float32 leaves that side as it is. An input that something
    reads in float stays float32, and so does an output that a float node makes.
    """

    input_type: DType = DType.INT8
    output_type: DType = DType.INT8
    name: str = "quantize_interface"

    def run(self, model: Model) -> PassResult:
        """Change the main graph's inputs and outputs and the model's ports."""
        graph = model.graph
        forms = IntegerForms(graph)
        before = [value.dtype for value in (*graph.inputs, *graph.outputs)]
        if self.input_type is not DType.FLOAT32:
            for value in graph.inputs:
                self._input(graph, forms, value)
        if self.output_type is not DType.FLOAT32:
            graph.set_outputs([self._output(graph, forms, value) for value in graph.outputs])
        eliminate_unused(graph, list(graph))
        inputs = zip(model.inputs, graph.inputs, strict=True)
        model.inputs = [replace(port, dtype=value.dtype) for port, value in inputs]
        outputs = zip(model.outputs, graph.outputs, strict=True)
        model.outputs = [replace(port, dtype=value.dtype) for port, value in outputs]
        return PassResult(model, before != [value.dtype for value in (*graph.inputs, *graph.outputs)])

    def _input(self, graph: Graph, forms: IntegerForms, value: Value) -> None:
        grid = forms.target(value) if value.dtype is DType.FLOAT32 else None
        if grid is None:
            return
        readers = value.users
        if self.input_type is DType.UINT8:
            value.type = replace(value.type, dtype=DType.UINT8, quantization=shifted(grid, _UINT8_SHIFT))
            made = quantize(Builder(graph, next(iter(graph)), value.name), value, grid)
        else:
            value.type = replace(value.type, dtype=DType.INT8, quantization=grid)
            made = value
        for reader in readers:
            forms.replace(reader, made)

    def _output(self, graph: Graph, forms: IntegerForms, value: Value) -> Value:
        grid = forms.grid(value)
        if grid is None:
            return value
        made = forms.take(value)
        if self.output_type is DType.UINT8:
            made = quantize(Builder(graph, source=value.name), made, shifted(grid, _UINT8_SHIFT), DType.UINT8)
        return made
