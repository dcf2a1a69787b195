"""A new graph made node by node from another one: values are read in the form that their reader wants.

A form is a type's quantization, None for float32. Where a value exists in another form, the bridge is put in
between: float → int8 `quantize`, int8 → int8 `quantize` (requantize), int8 → float `dequantize`; a constant
is converted at once. Every form of a value is made once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from edgec.ir import Array, Attributes, DType, Graph, Node, Quantization, TensorType, Value
from edgec.quantize.parameters import quantize_array

MakeArray = Callable[[], Array]


class Rebuilt:
    """The new graph and, for every value of the old one, its forms in the new one."""

    def __init__(self, name: str) -> None:
        self.graph = Graph(name)
        self._made: dict[Value, Value] = {}
        self._forms: dict[tuple[Value, Quantization | None], Value] = {}
        self._constants: dict[tuple[Value, Quantization], Value] = {}

    def input(self, old: Value, type: TensorType) -> Value:
        """Add a graph input that stands for an old one."""
        new = self.graph.add_input(old.name, type)
        self.define(old, new)
        return new

    def define(self, old: Value, new: Value) -> None:
        """Say which new value stands for an old one."""
        self._made[old] = new
        self._forms[old, new.type.quantization] = new

    def copy(
        self,
        node: Node,
        operands: Sequence[Value | None],
        forms: Sequence[Quantization | None],
        attributes: Attributes | None = None,
    ) -> Node:
        """Add a node like an old one, its results in the given forms."""
        results = [
            Value(self.graph.unique_name(old.name), _typed(old.type, form))
            for old, form in zip(node.results, forms, strict=True)
        ]
        new = Node(node.kind, operands, results, attributes or node.attributes, node.source)
        self.graph.insert(new)
        for old, result in zip(node.results, results, strict=True):
            self.define(old, result)
        return new

    def untouched(self, old: Value) -> Value:
        """Return the value in the form it was made in; a constant as it is."""
        if old not in self._made:
            self.define(old, self.graph.constant(old.constant(), old.name))
        return self._made[old]

    def read(self, old: Value, form: Quantization | None) -> Value:
        """Return a real value in a form, with a bridge where it was made in another."""
        if old.data is not None and form is not None:
            return self.constant(old, form, lambda: quantize_array(old.constant(), form), DType.INT8)
        made = self.untouched(old)
        if (old, form) not in self._forms:
            self._forms[old, form] = self.bridge(made, form)
        return self._forms[old, form]

    def bridge(self, made: Value, form: Quantization | None, dtype: DType = DType.INT8) -> Value:
        """Add the quantize or dequantize node that brings a value into a form."""
        kind = "dequantize" if form is None else "quantize"
        type = TensorType(made.shape, DType.FLOAT32 if form is None else dtype, form)
        result = Value(self.graph.unique_name(f"{made.name}/{kind}"), type)
        self.graph.insert(Node(kind, [made], [result], source=made.name))
        return result

    def constant(self, old: Value, form: Quantization, make: MakeArray, dtype: DType) -> Value:
        """Return a quantized form of a constant; `make` runs where it does not exist yet."""
        if (old, form) not in self._constants:
            name = self.graph.unique_name(old.name)
            self._constants[old, form] = Value(name, TensorType(old.shape, dtype, form), make())
        return self._constants[old, form]


def _typed(type: TensorType, form: Quantization | None) -> TensorType:
    return type if form is None else replace(type, dtype=DType.INT8, quantization=form)
