# pyright: reportPrivateUsage=false
# Graph is the friend of Node and Value: their links change here and nowhere else.
"""The one IR: `Model → Graph → Node → Value`, with TFLite's operators as node kinds.

Nodes of a graph form a linked list in execution order, so inserting and removing is O(1). A value knows
its producer and its uses; all edits go through `Graph`, which keeps these true.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from edgec.ir.types import Array, DType, TensorType

ImageLayout = Literal["nchw", "nhwc"]


@dataclass(frozen=True, slots=True)
class Attributes:
    """Compile-time settings of a node; each op kind has a frozen subclass with the schema's field names."""


NO_ATTRIBUTES = Attributes()


class Value:
    """A tensor: the result of a node, a graph input, or a constant (a value with `data`)."""

    __slots__ = ("_output_count", "_uses", "data", "name", "producer", "type")

    def __init__(self, name: str, type: TensorType, data: Array | None = None) -> None:
        self.name = name
        self.type = type
        self.data = data
        self.producer: Node | None = None
        self._uses: dict[tuple[Node, int], None] = {}
        self._output_count = 0

    @property
    def is_constant(self) -> bool:
        """Whether the data is known at compile time."""
        return self.data is not None

    @property
    def uses(self) -> tuple[tuple[Node, int], ...]:
        """Every (node, operand index) that reads this value, in the order the uses were made."""
        return tuple(self._uses)

    @property
    def users(self) -> tuple[Node, ...]:
        """The distinct nodes that read this value."""
        return tuple(dict.fromkeys(node for node, _ in self._uses))

    @property
    def is_graph_output(self) -> bool:
        """Whether the graph returns this value."""
        return self._output_count > 0

    @property
    def is_unused(self) -> bool:
        """Whether neither a node nor the graph's outputs read this value."""
        return not self._uses and not self._output_count

    def has_single_use(self) -> bool:
        """Whether exactly one operand reads this value and the graph does not return it."""
        return len(self._uses) == 1 and not self._output_count

    def constant(self) -> Array:
        """Return the data; ValueError where the value is not a constant."""
        if self.data is None:
            raise ValueError(f"value '{self.name}' is not a constant")
        return self.data

    @property
    def shape(self) -> tuple[int, ...]:
        """Dimensions, shorthand for `type.shape`."""
        return self.type.shape

    @property
    def dtype(self) -> DType:
        """Element type, shorthand for `type.dtype`."""
        return self.type.dtype

    def __repr__(self) -> str:
        return f"<Value {self.name}: {self.type}{' constant' if self.is_constant else ''}>"


class Node:
    """One operator: `kind` is a TFLite builtin in snake_case; `source` says where it came from."""

    __slots__ = ("_next", "_operands", "_previous", "attributes", "graph", "kind", "results", "source")

    def __init__(
        self,
        kind: str,
        operands: Sequence[Value | None],
        results: Sequence[Value],
        attributes: Attributes = NO_ATTRIBUTES,
        source: str = "",
    ) -> None:
        self.kind = kind
        self.attributes = attributes
        self.results = tuple(results)
        self.source = source
        self.graph: Graph | None = None
        self._operands = list(operands)
        self._previous: Node | None = None
        self._next: Node | None = None
        for result in self.results:
            result.producer = self

    @property
    def operands(self) -> tuple[Value | None, ...]:
        """What the node reads; None where an optional operand is absent."""
        return tuple(self._operands)

    @property
    def result(self) -> Value:
        """The only result; ValueError if there are several."""
        (result,) = self.results
        return result

    def operand(self, index: int) -> Value:
        """Return a required operand; ValueError where it is absent."""
        value = self._operands[index] if index < len(self._operands) else None
        if value is None:
            raise ValueError(f"{self} has no operand {index}")
        return value

    def optional_operand(self, index: int) -> Value | None:
        """Return an operand, or None where it is absent."""
        return self._operands[index] if index < len(self._operands) else None

    def __repr__(self) -> str:
        return f"<Node {self.kind} -> {', '.join(result.name for result in self.results)}>"


@dataclass(eq=False)
class Graph:
    """Nodes in execution order with inputs and outputs; owns every edit."""

    name: str = "main"
    inputs: list[Value] = field(default_factory=list[Value])
    _outputs: list[Value] = field(default_factory=list[Value])
    _first: Node | None = None
    _last: Node | None = None
    _count: int = 0
    _names: set[str] = field(default_factory=set[str])
    _next_suffix: dict[str, int] = field(default_factory=dict[str, int])

    @property
    def outputs(self) -> tuple[Value, ...]:
        """What the graph returns, in order."""
        return tuple(self._outputs)

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Node]:
        """Walk the nodes in execution order; the node at hand may be removed or replaced meanwhile."""
        node = self._first
        while node is not None:
            following = node._next
            yield node
            node = following

    def __reversed__(self) -> Iterator[Node]:
        node = self._last
        while node is not None:
            preceding = node._previous
            yield node
            node = preceding

    @property
    def last(self) -> Node | None:
        """The node that runs last."""
        return self._last

    def nodes_after(self, node: Node | None) -> list[Node]:
        """Return the nodes that run after `node`, or all nodes for None."""
        found: list[Node] = []
        following = self._first if node is None else node._next
        while following is not None:
            found.append(following)
            following = following._next
        return found

    def unique_name(self, stem: str) -> str:
        """Return `stem`, or `stem_N` where that name is taken, and reserve it."""
        name = stem or "value"
        while name in self._names:
            number = self._next_suffix.get(stem, 0) + 1
            self._next_suffix[stem] = number
            name = f"{stem or 'value'}_{number}"
        self._names.add(name)
        return name

    def rename(self, value: Value, name: str) -> None:
        """Give a value a name and reserve it; whoever bears it must take another."""
        self._names.add(name)
        value.name = name

    def add_input(self, name: str, type: TensorType) -> Value:
        """Append a graph input."""
        value = Value(self.unique_name(name), type)
        self.inputs.append(value)
        return value

    def constant(self, data: Array, name: str = "constant") -> Value:
        """Return a new constant that holds `data` (not copied)."""
        return Value(self.unique_name(name), TensorType(tuple(data.shape), DType.of(data)), data)

    def set_outputs(self, outputs: Iterable[Value]) -> None:
        """Replace the list of returned values."""
        for value in self._outputs:
            value._output_count -= 1
        self._outputs = list(outputs)
        for value in self._outputs:
            value._output_count += 1

    def insert(self, node: Node, before: Node | None = None) -> Node:
        """Insert a node before another one, or at the end."""
        if node.graph is not None:
            raise ValueError(f"{node} is in a graph already")
        previous = before._previous if before is not None else self._last
        node.graph, node._previous, node._next = self, previous, before
        if previous is None:
            self._first = node
        else:
            previous._next = node
        if before is None:
            self._last = node
        else:
            before._previous = node
        self._count += 1
        for index, operand in enumerate(node._operands):
            if operand is not None:
                operand._uses[node, index] = None
        return node

    def remove(self, node: Node) -> None:
        """Remove a node none of whose results is read; ValueError otherwise."""
        if any(not result.is_unused for result in node.results):
            raise ValueError(f"{node} is still used")
        for index, operand in enumerate(node._operands):
            if operand is not None:
                del operand._uses[node, index]
        if node._previous is None:
            self._first = node._next
        else:
            node._previous._next = node._next
        if node._next is None:
            self._last = node._previous
        else:
            node._next._previous = node._previous
        node.graph = node._previous = node._next = None
        self._count -= 1

    def set_operand(self, node: Node, index: int, value: Value | None) -> None:
        """Let a node read another value at one operand (the operand list grows if needed)."""
        while len(node._operands) <= index:
            node._operands.append(None)
        old = node._operands[index]
        if old is not None:
            old._uses.pop((node, index), None)
        node._operands[index] = value
        if value is not None and node.graph is self:
            value._uses[node, index] = None

    def replace_uses(self, old: Value, new: Value) -> None:
        """Let every reader of `old` (nodes and graph outputs) read `new`.

        Where `old` was a graph output made by a node, `new` takes over its name, so that tensors
        keep the names the user knows.
        """
        if old is new:
            return
        for node, index in old.uses:
            self.set_operand(node, index, new)
        if old.is_graph_output:
            self.set_outputs(new if value is old else value for value in self._outputs)
            if new.producer is not None and new not in self.inputs:
                old.name, new.name = new.name, old.name

    def replace_node(self, node: Node, replacements: Sequence[Value]) -> None:
        """Replace every result of a node by another value, then remove the node."""
        for old, new in zip(node.results, replacements, strict=True):
            self.replace_uses(old, new)
        self.remove(node)

    def constants(self) -> list[Value]:
        """Return the distinct constants that nodes or outputs read, in order of first use."""
        found: dict[Value, None] = {}
        for node in self:
            found.update((v, None) for v in node._operands if v is not None and v.is_constant)
        found.update((v, None) for v in self._outputs if v.is_constant)
        return list(found)


@dataclass(frozen=True, slots=True)
class Port:
    """One input or output as the user knows it: the source's name, shape and element type.

    `permutation` maps the source's axes to the emitted ones: `emitted = transpose(source, permutation)`;
    None means the axes are the source's own. `source_layout` is `nchw` or `nhwc` where the graph shows that
    the data is an image, else None.
    """

    name: str
    shape: tuple[int, ...]
    dtype: DType
    permutation: tuple[int, ...] | None = None
    source_layout: ImageLayout | None = None

    @property
    def layout(self) -> ImageLayout | None:
        """The emitted layout: `nchw`, `nhwc`, or None where axes have no such meaning."""
        return "nhwc" if self.permutation is not None else self.source_layout


@dataclass(eq=False)
class Model:
    """A main graph and its subgraphs, with the contract towards the user (`inputs`, `outputs`).

    `fixed_inputs` are inputs of the source that got a value at compile time and are inputs no more.
    """

    graph: Graph
    inputs: list[Port] = field(default_factory=list[Port])
    outputs: list[Port] = field(default_factory=list[Port])
    subgraphs: list[Graph] = field(default_factory=list[Graph])
    fixed_inputs: dict[str, Array] = field(default_factory=dict[str, Array])

    @property
    def graphs(self) -> list[Graph]:
        """The main graph first, then the subgraphs in index order."""
        return [self.graph, *self.subgraphs]
