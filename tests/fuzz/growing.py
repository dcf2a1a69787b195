"""An ONNX graph that grows node by node; each node runs in onnxruntime as soon as it is added.

So a generator knows the shape and the numbers of every value, and a node that onnxruntime refuses, or whose
numbers overflow, is simply not added.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper

from edgec.ir import Array

LARGEST_VALUE = 1e4
"""Above, float32 has fewer than four decimals left and rounding alone would look like a fault."""
LARGEST_SIZE = 6000


@dataclass(frozen=True)
class Value:
    """A value of the graph. `exact`: no rounding went into it, so steps (Floor, ArgMax, …) may follow."""

    name: str
    array: Array
    exact: bool

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape

    @property
    def rank(self) -> int:
        return self.array.ndim


@dataclass
class Growing:
    """A graph under construction at one opset."""

    opset: int
    inputs: list[Value] = field(default_factory=list[Value])
    values: list[Value] = field(default_factory=list[Value])
    constants: list[Value] = field(default_factory=list[Value])
    nodes: list[onnx.NodeProto] = field(default_factory=list[onnx.NodeProto])
    largest: float = 1.0

    def numbers(self, shape: Sequence[int], low: float = -2, high: float = 2) -> Array:
        """Return float32 numbers that depend only on how far the graph has grown: shrinking keeps them."""
        generator = np.random.default_rng(
            len(self.inputs) * 1009 + len(self.constants) * 31 + len(self.nodes)
        )
        return generator.uniform(low, high, tuple(shape)).astype(np.float32)

    def integers(self, shape: Sequence[int], low: int, high: int) -> Array:
        """Return int64 numbers in [low, high), like `numbers`."""
        return np.floor(self.numbers(shape, low, high)).clip(low, high - 1).astype(np.int64)

    def input(self, array: Array) -> Value:
        """Add a graph input with its example data."""
        plain = np.asarray(array).astype(np.dtype(array.dtype.name))  # onnxruntime's int64 is C's long long
        value = Value(f"x{len(self.inputs)}", plain, exact=True)
        self.inputs.append(value)
        self.values.append(value)
        return value

    def constant(self, array: Array) -> Value:
        """Add an initializer."""
        value = Value(f"c{len(self.constants)}", np.asarray(array), exact=True)
        self.constants.append(value)
        return value

    def ints(self, *numbers: int) -> Value:
        """Add a 1-D int64 initializer."""
        return self.constant(np.array(numbers, np.int64))

    def add(
        self,
        op_type: str,
        operands: Sequence[Value | None],
        *,
        results: int = 1,
        exact: bool = False,
        **attributes: object,
    ) -> list[Value]:
        """Add a node where onnxruntime runs it to finite numbers of a bearable size; else return nothing.

        `exact` says that the operator only moves or selects; its results are exact where all operands are.
        """
        index = len(self.nodes)
        names = [f"v{index}_{result}" for result in range(results)]
        node = helper.make_node(
            op_type,
            ["" if value is None else value.name for value in operands],
            names,
            **{name: value for name, value in attributes.items() if value is not None},
        )
        present = {value.name: value for value in operands if value is not None}
        arrays = run_nodes([node], list(present.values()), names, self.opset)
        if arrays is None or not all(_bearable(array) for array in arrays):
            return []
        self.nodes.append(node)
        kept = exact and all(value.exact for value in present.values())
        made = [Value(name, array, kept) for name, array in zip(names, arrays, strict=True)]
        self.values += made
        seen = [*arrays, *(value.array for value in present.values())]
        self.largest = max(
            self.largest, 0.0, *(float(abs(a).max()) for a in seen if a.dtype == np.float32 and a.size)
        )
        return made

    def where(self, wanted: Callable[[Value], bool]) -> list[Value]:
        """Return the values that fit, newest first: deep graphs are the default, wide ones a choice."""
        return [value for value in reversed(self.values) if wanted(value)]

    def dangling(self) -> list[Value]:
        """Return computed values that nothing reads."""
        read = {name for node in self.nodes for name in node.input}
        return [value for value in self.values[:] if value.name not in read and value not in self.inputs]

    def model(self, outputs: Sequence[Value]) -> onnx.ModelProto:
        """Return the model with these outputs."""
        used = {name for node in self.nodes for name in node.input}
        constants = [value for value in self.constants if value.name in used]
        return _model(self.nodes, self.inputs, [v.name for v in outputs], self.opset, constants)


def _bearable(array: Array) -> bool:
    if not 0 < array.size <= LARGEST_SIZE:
        return False
    return array.dtype == np.bool_ or bool((np.abs(array.astype(np.float64)) <= LARGEST_VALUE).all())


def run_nodes(
    nodes: Sequence[onnx.NodeProto], operands: Sequence[Value], results: Sequence[str], opset: int
) -> list[Array] | None:
    """Return what onnxruntime computes, None where it refuses."""
    try:
        session = oracle(_model(nodes, operands, results, opset))
        return session.run(None, {value.name: value.array for value in operands})
    except Exception:  # onnxruntime's errors have no common public class
        return None


def oracle(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    """Return onnxruntime without graph optimizations."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])


def _model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[Value],
    outputs: Sequence[str],
    opset: int,
    constants: Sequence[Value] = (),
) -> onnx.ModelProto:
    graph = helper.make_graph(
        list(nodes),
        "fuzz",
        [
            helper.make_tensor_value_info(v.name, helper.np_dtype_to_tensor_dtype(v.array.dtype), v.shape)
            for v in inputs
        ],
        [onnx.ValueInfoProto(name=name) for name in outputs],
        [numpy_helper.from_array(value.array, value.name) for value in constants],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    return onnx.shape_inference.infer_shapes(model)
