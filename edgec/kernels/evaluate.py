"""Computes constants: movement in NumPy, everything else by the kernel that would run on the device."""

from __future__ import annotations

from collections.abc import Sequence

from edgec.emit import emit
from edgec.ir import Array, Graph, Model, Node, Value
from edgec.kernels.litert import KernelSet, Runner
from edgec.ops import spec_of


def evaluate(nodes: Sequence[Node], wanted: Sequence[Value]) -> list[Array]:
    """Return the data of `wanted`, computed by `nodes` (in execution order) from constants alone.

    Runs with the builtin kernels: packing weights for a delegate would cost more than one run gains.
    KernelError where LiteRT refuses a node.
    """
    known: dict[Value, Array] = {}
    remaining = [node for node in nodes if not _fold_in_numpy(node, known)]
    missing = [value for value in wanted if value not in known]
    if missing:
        known.update(zip(missing, _run(remaining, missing, known), strict=True))
    return [known[value] for value in wanted]


def fold_nodes(graph: Graph, nodes: Sequence[Node]) -> None:
    """Replace the results of `nodes`, which read constants alone, by constants and remove the nodes."""
    inside = set(nodes)
    wanted = [
        result
        for node in nodes
        for result in node.results
        if result.is_graph_output or any(user not in inside for user in result.users)
    ]
    for value, data in zip(wanted, evaluate(nodes, wanted), strict=True):
        graph.replace_uses(value, Value(value.name, value.type.with_shape(data.shape), data))
    for node in reversed(nodes):
        graph.remove(node)


def _fold_in_numpy(node: Node, known: dict[Value, Array]) -> bool:
    spec = spec_of(node)
    if spec.fold is None or any(v is not None and v.data is None for v in node.operands):
        return False
    folded = spec.fold(node)
    if folded is None:
        return False
    known.update(zip(node.results, folded, strict=True))
    return True


def _run(nodes: Sequence[Node], wanted: Sequence[Value], known: dict[Value, Array]) -> list[Array]:
    graph = Graph("constants")
    copies: dict[Value, Value] = {}

    def copy_of(value: Value | None) -> Value | None:
        if value is None:
            return None
        if value not in copies:
            copies[value] = Value(graph.unique_name(value.name), value.type, known.get(value, value.data))
        return copies[value]

    for node in nodes:
        operands = [copy_of(value) for value in node.operands]
        results = [copy_of(value) for value in node.results]
        graph.insert(Node(node.kind, operands, [r for r in results if r], node.attributes, node.source))
    graph.set_outputs([copies[value] for value in wanted])
    runner = Runner(emit(Model(graph)).to_bytes(), kernels=KernelSet.BUILTIN)
    arrays = runner.run([])
    return [
        array.reshape(value.shape) if value.type.is_static else array
        for array, value in zip(arrays, wanted, strict=True)
    ]
