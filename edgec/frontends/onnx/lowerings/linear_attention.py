"""LinearAttention and CausalConvWithState: sequence layers whose memory is an explicit input and output.

LinearAttention keeps a matrix S `[B, H, d_k, d_v]` a head and reads it with the query:

    S = e^g S                       gated, gated_delta
    v = beta (v - S^T k)            delta, gated_delta
    S = S + k v^T;  o = scale q^T S

The rule "linear" needs no steps: o = scale (q S_0 + (q K^T, causal) V). The others are unrolled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np

from edgec.frontends.onnx.context import LoweringContext, LoweringError
from edgec.frontends.onnx.lowerings.convolution import convolve, permuted, zeros
from edgec.frontends.onnx.lowerings.function_ops import swish
from edgec.frontends.onnx.lowerings.movement import concatenated, sliced
from edgec.frontends.onnx.lowerings.padding import UNIT, Window
from edgec.frontends.onnx.registry import lowers
from edgec.ir import Value
from edgec.ops import Builder, Padding
from edgec.ops.matmul import BatchMatMulAttributes

_MOST_STEPS = 256
"""Each step costs about ten nodes: beyond this the file grows past what a device should load."""

_RULES = ("linear", "gated", "delta", "gated_delta")


@dataclass(frozen=True, slots=True)
class _Sequence:
    """Inputs as `[batch, heads, steps, size]`; queries `[batch, heads, steps, group, size]`, scaled."""

    queries: Value
    keys: Value
    values: Value
    decay: Value | None
    rate: Value | None


@lowers("LinearAttention", since=27)
def linear_attention(ctx: LoweringContext) -> Sequence[Value | None]:
    """Return the outputs `[B, T, H_q * d_v]` and the state after the last step."""
    rule = ctx.string("update_rule", "gated_delta")
    if rule not in _RULES:
        raise LoweringError(f"has update_rule '{rule}'", f"It is one of {', '.join(_RULES)}.", "Correct it.")
    steps = _read(ctx, rule)
    batch, heads, length, depth = steps.keys.shape
    size = steps.values.shape[3]
    state = ctx.optional_input(3)
    if state is None:
        state = ctx.build.constant(np.zeros((batch, heads, depth, size), np.float32))
    y, state = _at_once(ctx.build, steps, state) if rule == "linear" else _unrolled(ctx.build, steps, state)
    # [batch, heads, steps, group, size] → packed, heads in order (shared head, member of its group)
    y = ctx.build.transpose(y, [0, 2, 1, 3, 4])
    return [ctx.build.reshape(y, [batch, length, heads * y.shape[3] * size]), state]


def _read(ctx: LoweringContext, rule: str) -> _Sequence:
    queries, keys, values = (ctx.input(index) for index in range(3))
    count, heads = ctx.int("q_num_heads"), ctx.int("kv_num_heads")
    ranks = {value.type.rank for value in (queries, keys, values)}
    if heads < 1 or count < 1 or count % heads or ranks != {3} or queries.shape[2] % count:
        raise LoweringError(
            f"has {count} heads of queries {list(queries.shape)} for {heads} of keys",
            "Inputs are [batch, steps, heads * size], and q_num_heads is a multiple of kv_num_heads.",
            "Export the model again.",
        )
    batch, length, _ = queries.shape
    depth, group = queries.shape[2] // count, count // heads
    scale = ctx.float("scale") or 1 / sqrt(depth)
    scaled = ctx.build.op("mul", [queries, ctx.build.constant(scale)])
    grouped = ctx.build.reshape(scaled, [batch, length, heads, group, depth])
    decay = _unpacked(ctx.build, ctx.input(4), heads) if rule.startswith("gated") else None
    rate = ctx.input(5) if rule.endswith("delta") else None
    return _Sequence(
        ctx.build.transpose(grouped, [0, 2, 1, 3, 4]),
        _unpacked(ctx.build, keys, heads),
        _unpacked(ctx.build, values, heads),
        None if decay is None else ctx.build.op("exp", [decay]),
        None if rate is None else _unpacked(ctx.build, rate, rate.shape[2]),
    )


def _unpacked(build: Builder, x: Value, heads: int) -> Value:
    """Return `[batch, steps, heads * size]` as `[batch, heads, steps, size]`."""
    apart = build.reshape(x, [*x.shape[:2], heads, x.shape[2] // heads])
    return build.transpose(apart, [0, 2, 1, 3])


def _product(build: Builder, x: Value, y: Value, *, adj_x: bool = False, adj_y: bool = False) -> Value:
    return build.op("batch_matmul", [x, y], BatchMatMulAttributes(adj_x=adj_x, adj_y=adj_y))


def _at_once(build: Builder, steps: _Sequence, state: Value) -> tuple[Value, Value]:
    """Without decay and correction, step t sees the first state and every k v^T up to its own."""
    batch, heads, length, group, depth = steps.queries.shape
    rows = build.reshape(steps.queries, [batch, heads, length * group, depth])
    scores = _product(build, rows, steps.keys, adj_y=True)
    seen = np.repeat(np.tril(np.ones((length, length), np.float32)), group, axis=0)
    seen_scores = build.op("mul", [scores, build.constant(seen)])
    y = build.op("add", [_product(build, rows, state), _product(build, seen_scores, steps.values)])
    state = build.op("add", [state, _product(build, steps.keys, steps.values, adj_x=True)])
    return build.reshape(y, [batch, heads, length, group, y.shape[3]]), state


def _unrolled(build: Builder, steps: _Sequence, state: Value) -> tuple[Value, Value]:
    length = steps.keys.shape[2]
    if length > _MOST_STEPS:
        raise LoweringError(
            f"updates its state {length} times",
            f"Steps are unrolled, up to {_MOST_STEPS} of them.",
            "Feed the sequence in parts: the state is an input and an output.",
        )
    outputs: list[Value] = []
    for step in range(length):
        state = _updated(build, steps, state, step)
        query = sliced(build, steps.queries, 2, step, 1)
        batch, heads, _, group, depth = query.shape
        y = _product(build, build.reshape(query, [batch, heads, group, depth]), state)
        outputs.append(build.reshape(y, [batch, heads, 1, group, y.shape[3]]))
    return concatenated(build, outputs, 2), state


def _updated(build: Builder, steps: _Sequence, state: Value, step: int) -> Value:
    key, value = (sliced(build, x, 2, step, 1) for x in (steps.keys, steps.values))
    if steps.decay is not None:
        factor = sliced(build, steps.decay, 2, step, 1)  # [batch, heads, 1, d_k or 1], a factor for each row
        factor = build.reshape(factor, [*factor.shape[:2], factor.shape[3], 1])
        state = build.op("mul", [state, factor])
    if steps.rate is not None:
        error = build.op("sub", [value, _product(build, key, state)])
        value = build.op("mul", [sliced(build, steps.rate, 2, step, 1), error])
    column = build.reshape(key, [*key.shape[:2], key.shape[3], 1])
    return build.op("add", [state, build.op("mul", [column, value])])


@lowers("CausalConvWithState", since=27)
def causal_conv_with_state(ctx: LoweringContext) -> Sequence[Value | None]:
    """Depthwise convolution over the past k - 1 entries and the new ones, which become the next past."""
    x, weights = ctx.input(0), ctx.input(1)
    batch, channels, length = x.shape
    kernel = weights.shape[2]
    past = ctx.optional_input(3)
    if past is None:
        past = ctx.build.constant(np.zeros((batch, channels, kernel - 1), np.float32))
    line = concatenated(ctx.build, [past, x], 2) if kernel > 1 else x
    rows = ctx.build.reshape(ctx.to_channels_last(line), [batch, 1, length + kernel - 1, channels])
    window = Window(length + kernel - 1, kernel, output=length)
    arranged = permuted(ctx.build, weights, [channels, 1, 1, kernel], [1, 2, 3, 0])
    bias = ctx.optional_input(2)
    constant = bias if bias is not None and bias.is_constant else zeros(ctx.build, channels)
    y = convolve(ctx.build, rows, arranged, constant, (UNIT, window), Padding.VALID, depthwise=True)
    y = ctx.build.op("add", [y, bias]) if bias is not None and constant is not bias else y
    y = ctx.to_channels_first(ctx.build.reshape(y, [batch, length, channels]))
    if ctx.string("activation", "none") in ("silu", "swish"):
        y = swish(ctx, y)
    return [y, sliced(ctx.build, line, 2, length, kernel - 1)][: ctx.output_count]
