"""The equations of one step of LSTM, GRU and RNN, and the part of them that no step has to wait for.

Everything is `[time or 1, batch, units]`. `project` runs once for all steps,

    projected = x · Wᵀ + bias            one fully_connected over [time, batch, input]

and `step` for each, with `take(gate, count)` cutting gates out of the projection of that step. A state that
is None is all zeros: its products are not computed. Gate orders are ONNX's: LSTM i o f c, GRU z r h.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from edgec.frontends.onnx.lowerings.recurrent_activations import Activation
from edgec.frontends.onnx.lowerings.recurrent_pieces import Linear, add, cut, join, split
from edgec.ir import Value
from edgec.ops import Builder

State = tuple[Value | None, ...]
Take = Callable[[int, int], Value]
"""`take(gate, count)`: `count` gates of one step's projection, from `gate` on: [1, batch, count * hidden]."""


class Cell(Protocol):
    """One direction of a recurrent operator."""

    @property
    def project(self) -> Linear:
        """From the input to `[time, batch, gates * hidden]`: all that depends on the input alone."""
        ...

    def step(self, take: Take, state: State) -> tuple[Value, ...]:
        """Return the state after one step; its first entry is the hidden state, which is the output."""
        ...


@dataclass(frozen=True, slots=True)
class Gates:
    """What makes a gate of a sum: the activations, and the limit of their input where there is one."""

    build: Builder
    activations: tuple[Activation, ...]
    clip: float | None = None

    def activate(self, index: int, x: Value) -> Value:
        """Apply activation `index` to x, clipped to [-clip, clip]."""
        if self.clip is not None:
            x = self.build.op("maximum", [x, self.build.constant(-self.clip)])
            x = self.build.op("minimum", [x, self.build.constant(self.clip)])
        return self.activations[index].apply(self.build, x)


@dataclass(frozen=True, slots=True)
class Operands:
    """One direction's W `[1, gates * hidden, input]`, R, and biases and peepholes `[1, count * hidden]`."""

    hidden: int
    w: Value
    r: Value
    input_bias: Value | None = None
    recurrent_bias: Value | None = None
    peepholes: Value | None = None


@dataclass(frozen=True, slots=True)
class RnnCell:
    """h = f(x Wᵀ + h Rᵀ + bias)."""

    gates: Gates
    project: Linear
    recur: Linear

    @staticmethod
    def of(gates: Gates, own: Operands) -> RnnCell:
        """Prepare the weights."""
        bias = add(gates.build, own.input_bias, own.recurrent_bias)
        return RnnCell(gates, Linear.of(gates.build, own.w, bias), Linear.of(gates.build, own.r))

    def step(self, take: Take, state: State) -> tuple[Value, ...]:
        """One step of (h,)."""
        return (self.gates.activate(0, _with_recurrence(take(0, 1), self.recur, state[0])),)


@dataclass(frozen=True, slots=True)
class LstmCell:
    """i, o, f = σ(x Wᵀ + h Rᵀ + P ∘ c + bias);  c = f ∘ c + i ∘ g(…);  h = o ∘ h(c).

    The peephole weights P come in the order i, o, f; o looks at the new c. With `input_forget` f is 1 - i.
    """

    gates: Gates
    project: Linear
    recur: Linear
    peepholes: tuple[Value, ...] = ()
    input_forget: bool = False

    @staticmethod
    def of(gates: Gates, own: Operands, *, input_forget: bool) -> LstmCell:
        """Prepare the weights."""
        build = gates.build
        bias = add(build, own.input_bias, own.recurrent_bias)
        peepholes: tuple[Value, ...] = ()
        if own.peepholes is not None:
            peepholes = tuple(cut(build, own.peepholes, 1, n * own.hidden, own.hidden) for n in range(3))
        project, recur = Linear.of(build, own.w, bias), Linear.of(build, own.r)
        return LstmCell(gates, project, recur, peepholes, input_forget)

    def step(self, take: Take, state: State) -> tuple[Value, ...]:
        """One step of (h, c)."""
        build = self.gates.build
        hidden, cell = state
        i, o, f, g = split(build, _with_recurrence(take(0, 4), self.recur, hidden), 4)
        i = self.gates.activate(0, self._peep(i, 0, cell))
        written = build.op("mul", [i, self.gates.activate(1, g)])
        if cell is not None:
            kept = build.op("mul", [self._forget(i, f, cell), cell])
            written = build.op("add", [kept, written])
        o = self.gates.activate(0, self._peep(o, 1, written))
        # clip bounds the gates only: onnxruntime leaves the cell state as it is
        shown = self.gates.activations[2].apply(build, written)
        return build.op("mul", [o, shown]), written

    def _forget(self, i: Value, f: Value, cell: Value) -> Value:
        if self.input_forget:
            return self.gates.build.op("sub", [self.gates.build.constant(1.0), i])
        return self.gates.activate(0, self._peep(f, 2, cell))

    def _peep(self, gate: Value, index: int, cell: Value | None) -> Value:
        if not self.peepholes or cell is None:
            return gate
        build = self.gates.build
        return build.op("add", [gate, build.op("mul", [cell, self.peepholes[index]])])


_PARTS = ((0, 2), (2, 1))
"""First gate and number of gates of a GRU's two gates, z and r, and of its candidate."""


@dataclass(frozen=True, slots=True)
class GruCell:
    """z, r = f(x Wᵀ + h Rᵀ + bias);  n = g(x Wᵀ + (r ∘ h) Rᵀ + bias);  h = (1 - z) ∘ n + z ∘ h."""

    gates: Gates
    project: Linear
    recur_gates: Linear
    recur_candidate: Linear

    @staticmethod
    def of(gates: Gates, own: Operands) -> GruCell:
        """Prepare the weights."""
        build, hidden = gates.build, own.hidden
        project = Linear.of(build, own.w, add(build, own.input_bias, own.recurrent_bias))
        recur_gates = Linear.of(build, cut(build, own.r, 1, 0, 2 * hidden))
        return GruCell(
            gates, project, recur_gates, Linear.of(build, cut(build, own.r, 1, 2 * hidden, hidden))
        )

    def step(self, take: Take, state: State) -> tuple[Value, ...]:
        """One step of (h,)."""
        build, hidden = self.gates.build, state[0]
        both = _with_recurrence(take(0, 2), self.recur_gates, hidden)
        z, r = split(build, self.gates.activate(0, both), 2)
        kept = None if hidden is None else build.op("mul", [r, hidden])
        n = self.gates.activate(1, _with_recurrence(take(2, 1), self.recur_candidate, kept))
        return (_blend(build, z, n, hidden),)


@dataclass(frozen=True, slots=True)
class ResetAfterGruCell:
    """A GRU with `linear_before_reset`: n = g(x Wᵀ + bias + r ∘ (h Rᵀ + recurrent bias)).

    r scales the candidate's recurrent bias, so that it cannot move out of the recurrence.
    """

    gates: Gates
    hidden: int
    project: Linear
    recur: Linear
    candidate_bias: Value | None

    @staticmethod
    def of(gates: Gates, own: Operands) -> ResetAfterGruCell:
        """Prepare the weights; the recurrent bias of z and r moves out of the recurrence."""
        build, hidden = gates.build, own.hidden
        recurrent = own.recurrent_bias
        if recurrent is None:
            return ResetAfterGruCell(
                gates, hidden, Linear.of(build, own.w, own.input_bias), Linear.of(build, own.r), None
            )
        outside = join(build, [cut(build, recurrent, 1, 0, 2 * hidden), _zeros(build, hidden)], axis=1)
        candidate = cut(build, recurrent, 1, 2 * hidden, hidden)
        inside = join(build, [_zeros(build, 2 * hidden), candidate], axis=1)
        project = Linear.of(build, own.w, add(build, own.input_bias, outside))
        return ResetAfterGruCell(gates, hidden, project, Linear.of(build, own.r, inside), candidate)

    def step(self, take: Take, state: State) -> tuple[Value, ...]:
        """One step of (h,)."""
        build, hidden = self.gates.build, state[0]
        both, n, candidate = take(0, 2), take(2, 1), self.candidate_bias
        if hidden is not None:
            recurrent = self.recur(hidden)
            both = build.op("add", [both, cut(build, recurrent, 2, 0, 2 * self.hidden)])
            candidate = cut(build, recurrent, 2, 2 * self.hidden, self.hidden)
        z, r = split(build, self.gates.activate(0, both), 2)
        if candidate is not None:
            n = build.op("add", [n, build.op("mul", [r, candidate])])
        return (_blend(build, z, self.gates.activate(1, n), hidden),)


def _with_recurrence(projected: Value, recur: Linear, hidden: Value | None) -> Value:
    """Return projected + h Rᵀ."""
    return projected if hidden is None else recur.build.op("add", [projected, recur(hidden)])


def _blend(build: Builder, z: Value, n: Value, hidden: Value | None) -> Value:
    """Return (1 - z) ∘ n + z ∘ h = n + z ∘ (h - n)."""
    if hidden is None:
        return build.op("sub", [n, build.op("mul", [z, n])])
    return build.op("add", [n, build.op("mul", [z, build.op("sub", [hidden, n])])])


def _zeros(build: Builder, size: int) -> Value:
    return build.constant(np.zeros((1, size), np.float32))
