"""Matrix products with constants, and selections by constant conditions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from edgec.ir import DType, Node, Value
from edgec.ops import Builder
from edgec.ops.infer import expect
from edgec.ops.matmul import BatchMatMulAttributes, FullyConnectedAttributes
from edgec.passes.canonicalize.matching import float_constant, forward
from edgec.rewrite import NoMatch, no_match


@dataclass(frozen=True, slots=True)
class MatMulToFullyConnected:
    """batch_matmul(x, constant [K, N]) → fully_connected(x, constantᵀ): weights may be int8 per axis then"""

    name: str = "matmul_to_fully_connected"
    kinds: tuple[str, ...] = ("batch_matmul",)

    def apply(self, node: Node, build: Builder) -> Sequence[Value] | NoMatch:
        """Store the constant as [units, depth]."""
        x, y = node.operand(0), node.operand(1)
        options = expect(node.attributes, BatchMatMulAttributes)
        data = float_constant(y)
        if data is None or x.is_constant or options.adj_x:
            return no_match("the right side is not the only float constant, or the left is transposed")
        if prod(y.shape[:-2]) != 1 or x.type.rank < y.type.rank or x.dtype is not DType.FLOAT32:
            return no_match(f"{list(y.shape)} holds more than one matrix for {x.type}")
        matrix = data.reshape(y.shape[-2:])
        weights = np.ascontiguousarray(matrix if options.adj_y else matrix.T)
        attributes = FullyConnectedAttributes(keep_num_dims=x.type.rank > 2)
        return [build.op("fully_connected", [x, build.constant(weights, name=y.name), None], attributes)]


@dataclass(frozen=True, slots=True)
class EliminateConstantSelect:
    """select_v2(all true, x, y) → x;  select_v2(all false, x, y) → y"""

    name: str = "eliminate_constant_select"
    kinds: tuple[str, ...] = ("select_v2",)

    def apply(self, node: Node, build: Builder) -> Sequence[Value] | NoMatch:
        """Forward the side that is always taken, if it has the result's shape already."""
        condition = node.operand(0).data
        if condition is None or not condition.size or condition.min() != condition.max():
            return no_match("the condition is not constant and the same everywhere")
        taken = node.operand(1 if condition.flat[0] else 2)
        if taken.shape != node.result.shape:
            return no_match(f"{list(taken.shape)} broadcasts to {list(node.result.shape)}")
        return forward(node, taken)
