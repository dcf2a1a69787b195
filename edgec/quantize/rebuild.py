"""A new graph made node by node from another one: values are read in the form that their reader wants.

A form is an integer type with its parameters, None for float32. Where a value exists in another form, the
bridge is put in between: float → integer `quantize`, integer → integer `quantize` (requantize), integer →
float `dequantize`; a constant is converted at once. Every form of a value is made once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from edgec.ir import Array, Attributes, Graph, Node, TensorType, Value
from edgec.quantize.names import node_name
from edgec.quantize.parameters import Form

MakeArray = Callable[[], Array]


class Rebuilt:
    """The new graph and, for every value of the old one, its forms in the new one."""

    def __init__(self, name: str) -> None:
        self.graph = Graph(name)
        self._made: dict[Value, Value] = {}
        self._forms: dict[tuple[Value, Form | None], Value] = {}
        self._constants: dict[tuple[Value, Form], Value] = {}

    def input(self, old: Value, type: TensorType) -> Value:
        """Add a graph input that stands for an old one."""
        new = self.graph.add_input(old.name, type)
        self.define(old, new)
        return new

    def define(self, old: Value, new: Value) -> None:
        """Say which new value stands for an old one."""
        self._made[old] = new
        self._forms[old, form_of(new)] = new

    def copy(
        self,
        node: Node,
        operands: Sequence[Value | None],
        forms: Sequence[Form | None],
        attributes: Attributes | None = None,
    ) -> Node:
        """Add a node like an old one, its results in the given forms."""
        results = [
            Value(self.graph.unique_name(old.name), _typed(old.type, form))
            for old, form in zip(node.results, forms, strict=True)
        ]
        new = Node(node.kind, operands, results, attributes or node.attributes, node_name(node))
        self.graph.insert(new)
        for old, result in zip(node.results, results, strict=True):
            self.define(old, result)
        return new

    def untouched(self, old: Value) -> Value:
        """Return the value in the form it was made in; a constant as it is."""
        if old not in self._made:
            self.define(old, Value(self.graph.unique_name(old.name), old.type, old.constant()))
        return self._made[old]

    def read(self, old: Value, form: Form | None) -> Value:
        """Return a real value in a form, with a bridge where it was made in another."""
        if old.data is not None and form is not None:
            return self.constant(old, form, lambda: form.encode(old.constant()))
        made = self.untouched(old)
        if (old, form) not in self._forms:
            self._forms[old, form] = self.bridge(made, form)
        return self._forms[old, form]

    def bridge(self, made: Value, form: Form | None) -> Value:
        """Add the quantize or dequantize node that brings a value into a form."""
        kind = "dequantize" if form is None else "quantize"
        type = _typed(TensorType(made.shape), form)
        result = Value(self.graph.unique_name(f"{made.name}/{kind}"), type)
        self.graph.insert(Node(kind, [made], [result], source=made.name))
        return result

    def constant(self, old: Value, form: Form, make: MakeArray) -> Value:
        """Return a quantized form of a constant; `make` runs where it does not exist yet."""
        if (old, form) not in self._constants:
            name = self.graph.unique_name(old.name)
            self._constants[old, form] = Value(name, _typed(TensorType(old.shape), form), make())
        return self._constants[old, form]


def form_of(value: Value) -> Form | None:
    """Return the form a value is stored in; None where it has no parameters."""
    quantization = value.type.quantization
    return None if quantization is None else Form(value.dtype, quantization)


def _typed(type: TensorType, form: Form | None) -> TensorType:
    return type if form is None else replace(type, dtype=form.dtype, quantization=form.quantization)
