"""Estimated cost of a quantized model: work weighted by how slow a target's kernels are in each element type.

    cost = Σ over nodes  (multiply-accumulates + elements written) · factor(element type)

An estimate to rank recipes by, not a latency: the benchmark on the board measures that.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from edgec.ir import DType, Model, Node
from edgec.ops import spec_of

FACTORS: Mapping[str, Mapping[DType, float]] = {
    "litert_xnnpack": {DType.INT8: 1.0, DType.FLOAT32: 2.0, DType.INT16: 80.0},
    "tflm": {DType.INT8: 1.0, DType.INT16: 2.0, DType.FLOAT32: 8.0},
}
"""Time of one operation relative to int8, by kernel library.

XNNPACK, measured on MobileNetV2 with one thread: 3.2 ms in int8, 6.8 ms in float, 255 ms in int16, which it
leaves to kernels without SIMD. TFLM, an assumption for Cortex-M: int16 halves the SIMD lanes, float has none.
"""

_BRIDGE = 4.0
"""Bytes moved per element of a quantize or dequantize node, in operations."""


def estimate_cost(model: Model, profile: str) -> float:
    """Return the cost of one inference; only ratios of two costs for one profile mean anything."""
    factors = FACTORS[profile]
    return math.fsum(_work(node) * factors.get(_arithmetic(node), 1.0) for node in model.graph)


def cheapest_first(profile: str, kinds: tuple[DType, ...] = (DType.INT16, DType.FLOAT32)) -> list[DType]:
    """Return the element types of islands, the cheaper one first."""
    return sorted(kinds, key=lambda kind: FACTORS[profile][kind])


def _work(node: Node) -> float:
    elements = sum(max(result.type.size, 0) for result in node.results)
    if node.kind in ("quantize", "dequantize"):
        return _BRIDGE * elements
    return float(spec_of(node).macs(node) + elements)


def _arithmetic(node: Node) -> DType:
    """Return the widest element type among a node's activations: the kernel works in it."""
    found = {v.dtype for v in (*node.operands, *node.results) if v is not None and v.producer is not None}
    for kind in (DType.FLOAT32, DType.INT16):
        if kind in found and node.kind not in ("quantize", "dequantize"):
            return kind
    return DType.INT8
