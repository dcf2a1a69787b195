"""Nodes with weights and bias: how rules read them and build them again with other numbers.

For channel i of the output, with w_i the slice of the weights along the registry's `quantized_dimension`:

    y_i = w_i · x + b_i
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from edgec.ir import Node, Value
from edgec.ops import ActivationFunctionType, Builder, spec_of
from edgec.ops.spec import Weights
from edgec.passes.canonicalize.matching import NONE, activated, activation_of, float_constant

Wide = npt.NDArray[np.float64]
"""Numbers on their way from float32 to float32: rounded once, at the end."""

KINDS_WITHOUT_ACTIVATION = ("transpose_conv",)
"""Fused activations arrived with version 4 of transpose_conv: older runtimes and XNNPACK do not know them."""


def weights_of(node: Node) -> Weights | None:
    """Return where a node holds float weights and a bias; None for kinds or nodes without."""
    facts = spec_of(node).quant.weights
    if facts is None or facts.bias is None or float_constant(node.operand(facts.operand)) is None:
        return None
    bias = node.optional_operand(facts.bias)
    return facts if bias is None or float_constant(bias) is not None else None


def channels_of(node: Node, facts: Weights) -> int:
    """Return the number of output channels."""
    return node.operand(facts.operand).shape[facts.quantized_dimension]


def along(vector: Wide, rank: int, axis: int) -> Wide:
    """Return a vector shaped to broadcast along one axis."""
    shape = [1] * rank
    shape[axis] = -1
    return vector.reshape(shape)


def bias_of(node: Node, facts: Weights) -> Wide | None:
    """Return the bias, None where it is absent."""
    value = None if facts.bias is None else node.optional_operand(facts.bias)
    return None if value is None else value.constant().astype(np.float64)


def per_channel(constant: Value, channels: int) -> Wide | None:
    """Return a constant that varies along the last axis alone as a vector, one entry a channel."""
    data = float_constant(constant)
    if data is None or data.size not in (1, channels) or (data.ndim and data.shape[-1] != data.size):
        return None
    return np.broadcast_to(data.reshape(-1).astype(np.float64), (channels,))


def fits_float32(*numbers: Wide | None) -> bool:
    """Whether all numbers are finite and within float32's range."""
    largest = np.finfo(np.float32).max
    return all(wide is None or bool(np.all(np.abs(wide) <= largest)) for wide in numbers)


def rebuilt(
    build: Builder,
    node: Node,
    changes: Mapping[int, Value],
    activation: ActivationFunctionType | None = None,
) -> Value:
    """Build a node again with some operands, or its fused activation, changed; it keeps its source."""
    operands = [*node.operands, *[None] * (max(changes, default=0) + 1 - len(node.operands))]
    for index, value in changes.items():
        operands[index] = value
    attributes = node.attributes
    if activation is not None and activation is not activation_of(node):
        attributes = replace(attributes, fused_activation_function=activation)
    own = Builder(build.graph, build.before, node.source or build.source, build.made)
    return own.op(node.kind, operands, attributes)


def with_numbers(
    build: Builder,
    node: Node,
    facts: Weights,
    *,
    weights: Wide | None = None,
    bias: Wide | None = None,
    activation: ActivationFunctionType = NONE,
    changes: Mapping[int, Value] | None = None,
) -> Value:
    """Build a node again with other weights, bias (None: as they are) and fused activation."""
    operands = dict(changes or {})
    for index, wide in ((facts.operand, weights), (facts.bias, bias)):
        if wide is not None and index is not None:
            old = node.optional_operand(index)
            data = np.ascontiguousarray(wide, np.float32)
            operands[index] = build.constant(data, name=old.name if old is not None else "")
    if node.kind in KINDS_WITHOUT_ACTIVATION:
        return activated(build, rebuilt(build, node, operands), activation)
    return rebuilt(build, node, operands, activation)


def replayed(build: Builder, x: Value, chain: Sequence[Node]) -> Value:
    """Apply nodes again, in order, to another value in place of their operand 0."""
    for node in chain:
        x = rebuilt(build, node, {0: x})
    return x
