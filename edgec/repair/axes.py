"""Weights by what their axes mean: [group, output, input], whatever the kernel's order.

A dense layer is one group. A depthwise convolution is as many groups as it has inputs, of one input each.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgec.ir import Node
from edgec.ops import spec_of
from edgec.ops.spec import Weights
from edgec.repair.channels import Floats


def _facts(node: Node) -> Weights:
    facts = spec_of(node).quant.weights
    assert facts is not None and facts.axes, f"{node} has no weights by channel"
    return facts


def has_axes(node: Node) -> bool:
    """Whether the weights of a node's kind have axes of channels."""
    facts = spec_of(node).quant.weights
    return facts is not None and bool(facts.axes)


def scatters(node: Node) -> bool:
    """Whether an element of the data adds a kernel to the result."""
    return _facts(node).scatters


def reads_one(node: Node) -> bool:
    """Whether each output channel reads one input channel."""
    return "i" not in _facts(node).axes


def largest(node: Node) -> Floats:
    """Return the largest magnitude among the taps of each pair of channels."""
    return _by_pair(node, np.abs(node.operand(_facts(node).operand).constant()).max)


def tap_sums(node: Node, of: Callable[[Floats], Floats]) -> Floats:
    """Return the sum of something over the taps of each pair of channels."""
    return _by_pair(node, of(node.operand(_facts(node).operand).constant().astype(np.float64)).sum)


def taps(node: Node) -> int:
    """Return how many weights a pair of channels has."""
    facts = _facts(node)
    shape = node.operand(facts.operand).shape
    return int(np.prod([size for size, axis in zip(shape, facts.axes, strict=True) if axis in "yx"]))


def _by_pair(node: Node, reduce: Callable[..., Floats]) -> Floats:
    facts = _facts(node)
    channels = node.operand(facts.data).shape[-1]
    found = reduce(axis=tuple(index for index, axis in enumerate(facts.axes) if axis not in "oi"))
    if found.ndim == 1:
        return found.reshape(channels, -1, 1).astype(np.float64)
    depth = found.shape[1]
    groups = max(channels // depth, 1)  # a dense layer may read several axes as one
    return found.reshape(groups, -1, depth).astype(np.float64)


def rescaled(node: Node, into: Floats, out: Floats) -> Floats:
    """Return the weights that undo factors of the input channels and make those of the outputs."""
    facts = _facts(node)
    weights = node.operand(facts.operand).constant().astype(np.float64)
    if reads_one(node):
        return weights * (out / np.repeat(into, len(out) // len(into)))
    by_output = weights * out.reshape((-1,) + (1,) * (weights.ndim - 1))
    depth = weights.shape[-1]
    if depth >= len(into):
        return by_output / np.tile(into, depth // len(into))
    groups = len(into) // depth
    by_group = np.repeat(into.reshape(groups, -1), len(out) // groups, axis=0)
    return by_output / by_group.reshape(len(out), *(1,) * (weights.ndim - 2), depth)
