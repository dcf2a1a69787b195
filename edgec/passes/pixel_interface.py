"""Raw pixels for a model that computes in float: its inputs become uint8.

r (float32) …      →      q (uint8: scale, zero_point) ─ dequantize ─ r …
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from edgec.diagnostics import Diagnostic
from edgec.ir import DType, Model, Quantization
from edgec.ops import Builder
from edgec.passes.contract import PassResult
from edgec.passes.pixels import PixelInput


@dataclass(frozen=True)
class TakePixels:
    """Gives float inputs of pixels their uint8 form. Runs last: what stands before is about r."""

    inputs: Sequence[PixelInput]
    name: str = "take_pixels"

    def run(self, model: Model) -> PassResult:
        """Change the inputs of the main graph and the model's ports."""
        graph, by_name = model.graph, {pixels.name: pixels for pixels in self.inputs}
        for port, value in zip(model.inputs, graph.inputs, strict=True):
            pixels = by_name.get(port.name)
            if pixels is None or value.dtype is not DType.FLOAT32:
                continue
            uses, build = value.uses, Builder(graph, next(iter(graph), None), f"{port.name}/pixels")
            form = Quantization.per_tensor(pixels.scale, pixels.zero_point)
            value.type = replace(value.type, dtype=DType.UINT8, quantization=form)
            r = build.op("dequantize", [value])
            for node, index in uses:
                graph.set_operand(node, index, r)
            if value.is_graph_output:
                graph.set_outputs(r if output is value else output for output in graph.outputs)
        ports = zip(model.inputs, graph.inputs, strict=True)
        model.inputs = [replace(port, dtype=value.dtype) for port, value in ports]
        return PassResult(model, bool(self.inputs))


def pixel_problems(model: Model, inputs: Sequence[PixelInput]) -> Iterator[Diagnostic]:
    """Yield E0617 for every input of a quantized model of which one step is not one pixel."""
    by_name = {pixels.name: pixels for pixels in inputs}
    for port, value in zip(model.inputs, model.graph.inputs, strict=True):
        pixels = by_name.get(port.name)
        if pixels is None:
            continue
        shift = 128 if value.dtype is DType.INT8 else 0
        wanted = Quantization.per_tensor(pixels.scale, pixels.zero_point - shift)
        if value.type.quantization == wanted:
            continue
        what = f"has the form {value.type.quantization}, pixels have {wanted}"
        why = "It shares its scale with a tensor that is no image."
        step = "Compile without --raw-pixels, and normalize on the device."
        yield Diagnostic("E0617", f"input '{port.name}'", what, why, step)
