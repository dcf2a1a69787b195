"""Attention: softmax(softcap(scale * Q K^T) + bias) V, with grouped heads and a key and value cache.

Heads of queries that share keys are rows of one matrix, so keys and values are never repeated:

    [B, H_kv * g, S_q, D] → [B, H_kv, g * S_q, D]     a reshape, since such heads are neighbours
    scores [B, H_kv, g * S_q, S_k] → [B, H_q, S_q, S_k]   to meet the mask, and back to meet the values

What a query may not see (mask.py's `Visible`) is set to the lowest float by select, not by adding -inf:
float kernels hold sums within the finite floats, and softmax of a row of -inf is NaN.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np

from edgec.frontends.onnx.context import LoweringContext, LoweringError
from edgec.frontends.onnx.lowerings.attention_mask import Visible, read_mask
from edgec.frontends.onnx.lowerings.movement import concatenated
from edgec.frontends.onnx.registry import lowers
from edgec.ir import Value
from edgec.ops.matmul import BatchMatMulAttributes

_LOWEST = float(np.finfo(np.float32).min)
_RAW, _CAPPED, _BIASED, _PROBABILITIES = range(4)


@dataclass(frozen=True, slots=True)
class _Heads:
    """Queries, keys and values as `[batch, heads, sequence, size]`; `packed` where the node has them 3-D."""

    queries: Value
    keys: Value
    values: Value
    packed: bool


@lowers("Attention", since=23)
def attention(ctx: LoweringContext) -> Sequence[Value | None]:
    """Scaled dot-product attention; results: Y, the grown caches, and the scores at the stage asked for."""
    heads = _read_heads(ctx)
    keys, values = (_grown(ctx, heads, index) for index in (4, 5))
    queries = heads.queries
    factor = ctx.float("scale") if ctx.has("scale") else 1 / sqrt(queries.shape[-1])
    scores = _scores(ctx, queries, keys, factor)
    capped = _capped(ctx, scores, ctx.float("softcap"))
    visible = read_mask(ctx, (queries.shape[2], keys.shape[2]))
    biased = _biased(ctx, capped, visible)
    probabilities = _probabilities(ctx, biased, visible)
    y = _weighted_values(ctx, probabilities, values)
    if heads.packed:
        y = ctx.build.transpose(y, [0, 2, 1, 3])
        y = ctx.build.reshape(y, [*y.shape[:2], y.shape[2] * y.shape[3]])
    shown: Value | None = None
    if ctx.wants_output(3):
        shown = (scores, capped, biased, probabilities)[_mode(ctx)]
        shown = _with_infinities(ctx, shown, visible) if _mode(ctx) == _BIASED else shown
    return [y, keys, values, shown][: ctx.output_count]


def _mode(ctx: LoweringContext) -> int:
    mode = ctx.int("qk_matmul_output_mode")
    if mode not in (_RAW, _CAPPED, _BIASED, _PROBABILITIES):
        raise LoweringError(f"has qk_matmul_output_mode {mode}", "It is 0, 1, 2 or 3.", "Correct the mode.")
    return mode


def _read_heads(ctx: LoweringContext) -> _Heads:
    q, k, v = (ctx.input(index) for index in range(3))
    packed = q.type.rank == 3
    if packed:
        counts = ctx.int("q_num_heads"), ctx.int("kv_num_heads"), ctx.int("kv_num_heads")
        q, k, v = (_unpacked(ctx, value, count) for value, count in zip((q, k, v), counts, strict=True))
    fits = q.type.rank == k.type.rank == v.type.rank == 4 and q.shape[3] == k.shape[3]
    if not fits or q.shape[1] % k.shape[1] or k.shape[:3] != v.shape[:3] or q.shape[0] != k.shape[0]:
        raise LoweringError(
            f"has queries {list(q.shape)}, keys {list(k.shape)} and values {list(v.shape)}",
            "They are [batch, heads, sequence, size]; keys and values agree up to the size, and the heads of "
            "queries are a multiple of theirs.",
            "Export the model again.",
        )
    return _Heads(q, k, v, packed)


def _unpacked(ctx: LoweringContext, x: Value, heads: int) -> Value:
    """Return `[batch, sequence, heads * size]` as `[batch, heads, sequence, size]`."""
    if heads < 1 or x.type.rank != 3 or x.shape[2] % heads:
        raise LoweringError(
            f"splits {list(x.shape)} into {heads} heads",
            "3-D inputs need q_num_heads and kv_num_heads that divide their last axis.",
            "Export the model again.",
        )
    apart = ctx.build.reshape(x, [*x.shape[:2], heads, x.shape[2] // heads])
    return ctx.build.transpose(apart, [0, 2, 1, 3])


def _grown(ctx: LoweringContext, heads: _Heads, index: int) -> Value:
    """Return keys or values behind those of the cache (input 4 or 5), which comes first in time."""
    new = heads.keys if index == 4 else heads.values
    past = ctx.optional_input(index)
    if (past is None) != (ctx.optional_input(9 - index) is None):
        raise LoweringError("has one of past_key and past_value", "They come together.", "Give both.")
    if past is None or not past.shape[2]:
        return new
    return concatenated(ctx.build, [past, new], 2)


def _scores(ctx: LoweringContext, queries: Value, keys: Value, factor: float) -> Value:
    batch, heads, length, size = queries.shape
    shared = keys.shape[1]
    rows = ctx.build.op("mul", [queries, ctx.build.constant(factor)])
    rows = ctx.build.reshape(rows, [batch, shared, heads // shared * length, size])
    scores = ctx.build.op("batch_matmul", [rows, keys], BatchMatMulAttributes(adj_y=True))
    return ctx.build.reshape(scores, [batch, heads, length, keys.shape[2]])


def _weighted_values(ctx: LoweringContext, probabilities: Value, values: Value) -> Value:
    batch, heads, length, total = probabilities.shape
    shared = values.shape[1]
    rows = ctx.build.reshape(probabilities, [batch, shared, heads // shared * length, total])
    y = ctx.build.op("batch_matmul", [rows, values], BatchMatMulAttributes())
    return ctx.build.reshape(y, [batch, heads, length, values.shape[3]])


def _capped(ctx: LoweringContext, scores: Value, softcap: float) -> Value:
    """Return softcap * tanh(scores / softcap); 0 means no cap."""
    if softcap <= 0:
        return scores
    small = ctx.build.op("mul", [scores, ctx.build.constant(1 / softcap)])
    return ctx.build.op("mul", [ctx.build.op("tanh", [small]), ctx.build.constant(softcap)])


def _biased(ctx: LoweringContext, scores: Value, visible: Visible) -> Value:
    if visible.bias is not None:
        scores = ctx.build.op("add", [scores, visible.bias])
    if visible.allowed is None:
        return scores
    return ctx.build.op("select_v2", [visible.allowed, scores, ctx.build.constant(_LOWEST)])


def _probabilities(ctx: LoweringContext, biased: Value, visible: Visible) -> Value:
    """Return the softmax; a row that sees nothing is zero."""
    y = ctx.build.op("softmax", [biased])
    if visible.row is None:
        return y
    return ctx.build.op("select_v2", [visible.row, y, ctx.build.constant(0.0)])


def _with_infinities(ctx: LoweringContext, biased: Value, visible: Visible) -> Value:
    """Return biased scores with -inf, not the lowest float, where a query may not look."""
    if visible.allowed is None:
        return biased
    return ctx.build.op("select_v2", [visible.allowed, biased, ctx.build.constant(float("-inf"))])
