"""Weighted nodes as batches of matrix products: `y[g, p, m] = Σ_k W[g, m, k] · x[g, p, k] + b[g, m]`.

node                 weights               groups g   outputs m   columns k
conv_2d              [O, h, w, I / g]      I / depth  O / g       h · w · I / g
depthwise_conv_2d    [1, h, w, C · m]      C          multiplier  h · w
transpose_conv       [O, h, w, I]          1          O           h · w · I
fully_connected      [O, I]                1          O           I
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np

from edgec.ir import DYNAMIC, Array, DType, Graph, Node, Value
from edgec.ops import spec_of
from edgec.quantize.parameters import Floats

KINDS = ("conv_2d", "depthwise_conv_2d", "transpose_conv", "fully_connected")

MAX_COLUMNS = 2304
"""A 3x3 convolution of 256 channels: its second moments take 42 MB a copy, and seconds to factorize."""


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """One weighted node of one graph and the operands that make it a matrix product."""

    node: Node
    data_index: int
    weights_index: int
    bias_index: int

    @property
    def name(self) -> str:
        """What diagnostics call the node."""
        return self.node.source or self.node.results[0].name

    @property
    def data(self) -> Value:
        """The activation tensor that the node reads."""
        return self.node.operand(self.data_index)

    @property
    def weights(self) -> Value:
        """The constant weights."""
        return self.node.operand(self.weights_index)

    @property
    def outputs(self) -> int:
        """Number of output channels: entries of the bias and of per-axis scales."""
        return self.weights.shape[3 if self._depthwise else 0]

    @property
    def groups(self) -> int:
        """Number of independent matrix products."""
        if self._depthwise:
            return self.data.shape[3]
        return self.data.shape[3] // self.weights.shape[3] if self.node.kind == "conv_2d" else 1

    @property
    def group_inputs(self) -> int:
        """Number of channels that one group reads."""
        return 1 if self._depthwise else self.weights.shape[-1]

    @property
    def columns(self) -> int:
        """Number of weights that one output channel has."""
        return prod(self.weights.shape) // self.outputs

    @property
    def _depthwise(self) -> bool:
        return self.node.kind == "depthwise_conv_2d"

    def matrix(self, tensor: Array) -> Floats:
        """Return weights as float64 [groups, outputs of a group, columns]."""
        real = tensor.astype(np.float64)
        if self._depthwise:
            return real.reshape(self.columns, self.groups, -1).transpose(1, 2, 0)
        return real.reshape(self.groups, -1, self.columns)

    def tensor(self, matrix: Array) -> Array:
        """Return a matrix in the shape of the node's weights: the inverse of `matrix`."""
        if self._depthwise:
            matrix = matrix.transpose(2, 0, 1)
        return np.ascontiguousarray(matrix.reshape(self.weights.shape))

    def per_output(self, vector: Floats) -> Floats:
        """Return one number an output channel as [groups, outputs of a group]."""
        return vector.reshape(self.groups, -1)

    def bias(self) -> Floats:
        """Return the bias, zeros where the node has none, as [groups, outputs of a group]."""
        bias = self.node.optional_operand(self.bias_index)
        vector = np.zeros(self.outputs) if bias is None else bias.constant().astype(np.float64)
        return self.per_output(vector)


def weighted_layers(graph: Graph) -> list[Layer]:
    """Return every node of a weighted kind, in execution order: the same list in every form of a model."""
    return [_layer(node) for node in graph if node.kind in KINDS]


def why_not(layer: Layer) -> str:
    """Return why a float layer's weights cannot be chosen, empty where they can."""
    bias = layer.node.optional_operand(layer.bias_index)
    if layer.weights.data is None or layer.weights.dtype is not DType.FLOAT32:
        return "its weights are no float32 constant"
    if layer.data.is_constant or (bias is not None and bias.data is None):
        return "its activation is a constant or its bias is none"
    if sum(user.graph is layer.node.graph for user in layer.weights.users) > 1:
        return "other nodes read the same weights"
    if layer.data.type.rank and layer.data.shape[-1] == DYNAMIC:
        return "its number of input channels is known at run time only"
    if layer.columns > MAX_COLUMNS:
        return f"an output has {layer.columns} weights, more than {MAX_COLUMNS}"
    return ""


def _layer(node: Node) -> Layer:
    facts = spec_of(node).quant.weights
    assert facts is not None and facts.bias is not None
    return Layer(node, facts.data, facts.operand, facts.bias)
