"""When each activation tensor must be in memory, as each runtime sees it.

node       0      1      2      3
x          ████████                 read last by node 1
a                 ████████
y                        ████████   graph output: to the end
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from edgec.ir import DYNAMIC, Graph, Node, Value
from edgec.ops import spec_of
from edgec.ops.spec import InPlace


@dataclass(frozen=True, slots=True)
class Buffer:
    """Bytes that one or more tensors share, from node `first` to node `last`, both included.

    `whole_run` marks a graph input or output that is in memory from the first node to the end.
    """

    names: tuple[str, ...]
    size: int
    first: int
    last: int
    whole_run: bool = False

    def overlaps(self, other: Buffer) -> bool:
        """Whether both must be in memory at some node."""
        return self.first <= other.last and other.first <= self.last


def byte_size(value: Value) -> int:
    """Return the bytes of a tensor; a dynamic dimension counts as 1, which is what the file says."""
    elements = prod(1 if dim == DYNAMIC else dim for dim in value.shape)
    return elements * value.dtype.numpy.itemsize


def tflm_buffers(graph: Graph) -> list[Buffer]:
    """Return one buffer a tensor: inputs from the start to their last reader, outputs to the end."""
    return [
        Buffer((value.name,), byte_size(value), first, last)
        for value, (first, last) in _lifetimes(graph).items()
    ]


def litert_buffers(graph: Graph) -> list[Buffer]:
    """Return buffers as LiteRT's builtin kernels share them; inputs are kept for the whole run."""
    lifetimes = _lifetimes(graph)
    end = max(len(graph) - 1, 0)
    lifetimes.update((value, (0, end)) for value in graph.inputs)
    groups = _shared_groups(graph)
    buffers: list[Buffer] = []
    for value in lifetimes:
        group = groups.get(value, [value])
        if group[0] is value:
            first = min(lifetimes[member][0] for member in group)
            last = max(lifetimes[member][1] for member in group)
            whole_run = first == 0 and (value in graph.inputs or value.is_graph_output)
            names = tuple(member.name for member in group)
            buffers.append(Buffer(names, byte_size(value), first, last, whole_run))
    return buffers


def _lifetimes(graph: Graph) -> dict[Value, tuple[int, int]]:
    """Map inputs and results, in order of creation, to the nodes of their first and last use."""
    end = max(len(graph) - 1, 0)
    found: dict[Value, tuple[int, int]] = dict.fromkeys(graph.inputs, (0, 0))
    for index, node in enumerate(graph):
        for value in node.operands:
            if value in found:
                found[value] = (found[value][0], index)
        found.update((result, (index, index)) for result in node.results)
    for value in graph.outputs:
        if value in found:
            found[value] = (found[value][0], end)
    return found


def _shared_groups(graph: Graph) -> dict[Value, list[Value]]:
    """Map tensors that share a buffer to all who share it, the first owner first."""
    groups: dict[Value, list[Value]] = {}
    fixed = {*graph.inputs, *graph.outputs}
    for node in graph:
        operand = _reused_operand(node, groups, fixed)
        if operand is not None:
            group = groups.setdefault(operand, [operand])
            group.append(node.results[0])
            groups[node.results[0]] = group
    return groups


def _reused_operand(node: Node, groups: dict[Value, list[Value]], fixed: set[Value]) -> Value | None:
    how = spec_of(node).in_place
    if how is InPlace.NEVER or node.results[0] in fixed:
        return None
    for operand in node.operands:
        if operand is None or operand.is_constant or operand in fixed:
            continue
        if byte_size(operand) != byte_size(node.results[0]):
            continue
        if how is InPlace.ALIASES or _only_reader(node, groups.get(operand, [operand])):
            return operand
    return None


def _only_reader(node: Node, group: Sequence[Value]) -> bool:
    """Whether no node but this one, once, and the makers of the group read what the group holds."""
    inside = {value.producer for value in group[1:]}
    uses = [user for value in group for user, _ in value.uses if user not in inside]
    return uses == [node]
