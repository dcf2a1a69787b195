"""Long sequences: a `while` whose rounds take several steps each.

    first T mod S steps written out, then rounds of S steps:
        x [T,B,I] ─ gather S rows ─▶ fully_connected ─▶ S steps ─▶ h, c and S rows of Y

XNNPACK packs the weights of every fully_connected it runs, shared or not: T steps written out hold the
recurrent weights T times. Here they are held S times; and a round, for which the runtime copies every tensor
that the loop carries, is paid T / S times.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from edgec.frontends.onnx.context import LoweringContext
from edgec.frontends.onnx.lowerings.recurrent_cells import Operands
from edgec.frontends.onnx.lowerings.recurrent_lengths import Lengths
from edgec.frontends.onnx.lowerings.recurrent_pieces import cut, join
from edgec.frontends.onnx.lowerings.recurrent_steps import Direction, Run, write_out
from edgec.ir import DType, Graph, TensorType, Value
from edgec.ops import Builder
from edgec.ops.control import WhileAttributes
from edgec.ops.movement import PackAttributes
from edgec.ops.slicing import GatherAttributes

MOST_STEPS_A_ROUND = 8
"""Three LSTMs of 160 steps and 256 units: 7.5 ms with 8, 8.9 with 16, 19 with 32, 28 written out (x86)."""


def loop(ctx: LoweringContext, direction: Direction, x: Value, lengths: Lengths) -> Run:
    """Run every step of x `[T, B, I]`."""
    steps = x.shape[0]
    size = _steps_a_round(steps)
    first = steps % size
    before = _first_steps(direction, x, lengths, first)
    rounds = _Rounds(ctx, direction, x, lengths, size, first)
    return rounds.lower(before)


def _steps_a_round(steps: int) -> int:
    """Return a number of steps that leaves as few as can be outside of the rounds."""
    choices = range(MOST_STEPS_A_ROUND, MOST_STEPS_A_ROUND // 2, -1)
    return min(choices, key=lambda size: steps % size)


def _first_steps(direction: Direction, x: Value, lengths: Lengths, count: int) -> Run:
    """Return the buffer of Y with the rows of the steps before the rounds, and the states after them."""
    build = lengths.build
    steps, batch, _ = x.shape
    nothing = np.zeros((1, batch, direction.operands.hidden), np.float32)
    rest = build.constant(np.repeat(nothing, steps - count, axis=0))
    run = Run(rest, direction.start)
    if count:
        at = steps - count if direction.reverse else 0
        run = write_out(direction, cut(build, x, 0, at, count), lengths.between(build, at, count))
        parts = [rest, run.sequence] if direction.reverse else [run.sequence, rest]
        run = Run(join(build, parts, 0), run.state)
    return Run(run.sequence, tuple(build.constant(nothing) if s is None else s for s in run.state))


@dataclass
class _Body:
    """The graph of a round. A value of the outer graph comes in as a constant or as one more input."""

    graph: Graph = field(default_factory=lambda: Graph("steps"))
    captured: dict[Value, Value] = field(default_factory=dict[Value, Value])

    def value(self, outer: Value) -> Value:
        if outer.data is not None:
            return self.graph.constant(outer.data, outer.name)
        if outer not in self.captured:
            self.captured[outer] = self.graph.add_input(outer.name, outer.type)
        return self.captured[outer]

    def optional(self, outer: Value | None) -> Value | None:
        return None if outer is None else self.value(outer)


@dataclass(frozen=True, slots=True)
class _Rounds:
    ctx: LoweringContext
    direction: Direction
    x: Value
    lengths: Lengths
    size: int
    first: int

    @property
    def count(self) -> int:
        """How many rounds there are."""
        return self.x.shape[0] // self.size

    def lower(self, before: Run) -> Run:
        """Build both graphs and the node that runs them; `before` is what the first steps left."""
        carried = [before.sequence, *(value for value in before.state if value is not None)]
        body = _Body()
        number = body.graph.add_input("round", TensorType((), DType.INT32))
        inner = [body.graph.add_input(value.name, value.type) for value in carried]
        results = self._one_round(body, number, inner)
        body.graph.set_outputs([*results, *body.captured.values()])
        types = tuple(value.type for value in body.graph.inputs)
        add = self.ctx.inner.add
        attributes = WhileAttributes(add(self._condition(types)), add(body.graph), types)
        build = self.lengths.build
        node = build.node("while", [build.constant(0), *carried, *body.captured], attributes)
        return Run(node.results[1], tuple(node.results[2 : 1 + len(carried)]))

    def _one_round(self, body: _Body, number: Value, carried: list[Value]) -> list[Value]:
        """Return the next round's number, the buffer with this round's rows, and the states after it."""
        build = Builder(body.graph, source=f"{self.ctx.build.source}/round")
        start = self._start(build, number)
        steps = build.constant(np.arange(self.size, dtype=np.int32))
        times = build.op("add", [start, steps])
        x = _rows(build, body.value(self.x), times)
        own = replace(
            self.direction, operands=_inside(body, self.direction.operands), start=tuple(carried[1:])
        )
        run = write_out(own, x, self._lengths(body, build, times))
        place = build.op("pack", [start, build.constant(0), build.constant(0)], PackAttributes(3, 0))
        buffer = build.op("dynamic_update_slice", [carried[0], run.sequence, place])
        following = build.op("add", [number, build.constant(1)])
        return [following, buffer, *(value for value in run.state if value is not None)]

    def _start(self, build: Builder, number: Value) -> Value:
        """Return the first time of a round's steps: first + number · size; reverse, from behind."""
        done = build.op("mul", [number, build.constant(self.size)])
        if self.direction.reverse:
            return build.op("sub", [build.constant((self.count - 1) * self.size), done])
        return build.op("add", [build.constant(self.first), done])

    def _lengths(self, body: _Body, build: Builder, times: Value) -> Lengths:
        mask, rest = body.optional(self.lengths.mask), body.optional(self.lengths.rest)
        if mask is None or rest is None:
            return Lengths(build)
        return Lengths(build, None, _rows(build, mask, times), _rows(build, rest, times))

    def _condition(self, types: tuple[TensorType, ...]) -> Graph:
        graph = Graph("more_steps")
        inputs = [graph.add_input(f"state_{index}", type) for index, type in enumerate(types)]
        build = Builder(graph)
        graph.set_outputs([build.op("less", [inputs[0], build.constant(self.count)])])
        return graph


def _inside(body: _Body, own: Operands) -> Operands:
    return Operands(
        own.hidden,
        body.value(own.w),
        body.value(own.r),
        body.optional(own.input_bias),
        body.optional(own.recurrent_bias),
        body.optional(own.peepholes),
    )


def _rows(build: Builder, x: Value, times: Value) -> Value:
    """Return rows of the time axis."""
    return build.op("gather", [x, times], GatherAttributes(0))
