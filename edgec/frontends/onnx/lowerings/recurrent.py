"""LSTM, GRU and RNN: one product for all inputs, then the steps of time written out, or a loop over them.

x [T,B,I] → fully_connected → [T,B,gates] ─┬ slice 0 ─▶ step ─┬ slice 1 ─▶ step ─┬ ⋯
                         initial states ─────────────▶        └──── h, c ──────▶ └ ⋯     concat(h₀ h₁ …) → Y

A reverse direction takes the slices from the end, and Y keeps the order of the inputs. Where a sequence is
shorter than T, its state waits while others run: forward, it keeps the last valid state to the end; in
reverse, the initial state until its last valid input comes. So no sequence is ever turned around.

The fused `unidirectional_sequence_lstm` is not used: its states are variables, which live on from one call of
the model to the next, while an ONNX node starts anew at each.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from edgec.frontends.onnx.context import LoweringContext, LoweringError
from edgec.frontends.onnx.lowerings.recurrent_activations import Activation, read_activations
from edgec.frontends.onnx.lowerings.recurrent_cells import (
    Cell,
    Gates,
    GruCell,
    LstmCell,
    Operands,
    ResetAfterGruCell,
    RnnCell,
    State,
)
from edgec.frontends.onnx.lowerings.recurrent_lengths import Lengths, read_lengths
from edgec.frontends.onnx.lowerings.recurrent_loop import loop
from edgec.frontends.onnx.lowerings.recurrent_pieces import cut, join, transpose
from edgec.frontends.onnx.lowerings.recurrent_steps import Direction, Run, write_out
from edgec.frontends.onnx.registry import lowers
from edgec.ir import Value
from edgec.ops import Builder

MAX_STEPS = 512
MAX_PACKED_BYTES = 16 << 20
"""Up to this many steps, and bytes of recurrent weights over all steps, steps are written out."""

_DIRECTIONS = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}
_ACTIVATIONS = {"LSTM": ("sigmoid", "tanh", "tanh"), "GRU": ("sigmoid", "tanh"), "RNN": ("tanh",)}
_GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
_STATES = {"LSTM": 2, "GRU": 1, "RNN": 1}
_BIAS, _LENGTHS, _INITIAL, _PEEPHOLES = 3, 4, 5, 7


@lowers("LSTM", "GRU", "RNN")
def recurrent(ctx: LoweringContext) -> list[Value | None]:
    """Y `[T, directions, B, hidden]`, Y_h and, of an LSTM, Y_c `[directions, B, hidden]`.

    With layout 1 the batch is the first axis of every operand and result.
    """
    x = _time_first(ctx)
    reversals = _reversals(ctx)
    lengths = read_lengths(ctx, _LENGTHS, x.shape[0], x.shape[1])
    x = lengths.without_padding(x)
    activations = read_activations(ctx, _ACTIVATIONS[ctx.op_type], len(reversals))
    runs: list[Run] = []
    for index, reverse in enumerate(reversals):
        make_cell = partial(_cell, ctx, activations[index])
        direction = Direction(make_cell, _operands(ctx, index), _initial_state(ctx, index), reverse)
        runs.append(_run(ctx, direction, x, lengths))
    outputs = [_sequence(ctx, runs) if ctx.wants_output(0) else None]
    for index in range(_STATES[ctx.op_type]):
        outputs.append(_final(ctx, runs, index) if ctx.wants_output(1 + index) else None)
    return outputs


def _time_first(ctx: LoweringContext) -> Value:
    """Return X as `[T, B, I]`; LoweringError where its shape cannot be unrolled or does not fit W and R."""
    x = ctx.input(0)
    if x.type.rank != 3 or not x.type.is_static or 0 in x.shape:
        raise LoweringError(
            f"reads a sequence of shape {list(x.shape)}",
            "Its steps need three known sizes above 0.",
            "Fix the input shapes (--input-shape NAME=...).",
        )
    x = transpose(ctx.build, x, [1, 0, 2]) if ctx.int("layout") else x
    _check_shapes(ctx, x, ctx.input(2).shape)
    return x


def _check_shapes(ctx: LoweringContext, x: Value, r: tuple[int, ...]) -> None:
    """Raise LoweringError where an operand's shape does not fit X `[T, B, I]` and the size of the states."""
    given = [None if value is None else value.shape for value in ctx.inputs]
    hidden = r[-1] if r else 0
    directions, rows = len(_reversals(ctx)), _GATES[ctx.op_type] * hidden
    state = (x.shape[1], directions, hidden) if ctx.int("layout") else (directions, x.shape[1], hidden)
    wanted = {
        "W": (directions, rows, x.shape[2]),
        "R": (directions, rows, hidden),
        "B": (directions, 2 * rows),
        "sequence_lens": (x.shape[1],),
        "initial_h": state,
        "initial_c": state,
        "P": (directions, 3 * hidden),
    }
    for (name, shape), found in zip(wanted.items(), given[1:], strict=False):
        if found is not None and found != shape:
            raise LoweringError(
                f"has {name} of shape {list(found)}, not {list(shape)}",
                f"R says {hidden} units, X a batch of {x.shape[1]} with {x.shape[2]} channels.",
                "Correct the operand in the source model.",
            )


def _reversals(ctx: LoweringContext) -> tuple[bool, ...]:
    direction = ctx.string("direction", "forward").lower()
    if direction not in _DIRECTIONS:
        raise LoweringError(
            f"has direction '{direction}'", "", f"Use one of {', '.join(_DIRECTIONS)} in the source model."
        )
    return _DIRECTIONS[direction]


def _operands(ctx: LoweringContext, index: int) -> Operands:
    """Return one direction's weights."""
    build, r = ctx.build, ctx.input(2)
    hidden, size = r.shape[-1], r.shape[1]
    bias = _direction(build, ctx.optional_input(_BIAS), index)
    peepholes = ctx.optional_input(_PEEPHOLES) if ctx.op_type == "LSTM" else None
    return Operands(
        hidden,
        cut(build, ctx.input(1), 0, index, 1),
        cut(build, r, 0, index, 1),
        None if bias is None else cut(build, bias, 1, 0, size),
        None if bias is None else cut(build, bias, 1, size, size),
        _direction(build, peepholes, index),
    )


def _direction(build: Builder, x: Value | None, index: int) -> Value | None:
    """Return entry `index` of the first axis; None for zeros."""
    if x is None or (x.data is not None and not x.data.any()):
        return None
    return cut(build, x, 0, index, 1)


def _cell(ctx: LoweringContext, activations: tuple[Activation, ...], build: Builder, own: Operands) -> Cell:
    gates = Gates(build, activations, ctx.float("clip") if ctx.has("clip") else None)
    if ctx.op_type == "LSTM":
        return LstmCell.of(gates, own, input_forget=bool(ctx.int("input_forget")))
    if ctx.op_type == "RNN":
        return RnnCell.of(gates, own)
    return ResetAfterGruCell.of(gates, own) if ctx.int("linear_before_reset") else GruCell.of(gates, own)


def _initial_state(ctx: LoweringContext, index: int) -> State:
    """Return the states `[1, B, hidden]` that a direction starts from, None for zeros."""
    states: list[Value | None] = []
    for position in range(_STATES[ctx.op_type]):
        value = ctx.optional_input(_INITIAL + position)
        if value is not None and ctx.int("layout"):
            value = transpose(ctx.build, value, [1, 0, 2])
        states.append(_direction(ctx.build, value, index))
    return tuple(states)


def _run(ctx: LoweringContext, direction: Direction, x: Value, lengths: Lengths) -> Run:
    """Run a direction over all steps and blank what lies beyond a sequence's end."""
    is_long = _is_long(x.shape[0], direction.operands.r)
    run = loop(ctx, direction, x, lengths) if is_long else write_out(direction, x, lengths)
    nothing = ctx.build.constant(np.zeros((1, x.shape[1], direction.operands.hidden), np.float32))
    last = [value or nothing for value in run.state]
    if any(value is not None for value in direction.start):
        last = [lengths.without_empty(value) for value in last]
    return Run(lengths.hide_padding(run.sequence), tuple(last))


def _is_long(steps: int, r: Value) -> bool:
    """Whether steps cost too much to be written out; only constant weights are packed to stay."""
    packed = 0 if r.data is None else steps * r.data.nbytes
    return steps > MAX_STEPS or packed > MAX_PACKED_BYTES


def _sequence(ctx: LoweringContext, runs: list[Run]) -> Value:
    """Return Y: `[T, directions, B, hidden]`, or `[B, T, directions, hidden]` with layout 1.

    Directions are joined behind the batch and moved in front of it: most models move them back at once, to
    read both directions as channels, and then nothing is left to move.
    """
    build = ctx.build
    joined = join(build, [run.sequence for run in runs], 2)
    steps, batch, channels = joined.shape
    apart = build.reshape(joined, [steps, batch, len(runs), channels // len(runs)])
    return build.transpose(apart, [1, 0, 2, 3] if ctx.int("layout") else [0, 2, 1, 3])


def _final(ctx: LoweringContext, runs: list[Run], index: int) -> Value:
    """Return Y_h or Y_c: `[directions, B, hidden]`, or `[B, directions, hidden]` with layout 1."""
    last = [state for run in runs if (state := run.state[index]) is not None]
    joined = join(ctx.build, last, 0)
    return transpose(ctx.build, joined, [1, 0, 2]) if ctx.int("layout") else joined
