"""The terms of `noise`, read off a graph: what shares a scale, and which weights read which channels."""

from __future__ import annotations

import numpy as np

from edgec.ir import Graph, Node, Value
from edgec.quantize.roles import Roles, Treatment, is_real
from edgec.repair.channels import Floats, Statistics
from edgec.repair.freedom import Freedom
from edgec.repair.noise import NORM, ActivationTerm, WeightTerm
from edgec.repair.reach import joined, lower_side, upper_side
from edgec.repair.sensitivity import Hearing, before_activation

_TINY = 1e-200


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
    biases_corrected: bool = True,
    weight_noise: float = 1.0,
) -> list[WeightTerm]:
    """Return one term for each node with constant weights.

    `biases_corrected`: the mean of what rounded weights add is taken back (`bias`), the rest remains, times
    `weight_noise` where they are not rounded to the nearest of 8 bits.
    """
    found: list[WeightTerm] = []
    for node in graph:
        if roles[node].weights is None or node.kind not in WEIGHTS_BY_CHANNEL:
            continue
        if not node.result.type.is_static:
            continue
        x, y = node.operand(roles[node].data[0]), node.result
        per_axis = node.kind not in per_tensor_kinds
        if per_axis and node.kind == "depthwise_conv_2d":
            continue  # one input channel a scale: factors cancel
        largest, count = WEIGHTS_BY_CHANNEL[node.kind](node)
        inputs = freedom.channels(x)
        seen, inner = statistics[x.name], before_activation(node, hearing.shaped[y], statistics)
        repeats = largest.shape[1] // len(inputs)
        white = np.tile(seen.second_moment - seen.coherent, repeats)
        shared = np.tile(seen.coherent - (seen.mean**2 if biases_corrected else 0.0), repeats)
        power = np.outer(inner.white, white) + np.outer(inner.coherent, np.maximum(shared, 0.0))
        reference = largest.max(axis=1 if per_axis else None, keepdims=True)
        raised = (largest / np.maximum(reference, _TINY)) ** NORM
        labels = np.tile(inputs, repeats), freedom.channels(y)
        found.append(WeightTerm(node, *labels, largest, raised, weight_noise * count * power, per_axis))
    return found


def _dense(node: Node) -> tuple[Floats, Floats]:
    weights = np.abs(node.operand(1).constant().astype(np.float64))
    if weights.ndim == 2:
        return weights, np.ones_like(weights)
    area = weights.shape[1] * weights.shape[2]
    return _ungrouped(weights.max(axis=(1, 2)), node), _ungrouped(
        np.full((weights.shape[0], weights.shape[3]), float(area)), node
    )


def _ungrouped(by_group: Floats, node: Node) -> Floats:
    """Return a matrix over all inputs: a grouped convolution reads only its group's."""
    outputs, depth = by_group.shape
    channels = node.operand(node_input(node)).shape[-1]
    if depth == channels:
        return by_group
    full = np.zeros((outputs, channels))
    per_group = outputs // (channels // depth)
    for output in range(outputs):
        start = output // per_group * depth
        full[output, start : start + depth] = by_group[output]
    return full


def node_input(node: Node) -> int:
    """Return the operand index of a weighted node's activation."""
    return 2 if node.kind == "transpose_conv" else 0


def _depthwise(node: Node) -> tuple[Floats, Floats]:
    weights = np.abs(node.operand(1).constant().astype(np.float64))[0]
    outputs, channels = weights.shape[2], node.operand(0).shape[-1]
    reads = np.zeros((outputs, channels))
    reads[np.arange(outputs), np.arange(outputs) // (outputs // channels)] = 1.0
    return reads * weights.max(axis=(0, 1))[:, None], reads * (weights.shape[0] * weights.shape[1])


WEIGHTS_BY_CHANNEL = {
    "conv_2d": _dense,
    "fully_connected": _dense,
    "transpose_conv": _dense,
    "depthwise_conv_2d": _depthwise,
}
