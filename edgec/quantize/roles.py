"""What quantization does with each node of a float graph: the registry's facts applied to one graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from edgec.ir import DType, Graph, Node, Value
from edgec.ops import spec_of
from edgec.ops.recurrent import lstm_operands
from edgec.ops.spec import Constraint, Weights
from edgec.quantize.counts import is_count
from edgec.quantize.lookup import lookup_operands
from edgec.quantize.names import is_named
from edgec.quantize.parameters import MIN_INT4_ELEMENTS


class Treatment(StrEnum):
    """The four ways to treat a node."""

    INTEGER = "integer"  # no float goes in or out: copied as it is
    FREE = "free"  # quantized, operands and results each with parameters of their own
    LINKED = "linked"  # quantized, data operands and results share their parameters
    FLOAT = "float"  # stays a float island: no kernel, or chosen


@dataclass(frozen=True, slots=True)
class Choices:
    """The element types, and the nodes that a recipe treats otherwise, by name (`names`).

    int4 weights are for nodes whose kernels have them, where it pays (`MIN_INT4_ELEMENTS`); the others, and
    `int8_weight_nodes`, keep int8.
    """

    activations: DType = DType.INT8
    weights: DType = DType.INT8
    float_nodes: frozenset[str] = frozenset()
    int16_nodes: frozenset[str] = frozenset()
    int8_weight_nodes: frozenset[str] = frozenset()

    @property
    def named(self) -> frozenset[str]:
        """Every name that has to exist in the graph."""
        return self.float_nodes | self.int16_nodes | self.int8_weight_nodes

    def weight_type(self, node: Node, activations: DType) -> DType:
        """Return the element type of a node's weights beside activations of a type."""
        facts = spec_of(node).quant.weights
        if facts is None or activations not in facts.int4 or is_named(node, self.int8_weight_nodes):
            return DType.INT8
        data = node.operand(facts.operand).data
        return self.weights if data is not None and data.size >= MIN_INT4_ELEMENTS else DType.INT8


@dataclass(frozen=True, slots=True)
class Role:
    """How a node is treated, the element type of its activations, and where weights and bias stand.

    `reason` says why a node that nobody chose to be float has no kernel for `dtype`.
    """

    treatment: Treatment
    data: tuple[int, ...] = ()
    weights: int | None = None
    bias: int | None = None
    reason: str = ""
    dtype: DType = DType.INT8
    weight_type: DType = DType.INT8

    @property
    def quantized(self) -> bool:
        """Whether the node computes with integers that stand for real numbers."""
        return self.treatment in (Treatment.FREE, Treatment.LINKED)


Roles = Mapping[Node, Role]

_EVERYTHING_INT8 = Choices()


def is_real(value: Value | None) -> bool:
    """Whether a value holds real numbers, the only ones that quantization touches."""
    return value is not None and value.dtype is DType.FLOAT32


def assign_roles(graph: Graph, choices: Choices = _EVERYTHING_INT8) -> dict[Node, Role]:
    """Return the role of every node.

    A same-scale node goes along with what it reads: between two float nodes, or two int16 ones, quantizing
    around a reshape would only lose precision.
    """
    roles: dict[Node, Role] = {}
    for node in graph:
        role = _role(node, _element_type(node, choices), choices)
        if role.treatment is Treatment.LINKED and not is_named(node, choices.int16_nodes):
            role = _following(node, role, roles, choices)
        roles[node] = role
    return roles


def _element_type(node: Node, choices: Choices) -> DType:
    return DType.INT16 if is_named(node, choices.int16_nodes) else choices.activations


def _following(node: Node, role: Role, roles: Roles, choices: Choices) -> Role:
    """Return the role of a same-scale node among those that make its activations."""
    makers = [value.producer and roles[value.producer] for value in _activations(node, role)]
    if makers and all(maker and maker.treatment is Treatment.FLOAT for maker in makers):
        return Role(Treatment.FLOAT)
    if makers and all(maker and maker.quantized and maker.dtype is DType.INT16 for maker in makers):
        wide = _role(node, DType.INT16, choices)
        return wide if wide.quantized else role
    return role


def _role(node: Node, dtype: DType, choices: Choices) -> Role:
    if not any(is_real(value) for value in (*node.operands, *node.results)):
        return Role(Treatment.INTEGER)
    if is_named(node, choices.float_nodes):
        return Role(Treatment.FLOAT)
    if dtype is DType.INT8 and is_count(node):
        return Role(Treatment.FREE)
    if dtype is DType.INT8 and (indices := lookup_operands(node) or lstm_operands(node)):
        return Role(Treatment.FREE, indices)
    reason = why_float(node, dtype)
    if reason:
        return Role(Treatment.FLOAT, reason=reason, dtype=dtype)
    quant = spec_of(node).quant
    data = tuple(index for index, value in enumerate(node.operands) if is_real(value))
    if quant.constraint is Constraint.SAME_SCALE:
        return Role(Treatment.LINKED, data, dtype=dtype)
    facts = quant.weights
    if facts is None or not node.operand(facts.operand).is_constant or _one_type(facts, dtype):
        return Role(Treatment.FREE, data, dtype=dtype)
    bias = facts.bias if facts.bias is not None and node.optional_operand(facts.bias) is not None else None
    activations = tuple(index for index in data if index not in (facts.operand, bias))
    weights = choices.weight_type(node, dtype)
    return Role(Treatment.FREE, activations, facts.operand, bias, dtype=dtype, weight_type=weights)


def _one_type(facts: Weights, dtype: DType) -> bool:
    """Whether the kernel wants weights of the activations' own type: an int16 batch_matmul does."""
    return dtype is DType.INT16 and not facts.per_axis


def _reads_zero(node: Node) -> bool:
    """Whether an operand is 0, which is the integer 0 under any symmetric scale."""
    return any(value.data is not None and not value.data.any() for value in node.operands if value)


def why_float(node: Node, dtype: DType) -> str:
    """Return why a node has no kernel for activations of an element type; nothing where it has one."""
    quant = spec_of(node).quant
    if not quant.supports(dtype):
        return quant.reason
    if dtype not in spec_of(node).support.litert:
        return f"its kernel has no {dtype} form"
    if dtype is DType.INT16 and quant.int16_reason and not _reads_zero(node):
        return quant.int16_reason
    facts = quant.weights
    if facts is None or not facts.per_axis:
        return ""
    if not node.operand(facts.operand).is_constant:
        return "its weights are computed at run time"
    bias = None if facts.bias is None else node.optional_operand(facts.bias)
    return "its bias is computed at run time" if bias is not None and not bias.is_constant else ""


def _activations(node: Node, role: Role) -> list[Value]:
    return [node.operand(index) for index in role.data if not node.operand(index).is_constant]


def joins(node: Node, role: Role) -> bool:
    """Whether a same-scale node has several activations, which may each be requantized on the way in."""
    return role.treatment is Treatment.LINKED and len(set(_activations(node, role))) > 1


def is_fixed(value: Value, roles: Roles) -> bool:
    """Whether the kernel that makes the value prescribes its parameters."""
    producer = value.producer
    return (
        producer is not None
        and roles[producer].quantized
        and spec_of(producer).quant.constraint is Constraint.FIXED_OUTPUT_SCALE
    )


def needs_whole_range(value: Value, graph: Graph, roles: Roles) -> bool:
    """Whether some reader needs every value of the tensor, so that its own range counts.

    A same-scale node that picks values needs no more than its result's range: a value it passes on lies in
    there, a value it drops may saturate. So padding with -inf before a max pool costs nothing.
    """
    if value.is_graph_output or value in graph.inputs:
        return True
    maker = None if value.producer is None else roles[value.producer]
    return any(_reads_all(node, index, roles[node], maker) for node, index in value.uses)


def _reads_all(node: Node, index: int, role: Role, maker: Role | None) -> bool:
    if role.treatment is Treatment.LINKED:
        requantizes = maker is not None and maker.quantized and maker.dtype is not role.dtype
        return spec_of(node).quant.blends or requantizes
    return role.treatment is Treatment.FLOAT or index in role.data


def quantized_values(graph: Graph, roles: Roles) -> list[Value]:
    """Return the real values that an int8 node makes or reads or that cross the model's border, in order."""
    return [
        value
        for value in (*graph.inputs, *_results(graph))
        if is_real(value) and (value.is_graph_output or _touches_int8(value, roles))
    ]


def _touches_int8(value: Value, roles: Roles) -> bool:
    producer = value.producer
    made = producer is None or roles[producer].quantized
    return made or any(roles[user].quantized for user in value.users)


def observed_values(graph: Graph, choices: Choices | None = _EVERYTHING_INT8) -> list[Value]:
    """Return the values whose ranges `quantize_int8` will ask for: what calibration has to watch.

    Without choices: every value that some choice of islands needs, for who has yet to choose.
    """
    if choices is None:
        return [value for value in (*graph.inputs, *_results(graph)) if is_real(value)]
    roles = assign_roles(graph, choices)
    return [
        value
        for value in quantized_values(graph, roles)
        if not is_fixed(value, roles)
        and (needs_whole_range(value, graph, roles) or any(joins(user, roles[user]) for user in value.users))
    ]


def _results(graph: Graph) -> list[Value]:
    return [result for node in graph for result in node.results]
