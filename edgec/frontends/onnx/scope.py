"""The names of one ONNX graph: inner graphs see outer names, and their own results shadow them.

scope ── lookup ──▶ own values ──▶ own initializers ──▶ outer scope
                                                         │ same IR graph (inlined): the value itself
                                                         │ other IR graph, constant: one there, same data
                                                         └ other IR graph, else: captured, an input there
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from edgec.diagnostics import CompileError, Diagnostic
from edgec.ir import Array, DType, Graph, Value

if TYPE_CHECKING:
    import onnx

WIDENED = {"float16": DType.FLOAT32, "bfloat16": DType.FLOAT32, "float64": DType.FLOAT32}
"""Floats compute in float32: few kernels have other forms."""

_PACKED = {"int4": "int8", "uint4": "uint8", "int2": "int8", "uint2": "uint8"}
"""Integers narrower than a byte are weights of quantized models; here each takes a byte."""


@dataclass(eq=False)
class Scope:
    """One ONNX graph under import into an IR graph, its own or that of the scope around it.

    `captured` maps values of the outer IR graph to the inputs of this one that stand for them. An outer graph
    is imported once and gives up its weights as they are read; an inner one may be read again.
    """

    proto: onnx.GraphProto
    graph: Graph
    outer: Scope | None = None
    values: dict[str, Value] = field(default_factory=dict[str, Value])
    failed: set[str] = field(default_factory=set[str])
    captured: dict[Value, Value] = field(default_factory=dict[Value, Value])

    def __post_init__(self) -> None:
        self._initializers = {tensor.name: tensor for tensor in self.proto.initializer}

    @property
    def runtime_inputs(self) -> list[onnx.ValueInfoProto]:
        """The graph's inputs without those that old files list although they are initializers."""
        known = {tensor.name for tensor in self.proto.initializer}
        return [info for info in self.proto.input if info.name not in known]

    def lookup(self, name: str) -> Value | None:
        """Return a named value of this or an outer graph; None where nothing has that name (yet)."""
        if name not in self.values:
            if name in self._initializers:
                self.values[name] = self._initializer(name)
            elif self.outer is not None:
                outer = self.outer.lookup(name)
                if outer is not None:
                    self.values[name] = self.bring(outer)
        return self.values.get(name)

    def has_failed(self, name: str) -> bool:
        """Whether the node that computes a name could not be lowered."""
        if name in self.failed:
            return True
        return self.outer is not None and name not in self.values and self.outer.has_failed(name)

    def capture(self, outer: Value) -> Value:
        """Return the input of this scope's graph that stands for a value of the outer graph."""
        if outer not in self.captured:
            self.captured[outer] = self.graph.add_input(outer.name, outer.type)
        return self.captured[outer]

    def bring(self, outer: Value) -> Value:
        """Return what stands for a value of the outer graph in this scope's graph."""
        if self.outer is None or self.outer.graph is self.graph:
            return outer
        return self.graph.constant(outer.data, outer.name) if outer.data is not None else self.capture(outer)

    def _initializer(self, name: str) -> Value:
        """Return an initializer as a constant when it is first used."""
        tensor = self._initializers[name]
        data = _read(name, tensor)
        if self.outer is not None:
            _refuse_two_meanings(name, data, self.outer.lookup(name))
        else:
            del self._initializers[name]
            tensor.ClearField("raw_data")  # the array is ours now: do not hold large weights twice
        return self.graph.constant(data, name)


def _refuse_two_meanings(name: str, data: Array, outer: Value | None) -> None:
    """ONNX forbids an inner name that hides a visible one, and runtimes then take the outer value."""
    if outer is None or (outer.data is not None and np.array_equal(outer.data, data)):
        return
    raise CompileError(
        Diagnostic(
            "E0124",
            f"initializer '{name}' of an inner graph",
            "has the name of another value that is visible there",
            "ONNX demands distinct names; runtimes do not agree on which of the two is meant.",
            "Rename one of them in the source model.",
        )
    )


def _read(name: str, tensor: onnx.TensorProto) -> Array:
    from onnx import numpy_helper

    try:
        array = numpy_helper.to_array(tensor)
    except (ValueError, TypeError) as error:
        raise CompileError(
            Diagnostic("E0111", f"initializer '{name}'", f"cannot be read: {error}", "The file is damaged.")
        ) from None
    if array.dtype.name in _PACKED:
        return array.astype(_PACKED[array.dtype.name])
    if array.dtype.name in WIDENED:
        array = _as_float32(array, name)
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


def _as_float32(array: Array, name: str) -> Array:
    """Return a float constant in the type that kernels compute in; a number beyond it is no number there."""
    with np.errstate(over="ignore"):
        narrowed = array.astype(np.float32)
    beyond = int(np.count_nonzero(np.isinf(narrowed) & ~np.isinf(array.astype(np.float64))))
    if beyond:
        raise CompileError(
            Diagnostic(
                "E0114",
                f"initializer '{name}' {list(array.shape)}",
                f"holds {beyond} of {array.size} numbers beyond float32",
                "Kernels compute in float32, whose largest number is 3.4e38.",
                "Rescale the model, or export it in float32.",
            )
        )
    return narrowed
