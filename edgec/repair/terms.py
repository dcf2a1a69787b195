"""The terms of `noise`, read off a graph: what shares a scale, and which weights read which channels."""

from __future__ import annotations

import numpy as np

from edgec.ir import Graph, Value
from edgec.quantize.roles import Roles, Treatment, is_real
from edgec.repair.axes import has_axes, largest, reads_one, taps
from edgec.repair.channels import Statistics
from edgec.repair.freedom import Freedom
from edgec.repair.noise import ActivationTerm, WeightTerm
from edgec.repair.reach import joined, lower_side, upper_side
from edgec.repair.sensitivity import Hearing, before_activation


def activation_terms(
    graph: Graph,
    roles: Roles,
    statistics: Statistics,
    freedom: Freedom,
    hearing: Hearing,
) -> list[ActivationTerm]:
    """Return one term for each group of activations that share a scale."""
    found: list[ActivationTerm] = []
    for group in _scale_groups(graph, roles):
        rounded = [v for v in group if v in hearing.fresh and _is_rounded(v, roles)]
        if not rounded:
            continue
        labels = [freedom.channels(v) for v in rounded]
        seen = [statistics[v.name] for v in rounded]
        heard = [hearing.fresh[v].white for v in rounded]
        clipped = [hearing.shaped[v].white for v in rounded]  # what is cut off looks like the signal
        found.append(
            ActivationTerm(
                rounded[-1].producer,
                np.concatenate(labels),
                joined([upper_side(s, h) for s, h in zip(seen, clipped, strict=True)]),
                joined([lower_side(s, h) for s, h in zip(seen, clipped, strict=True)]),
                np.concatenate([s.nonzero * h for s, h in zip(seen, heard, strict=True)]),
            )
        )
    return found


def _is_rounded(value: Value, roles: Roles) -> bool:
    return value.producer is None or roles[value.producer].treatment is Treatment.FREE


def _scale_groups(graph: Graph, roles: Roles) -> list[list[Value]]:
    parent: dict[Value, Value] = {}

    def root(value: Value) -> Value:
        while parent.setdefault(value, value) is not value:
            value = parent[value]
        return value

    for node in graph:
        role = roles[node]
        real = [v for v in node.results if is_real(v)]
        if role.treatment is Treatment.LINKED:
            real += [node.operand(i) for i in role.data if not node.operand(i).is_constant]
        for value in real:
            root(value)
        if role.treatment is Treatment.LINKED:
            for value in real[1:]:
                parent[root(value)] = root(real[0])
    for value in graph.inputs:
        if is_real(value):
            root(value)
    groups: dict[Value, list[Value]] = {}
    for value in parent:
        groups.setdefault(root(value), []).append(value)
    return list(groups.values())


def weight_terms(
    graph: Graph,
    roles: Roles,
    statistics: Statistics,
    freedom: Freedom,
    hearing: Hearing,
    per_tensor_kinds: frozenset[str] = frozenset(),
) -> list[WeightTerm]:
    """Return one term for each node with constant weights; biases take the mean of its noise back."""
    found: list[WeightTerm] = []
    for node in graph:
        if roles[node].weights is None or not has_axes(node):
            continue
        if not node.result.type.is_static:
            continue
        x, y = node.operand(roles[node].data[0]), node.result
        per_axis = node.kind not in per_tensor_kinds
        if per_axis and reads_one(node):
            continue  # one input channel a scale: factors cancel
        by_pair = largest(node)
        inputs = freedom.channels(x)
        seen, inner = statistics[x.name], before_activation(node, hearing.shaped[y], statistics)
        repeats = by_pair.shape[0] * by_pair.shape[2] // len(inputs)
        white = seen.second_moment - seen.coherent
        shared = np.maximum(seen.coherent - seen.mean**2, 0.0)
        heard = taps(node) * np.stack([inner.white, inner.coherent])
        read = np.tile(np.stack([white, shared]), repeats)
        labels = np.tile(inputs, repeats), freedom.channels(y)
        found.append(WeightTerm.of(node, *labels, by_pair, heard, read, per_axis))
    return found
