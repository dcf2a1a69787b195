"""What multiplies or shifts a node's input channels moves into its weights and bias (input normalization).

w · (s x)     =  (w s) · x              zeros stay zeros: right under any padding
w · (x + t)   =  w · x + w · t          only where no window sees padding
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgec.ir import Node, Value
from edgec.ops import Builder, Padding
from edgec.ops.spec import Weights
from edgec.passes.canonicalize.matching import NONE, activation_of, float_constant, owned, uniform
from edgec.passes.contract import RulePass
from edgec.passes.fuse.weighted import (
    Wide,
    bias_of,
    fits_float32,
    per_channel,
    rebuilt,
    weights_of,
    with_numbers,
)
from edgec.rewrite import NoMatch, no_match


@dataclass(frozen=True, slots=True)
class FuseScaleBefore:
    """conv_2d(x * s + t, w, b) → conv_2d(x, w s, b + w t)

    s and t hold one number, or one a channel. `pad` by zeros may stand between a product and its reader, and
    a reshape between either and a fully_connected.
    """

    name: str = "fuse_scale_before"
    kinds: tuple[str, ...] = ("conv_2d", "depthwise_conv_2d", "transpose_conv", "fully_connected")

    def apply(self, node: Node, build: Builder) -> Sequence[Value] | NoMatch:
        """Fold the constant if nobody else reads what it made."""
        facts = weights_of(node)
        if facts is None:
            return no_match("the weights or the bias are not constant")
        data = node.operand(facts.data)
        between = owned(data, "reshape" if node.kind == "fully_connected" else "pad")
        inner = owned(data if between is None else between.operand(0), "mul", "add")
        if inner is None or activation_of(inner) is not NONE or inner.operand(0).shape != inner.result.shape:
            return no_match("the operand is not an unshared product or sum without activation")
        if inner.kind == "add" and _sees_padding(node, between):
            return no_match("windows see padding, which the sum does not shift")
        columns = _columns(node, inner)
        if columns is None:
            return no_match("the constant does not vary along the channels alone")
        weights, bias = _numbers(node, facts, inner.kind, columns)
        if not fits_float32(weights, bias):
            return no_match("the folded numbers do not fit float32")
        x = inner.operand(0) if between is None else rebuilt(build, between, {0: inner.operand(0)})
        activation, changes = activation_of(node), {facts.data: x}
        return [
            with_numbers(
                build, node, facts, weights=weights, bias=bias, activation=activation, changes=changes
            )
        ]


def _numbers(node: Node, facts: Weights, kind: str, columns: Wide) -> tuple[Wide | None, Wide | None]:
    """Return the weights times the columns of a product, or the bias plus what a sum contributes."""
    product = np.multiply(node.operand(facts.operand).constant(), columns)
    if kind == "mul":
        return product, None
    others = tuple(axis for axis in range(product.ndim) if axis != facts.quantized_dimension)
    shift, bias = product.sum(axis=others), bias_of(node, facts)
    return None, shift if bias is None else bias + shift


def _sees_padding(node: Node, between: Node | None) -> bool:
    """Whether cells outside the data, which a sum does not shift, enter any window."""
    if node.kind == "fully_connected":
        return False
    if node.kind == "transpose_conv" or (between is not None and between.kind == "pad"):
        return True  # at the border of a transpose_conv fewer taps add up
    kernel = node.operand(1).shape[1:3]
    return getattr(node.attributes, "padding", Padding.SAME) is Padding.SAME and kernel != (1, 1)


def _columns(node: Node, inner: Node) -> Wide | None:
    """Return the constant in float64, shaped to broadcast with the node's weights along their inputs."""
    constant, x = inner.operand(1), inner.operand(0)
    weights = node.operand(1)
    if node.kind == "fully_connected":
        return _columns_of_rows(constant, x, weights.shape[1])
    channels = per_channel(constant, x.shape[-1])
    if channels is None:
        return None
    if node.kind == "depthwise_conv_2d":
        return np.repeat(channels, weights.shape[3] // x.shape[-1])
    groups = x.shape[-1] // weights.shape[3]
    of_group = channels.reshape(groups, weights.shape[3])
    return np.repeat(of_group, weights.shape[0] // groups, axis=0)[:, None, None, :]


def _columns_of_rows(constant: Value, x: Value, depth: int) -> Wide | None:
    """Return one number a column where every row of the flattened operand meets the same ones."""
    data = float_constant(constant)
    if data is None or not x.type.is_static or x.type.size % depth:
        return None
    rows = np.broadcast_to(data.astype(np.float64), x.shape).reshape(-1, depth)
    return rows[:1] if rows.size and bool((rows == rows[0]).all()) else None


@dataclass(frozen=True, slots=True)
class SinkScaleBelowShift:
    """conv_2d((x * s + t), w) {SAME} → conv_2d((x + t/s) * s, w) {SAME}, so that s moves into w

    Where windows see padding the sum must stay, and would keep the product before it from moving. t/s is
    rounded to within 2^-24 of itself, which s turns back into 2^-24 of t: as the sum rounded already.

    Only for one s: with one a channel, the sum's range would differ by channel, but int8 has one scale.
    """

    name: str = "sink_scale_below_shift"
    kinds: tuple[str, ...] = ("conv_2d", "depthwise_conv_2d")

    def apply(self, node: Node, build: Builder) -> Sequence[Value] | NoMatch:
        """Swap an unshared product and sum of constants."""
        pad = owned(node.operand(0), "pad")
        shift = owned(node.operand(0) if pad is None else pad.operand(0), "add")
        scale = None if shift is None else owned(shift.operand(0), "mul")
        if shift is None or scale is None or not _sees_padding(node, pad):
            return no_match("not a padded convolution of an unshared x * s + t")
        if activation_of(shift) is not NONE or activation_of(scale) is not NONE:
            return no_match("an activation stands between")
        x, s = scale.operand(0), uniform(scale.operand(1))
        t = per_channel(shift.operand(1), shift.result.shape[-1])
        if not s or t is None or weights_of(node) is None or x.shape != shift.result.shape:
            return no_match("the factor is not one number, or the sum does not vary along the channels alone")
        if not fits_float32(t / s):
            return no_match("the shift divided by the factor does not fit float32")
        moved = build.constant((t / s).astype(np.float32), name=shift.operand(1).name)
        y = build.op("mul", [build.op("add", [x, moved]), scale.operand(1)])
        return [rebuilt(build, node, {0: y if pad is None else rebuilt(build, pad, {0: y})})]


FUSE_SCALE_BEFORE = RulePass("fuse_scale_before", (FuseScaleBefore(), SinkScaleBelowShift()))
