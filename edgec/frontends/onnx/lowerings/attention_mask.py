"""What each query of an Attention may see.

A query with index i stands at position p = i + offset, and sees key j where all of these hold:

    is_causal                    j <= p
    left, right window           p - left <= j <= p + right
    nonpad_kv_seqlen             j < length of the sample
    a boolean mask               the mask is true
    a float mask                 the mask is not -inf; what it holds is added to the score

offset = length of the cache (past_key), or nonpad_kv_seqlen - S_q, or 0. Rules whose numbers are known are
settled in NumPy; only what depends on the inputs costs nodes.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from edgec.frontends.onnx.context import LoweringContext, LoweringError
from edgec.frontends.onnx.lowerings.movement import concatenated
from edgec.ir import Array, DType, Value
from edgec.ops.reduce import ReducerAttributes

_LOWEST = float(np.finfo(np.float32).min)


@dataclass(frozen=True, slots=True)
class Visible:
    """`bias` is added to the scores; `allowed` (bool) is false for what a query may not see.

    `row` (bool, last axis 1) is false for queries that see nothing. None: nothing added, all allowed, no such
    query. All broadcast to `[batch, heads, queries, keys]`.
    """

    bias: Value | None
    allowed: Value | None
    row: Value | None


@dataclass
class _Rules:
    """Conditions that all have to hold: one known array and any number of computed values."""

    known: Array
    computed: list[Value] = field(default_factory=list[Value])

    def require(self, condition: Value | Array) -> None:
        """Add a condition."""
        if isinstance(condition, Value):
            self.computed.append(condition)
        else:
            self.known = np.logical_and(self.known, condition)


def read_mask(ctx: LoweringContext, lengths: tuple[int, int]) -> Visible:
    """Return what the node's mask, cache, windows and lengths allow for (queries, keys) of these lengths."""
    rules = _Rules(np.ones((1, 1, *lengths), np.bool_))
    _position_rules(ctx, rules, lengths)
    mask = _full_length(ctx, rules, lengths[1])
    bias: Value | None = None
    if mask is not None and mask.dtype is DType.BOOL:
        rules.require(mask if mask.data is None else mask.data)
    elif mask is not None:
        bias = _finite_bias(ctx, rules, mask)
    return _combined(ctx, rules, bias)


def _position_rules(ctx: LoweringContext, rules: _Rules, lengths: tuple[int, int]) -> None:
    """Causal order, windows and padding, as bounds on `key - query` (and on the sample's own length)."""
    queries, keys = lengths
    after = np.arange(keys)[None, :] - np.arange(queries)[:, None]  # key minus query index
    past, count = ctx.optional_input(4), ctx.optional_input(6)
    offset: int | Value = past.shape[2] if past is not None else 0
    if count is not None:
        count = ctx.build.reshape(count, [count.type.size, 1, 1, 1])
        rules.require(_less_equal(ctx, np.arange(keys) + 1, count))
        if past is None:
            offset, after = count, after + queries
    left, right = (ctx.int(f"{side}_window_size", -1) for side in ("left", "right"))
    if ctx.int("is_causal"):
        rules.require(_less_equal(ctx, after, offset))
    if right >= 0:
        rules.require(_less_equal(ctx, after - right, offset))
    if left >= 0:
        rules.require(_less_equal(ctx, offset, after + left))


def _less_equal(ctx: LoweringContext, low: Array | int | Value, high: Array | int | Value) -> Array | Value:
    """Return low <= high, in NumPy where both are known."""
    low, high = (x.data if isinstance(x, Value) and x.data is not None else x for x in (low, high))
    if not isinstance(low, Value) and not isinstance(high, Value):
        return np.asarray(low) <= np.asarray(high)
    dtype = low.dtype if isinstance(low, Value) else high.dtype if isinstance(high, Value) else DType.INT64
    operands = [
        x if isinstance(x, Value) else ctx.build.constant(np.asarray(x).astype(dtype.numpy))
        for x in (low, high)
    ]
    return ctx.build.op("less_equal", operands)


def _full_length(ctx: LoweringContext, rules: _Rules, keys: int) -> Value | None:
    """Return the node's mask with an entry for every key; keys behind its end are not seen."""
    mask = ctx.optional_input(3)
    if mask is None:
        return None
    if mask.dtype not in (DType.BOOL, DType.FLOAT32):
        raise LoweringError(
            f"has a mask of {mask.dtype}", "Masks are bool or float.", "Cast it in the source model."
        )
    missing = keys - mask.shape[-1]
    if missing <= 0:
        return mask
    rules.require(np.arange(keys) < mask.shape[-1])
    filler = np.zeros((*mask.shape[:-1], missing), mask.dtype.numpy)
    if mask.data is not None:
        return ctx.build.constant(np.concatenate([mask.data, filler], -1), name=mask.name)
    return concatenated(ctx.build, [mask, ctx.build.constant(filler)], mask.type.rank - 1)


def _finite_bias(ctx: LoweringContext, rules: _Rules, mask: Value) -> Value:
    """Turn -inf in a float mask into a rule; what remains is finite and can be added."""
    if mask.data is None:
        rules.require(ctx.build.op("greater_equal", [mask, ctx.build.constant(_LOWEST)]))
        return mask
    rules.require(np.greater_equal(mask.data, np.float32(_LOWEST)))
    return ctx.build.constant(np.maximum(mask.data, _LOWEST), name=mask.name)


def _combined(ctx: LoweringContext, rules: _Rules, bias: Value | None) -> Visible:
    known = None if rules.known.all() else ctx.build.constant(rules.known)
    conditions = [*([known] if known is not None else []), *rules.computed]
    if not conditions:
        return Visible(bias, None, None)
    allowed = conditions[0]
    for condition in conditions[1:]:
        allowed = ctx.build.op("logical_and", [allowed, condition])
    return Visible(bias, allowed, _rows_that_see(ctx, rules, allowed))


def _rows_that_see(ctx: LoweringContext, rules: _Rules, allowed: Value) -> Value | None:
    if not rules.computed:
        seeing = np.asarray(rules.known.any(axis=-1, keepdims=True))
        return None if seeing.all() else ctx.build.constant(seeing)
    axis = ctx.build.constant([allowed.type.rank - 1])
    return ctx.build.op("reduce_any", [allowed, axis], ReducerAttributes(keep_dims=True))
