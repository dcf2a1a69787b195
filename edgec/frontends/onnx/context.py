"""What a lowering sees of its ONNX node: operands as IR values, typed attributes, a builder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np

from edgec.frontends.onnx.scope import Scope
from edgec.frontends.onnx.shapes import declared_dims
from edgec.ir import Array, DType, Graph, Model, Node, Value
from edgec.ops import Builder

if TYPE_CHECKING:
    import onnx


class LoweringError(Exception):
    """A lowering cannot express its node; becomes one diagnostic among all the others."""

    def __init__(self, what: str, why: str = "", next_step: str = "") -> None:
        super().__init__(what)
        self.what, self.why, self.next_step = what, why, next_step


class InnerGraphError(Exception):
    """A node of an inner graph could not be lowered and has its diagnostic; its outer node needs none."""


class Importer(Protocol):
    """What the front end's importer does for nodes with inner graphs."""

    model: Model
    known: dict[Value, tuple[int | None, ...]]

    def run(self, scope: Scope) -> list[Value | None]:
        """Lower every node of a scope; returns its outputs, None for what could not be lowered."""
        ...


@dataclass(frozen=True)
class InnerGraphs:
    """Imports the graphs that a node holds as attributes, in the scope of the node."""

    importer: Importer
    scope: Scope

    def inline(self, proto: onnx.GraphProto, inputs: Sequence[Value]) -> list[Value]:
        """Lower an inner graph's nodes here and now; returns its outputs."""
        return self.run(Scope(proto, self.scope.graph, self.scope), inputs)

    def separate(self, proto: onnx.GraphProto, name: str) -> Scope:
        """Return a scope with an IR graph of its own, to be filled by `run`."""
        return Scope(proto, Graph(name), self.scope)

    def run(self, scope: Scope, inputs: Sequence[Value]) -> list[Value]:
        """Import a scope with values of its IR graph as inputs; InnerGraphError where a node was refused."""
        names = [info.name for info in scope.runtime_inputs]
        if len(names) != len(inputs):
            raise LoweringError(
                f"gives {len(inputs)} values to an inner graph with {len(names)} inputs",
                "They have to agree.",
                "Export the model again.",
            )
        scope.values.update(zip(names, inputs, strict=True))
        outputs = self.importer.run(scope)
        found = [value for value in outputs if value is not None]
        if len(found) < len(outputs):
            raise InnerGraphError
        build = Builder(scope.graph, source=scope.graph.name)
        return [_settled(build, value, info) for value, info in zip(found, scope.proto.output, strict=True)]

    def add(self, graph: Graph) -> int:
        """Make a graph a subgraph of the model and return its index in the file (the main graph has 0)."""
        self.importer.model.subgraphs.append(graph)
        return len(self.importer.model.subgraphs)

    def mark(self) -> tuple[Node | None, int]:
        """Return where import stands, for `undo`."""
        return self.scope.graph.last, len(self.importer.model.subgraphs)

    def undo(self, mark: tuple[Node | None, int]) -> None:
        """Remove every node and subgraph made since the mark."""
        last, subgraphs = mark
        for node in reversed(self.scope.graph.nodes_after(last)):
            self.scope.graph.remove(node)
        del self.importer.model.subgraphs[subgraphs:]


def _settled(build: Builder, value: Value, info: onnx.ValueInfoProto) -> Value:
    """Return an inner result in the static shape that the file declares, where inference leaves it open."""
    declared = declared_dims(info)
    known = [dim for dim in declared or [] if isinstance(dim, int)]
    if (
        value.type.is_static
        or declared is None
        or len(known) != value.type.rank
        or len(declared) != len(known)
    ):
        return value
    return build.reshape(value, known)


@dataclass
class LoweringContext:
    """One ONNX node under lowering. `inputs` are IR values in the source's (channels-first) axes."""

    node: onnx.NodeProto
    opset: int
    inputs: list[Value | None]
    build: Builder
    inner: InnerGraphs
    _attributes: dict[str, onnx.AttributeProto] = field(init=False)

    def __post_init__(self) -> None:
        self._attributes = {attribute.name: attribute for attribute in self.node.attribute}

    @property
    def op_type(self) -> str:
        """The ONNX operator's name."""
        return self.node.op_type

    @property
    def output_count(self) -> int:
        """How many results the node names; trailing empty names do not count."""
        return max((i + 1 for i, name in enumerate(self.node.output) if name), default=0)

    def wants_output(self, index: int) -> bool:
        """Whether the node names its result `index`."""
        return index < len(self.node.output) and bool(self.node.output[index])

    def input(self, index: int) -> Value:
        """Return a required operand; LoweringError where it is absent."""
        value = self.optional_input(index)
        if value is None:
            raise LoweringError(
                f"input {index} is missing", "The operator needs it.", "Export the model again."
            )
        return value

    def optional_input(self, index: int) -> Value | None:
        """Return an operand, or None where it is absent."""
        return self.inputs[index] if index < len(self.inputs) else None

    def constant(self, index: int) -> Array:
        """Return the data of an operand that must be known at compile time; LoweringError where it is not."""
        value = self.input(index)
        if value.data is None:
            raise LoweringError(
                f"input {index} ('{value.name}') is computed at run time",
                "Kernels need it when the model is compiled.",
                "Make it an initializer or a constant, for instance by exporting with fixed shapes.",
            )
        return value.data

    def optional_constant(self, index: int) -> Array | None:
        """Return the data of an operand, None where it is absent; LoweringError where it is not constant."""
        return None if self.optional_input(index) is None else self.constant(index)

    def constant_ints(self, index: int) -> list[int]:
        """Return a constant operand as a list of Python ints."""
        return [int(item) for item in self.constant(index).reshape(-1)]

    def entries(self, x: Value) -> list[int | None]:
        """Return what is known of a vector of whole numbers, None for entries that the run time computes."""
        if x.data is not None:
            return [int(item) for item in x.data.reshape(-1)]
        return list(self.inner.importer.known.get(x, (None,) * x.shape[0] if x.type.rank else (None,)))

    def note_entries(self, x: Value, entries: Sequence[int | None]) -> Value:
        """Keep what is known of a vector whose other entries the run time computes; returns the vector."""
        self.inner.importer.known[x] = tuple(entries)
        return x

    def has(self, name: str) -> bool:
        """Whether the node sets an attribute."""
        return name in self._attributes

    def int(self, name: str, default: int = 0) -> int:
        """Return an integer attribute."""
        return int(self._attributes[name].i) if name in self._attributes else default

    def float(self, name: str, default: float = 0.0) -> float:
        """Return a float attribute (float32 precision)."""
        return float(self._attributes[name].f) if name in self._attributes else default

    def string(self, name: str, default: str = "") -> str:
        """Return a string attribute."""
        return self._attributes[name].s.decode() if name in self._attributes else default

    def ints(self, name: str, default: Sequence[int] | None = None) -> list[int] | None:
        """Return a list of integers; `default` where it is not set."""
        if name in self._attributes:
            return [int(item) for item in self._attributes[name].ints]
        return None if default is None else list(default)

    def floats(self, name: str) -> list[float] | None:
        """Return a list of floats, None where it is not set."""
        return list(self._attributes[name].floats) if name in self._attributes else None

    def tensor(self, name: str) -> Array:
        """Return a tensor attribute; LoweringError where it is not set."""
        from onnx import numpy_helper

        if name not in self._attributes:
            raise LoweringError(f"attribute '{name}' is missing")
        return numpy_helper.to_array(self._attributes[name].t)

    def graph(self, name: str) -> onnx.GraphProto:
        """Return a graph attribute; LoweringError where it is not set."""
        if name not in self._attributes:
            raise LoweringError(f"attribute '{name}' is missing")
        return self._attributes[name].g

    def to_channels_last(self, x: Value) -> Value:
        """Return `[N, C, spatial...]` as `[N, spatial..., C]`; the layout pass removes what is not needed."""
        return self.build.transpose(x, [0, *range(2, x.type.rank), 1])

    def to_channels_first(self, x: Value) -> Value:
        """Return `[N, spatial..., C]` as `[N, C, spatial...]`."""
        rank = x.type.rank
        return self.build.transpose(x, [0, rank - 1, *range(1, rank - 1)])

    def cast(self, x: Value, dtype: DType) -> Value:
        """Return `x` as another element type; a constant is converted at once, a no-op returns `x`."""
        from edgec.ops.elementwise import CastAttributes

        if x.dtype is dtype:
            return x
        if x.data is not None and not (x.dtype.is_float and not dtype.is_float):
            return self.build.constant(np.asarray(x.data).astype(dtype.numpy), name=x.name)
        if DType.UINT64 in (x.dtype, dtype):
            from edgec.frontends.onnx.unsigned import cast_uint64

            return cast_uint64(self, x, dtype)
        return self.build.op("cast", [x], CastAttributes(x.dtype, dtype))
