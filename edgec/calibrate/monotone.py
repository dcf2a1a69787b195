"""Extremes that follow from another tensor's: y = clamp(x + c) or clamp(x * c), with one constant for all.

Rounding never changes an order: the largest y is the y of the largest x, bit for bit. So the steps of a hard
swish that is written out need no reductions of their own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgec.ir import Value

Floats32 = npt.NDArray[np.float32]

_CLAMPS = {
    "NONE": (-math.inf, math.inf),
    "RELU": (0.0, math.inf),
    "RELU6": (0.0, 6.0),
    "RELU_N1_TO_1": (-1.0, 1.0),
}


@dataclass(frozen=True, slots=True)
class Step:
    """How a tensor follows from `source`; never falling."""

    source: Value
    kind: str
    constant: np.float32
    clamp: tuple[float, float]

    def apply(self, values: Floats32) -> Floats32:
        """Return what the kernel makes of these values."""
        match self.kind:
            case "add":
                made = values + self.constant
            case "sub":
                made = values - self.constant
            case _:
                made = values * self.constant
        return np.clip(made, np.float32(self.clamp[0]), np.float32(self.clamp[1]))


def step_of(value: Value) -> Step | None:
    """Return how a value follows from another by a constant, or None."""
    node = value.producer
    if node is None or node.kind not in ("add", "sub", "mul") or len(node.operands) != 2:
        return None
    source, constant = node.operand(0), node.operand(1)
    if source.is_constant and node.kind != "sub":
        source, constant = constant, source
    if source.is_constant or constant.data is None or constant.data.size != 1:
        return None
    number = np.float32(constant.data.reshape(-1)[0])
    fused = getattr(getattr(node.attributes, "fused_activation_function", None), "name", "NONE")
    if not np.isfinite(number) or (node.kind == "mul" and number <= 0) or fused not in _CLAMPS:
        return None
    return Step(source, node.kind, number, _CLAMPS[fused])
