"""Clamps whose bounds are far beyond the integers: relu6 of values below 1e-6 is relu.

    conv_2d(x, w, b) {RELU6}, 6 / s > 2^24   → conv_2d(x, w, b) {RELU}
    {RELU_N1_TO_1}, 1 / s > 2^24             → no activation

Kernels hold a bound in steps of the result, and LiteRT does not load a model where it exceeds 32 bits
(`no_integer_overflow_from_quantization`, lite/kernels/kernel_util.cc). Such a bound never clips: integers of
8 and 16 bits end long before.
"""

from __future__ import annotations

from dataclasses import replace

from edgec.ir import Graph, Node
from edgec.ops import ActivationFunctionType, Builder
from edgec.passes.canonicalize.matching import ACTIVATION_BOUNDS, ACTIVATION_KINDS, NONE, activation_of

_MOST_STEPS = 2**24
_WITHOUT_HIGH = {
    ActivationFunctionType.RELU6: ActivationFunctionType.RELU,
    ActivationFunctionType.RELU_N1_TO_1: NONE,
}


def drop_idle_bounds(graph: Graph) -> None:
    """Weaken the activations of quantized nodes, fused or nodes of their own, where nothing is clipped."""
    for node in graph:
        fused = activation_of(node)
        if _is_idle(fused, node):
            node.attributes = replace(node.attributes, fused_activation_function=_WITHOUT_HIGH[fused])
        own = next((key for key, kind in ACTIVATION_KINDS.items() if kind == node.kind), NONE)
        if _is_idle(own, node):
            _replace(node, _WITHOUT_HIGH[own], graph)


def _is_idle(activation: ActivationFunctionType, node: Node) -> bool:
    quantization = node.results[0].type.quantization if node.results else None
    if activation not in _WITHOUT_HIGH or quantization is None:
        return False
    return ACTIVATION_BOUNDS[activation][1] > _MOST_STEPS * quantization.scale[0]


def _replace(node: Node, activation: ActivationFunctionType, graph: Graph) -> None:
    """Put the weaker node in a node's place; requantize where nothing else is left of it."""
    kind = ACTIVATION_KINDS.get(activation, "quantize")
    result = Builder(graph, node, node.source).op(kind, [node.operand(0)])
    result.type = node.result.type
    graph.replace_node(node, [result])
