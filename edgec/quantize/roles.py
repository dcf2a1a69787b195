"""What quantization does with each node of a float graph: the registry's facts applied to one graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from edgec.ir import DType, Graph, Node, Value
from edgec.ops import spec_of
from edgec.ops.spec import Constraint


class Treatment(StrEnum):
    """The four ways to treat a node."""

    INTEGER = "integer"  # no float goes in or out: copied as it is
    FREE = "free"  # int8, operands and results each with parameters of their own
    LINKED = "linked"  # int8, data operands and results share their parameters
    FLOAT = "float"  # no int8 form: stays a float island


@dataclass(frozen=True, slots=True)
class Role:
    """How a node is treated, and which operands hold activations, constant weights and bias."""

    treatment: Treatment
    data: tuple[int, ...] = ()
    weights: int | None = None
    bias: int | None = None
    reason: str = ""

    @property
    def quantized(self) -> bool:
        """Whether the node becomes int8."""
        return self.treatment in (Treatment.FREE, Treatment.LINKED)


Roles = Mapping[Node, Role]


def is_real(value: Value | None) -> bool:
    """Whether a value holds real numbers, the only ones that quantization touches."""
    return value is not None and value.dtype is DType.FLOAT32


def assign_roles(graph: Graph) -> dict[Node, Role]:
    """Return the role of every node.

    A same-scale node that reads float islands alone belongs to them: quantizing around a reshape between
    two float nodes would only lose precision.
    """
    roles: dict[Node, Role] = {}
    for node in graph:
        role = _role(node)
        sources = _activations(node, role)
        if role.treatment is Treatment.LINKED and sources and all(_in_island(v, roles) for v in sources):
            role = Role(Treatment.FLOAT)
        roles[node] = role
    return roles


def _role(node: Node) -> Role:
    if not any(is_real(value) for value in (*node.operands, *node.results)):
        return Role(Treatment.INTEGER)
    reason = _why_float(node)
    if reason:
        return Role(Treatment.FLOAT, reason=reason)
    quant = spec_of(node).quant
    data = [index for index, value in enumerate(node.operands) if is_real(value)]
    if quant.constraint is Constraint.SAME_SCALE:
        return Role(Treatment.LINKED, tuple(data))
    facts = quant.weights
    if facts is None or not node.operand(facts.operand).is_constant:
        return Role(Treatment.FREE, tuple(data))
    bias = facts.bias if facts.bias is not None and node.optional_operand(facts.bias) is not None else None
    activations = tuple(index for index in data if index not in (facts.operand, bias))
    return Role(Treatment.FREE, activations, facts.operand, bias)


def _why_float(node: Node) -> str:
    quant = spec_of(node).quant
    if not quant.supported:
        return quant.reason
    facts = quant.weights
    if facts is None or not facts.per_axis:
        return ""
    if not node.operand(facts.operand).is_constant:
        return "its weights are computed at run time"
    bias = None if facts.bias is None else node.optional_operand(facts.bias)
    return "its bias is computed at run time" if bias is not None and not bias.is_constant else ""


def _activations(node: Node, role: Role) -> list[Value]:
    return [node.operand(index) for index in role.data if not node.operand(index).is_constant]


def _in_island(value: Value, roles: Roles) -> bool:
    return value.producer is not None and roles[value.producer].treatment is Treatment.FLOAT


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
    return any(_reads_all(node, index, roles[node]) for node, index in value.uses)


def _reads_all(node: Node, index: int, role: Role) -> bool:
    if role.treatment is Treatment.LINKED:
        return spec_of(node).quant.blends
    return role.treatment is Treatment.FLOAT or index in role.data


def quantized_values(graph: Graph, roles: Roles) -> list[Value]:
    """Return the real values that an int8 node makes or reads or that cross the model's border, in order."""
    results = [result for node in graph for result in node.results]
    return [
        value
        for value in (*graph.inputs, *results)
        if is_real(value) and (value.is_graph_output or _touches_int8(value, roles))
    ]


def _touches_int8(value: Value, roles: Roles) -> bool:
    producer = value.producer
    made = producer is None or roles[producer].quantized
    return made or any(roles[user].quantized for user in value.users)


def observed_values(graph: Graph) -> list[Value]:
    """Return the values whose ranges `quantize_int8` will ask for: what calibration has to watch."""
    roles = assign_roles(graph)
    return [
        value
        for value in quantized_values(graph, roles)
        if not is_fixed(value, roles)
        and (needs_whole_range(value, graph, roles) or any(joins(user, roles[user]) for user in value.users))
    ]
