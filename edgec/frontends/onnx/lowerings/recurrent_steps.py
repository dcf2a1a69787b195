"""Steps of time written out one behind the other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from edgec.frontends.onnx.lowerings.recurrent_cells import Cell, Operands, State
from edgec.frontends.onnx.lowerings.recurrent_lengths import Lengths
from edgec.frontends.onnx.lowerings.recurrent_pieces import join
from edgec.ir import Value
from edgec.ops import Builder


@dataclass(frozen=True, slots=True)
class Direction:
    """One direction of a recurrent operator: its weights, what makes a cell of them, and where it starts."""

    make_cell: Callable[[Builder, Operands], Cell]
    operands: Operands
    start: State
    reverse: bool


@dataclass(frozen=True, slots=True)
class Run:
    """What steps leave: the hidden states `[T, B, hidden]` and the last states `[1, B, hidden]`."""

    sequence: Value
    state: State


def write_out(direction: Direction, x: Value, lengths: Lengths) -> Run:
    """Run every step of x `[T, B, I]`."""
    build, hidden = lengths.build, direction.operands.hidden
    steps, batch, _ = x.shape
    cell = direction.make_cell(build, direction.operands)
    projected = cell.project(x)
    nothing = build.constant(np.zeros((1, batch, hidden), np.float32))
    rows, state = [nothing] * steps, direction.start
    for time in reversed(range(steps)) if direction.reverse else range(steps):
        if lengths.nobody_at(time):
            continue
        new = cell.step(partial(_gates_at, build, projected, hidden, time), state)
        state = lengths.advance(time, new, state)
        rows[time] = state[0] or nothing
    return Run(join(build, rows, 0), state)


def _gates_at(build: Builder, projected: Value, hidden: int, time: int, gate: int, count: int) -> Value:
    """Return `count` gates of one step's projection: `[1, batch, count * hidden]`."""
    begin, size = [time, 0, gate * hidden], [1, projected.shape[1], count * hidden]
    if tuple(size) == projected.shape:
        return projected
    return build.op("slice", [projected, build.constant(begin), build.constant(size)])
