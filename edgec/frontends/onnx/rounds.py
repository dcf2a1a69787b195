"""Loop and Scan: rounds written out where their number is known and small, else a `while`.

    states = [round, going, carried…, scans…, captured…]
    cond:  going ∧ round < trip count
    body:  going', carried', rows = body(round, going, carried);  scans' = scans with the rows

A scan of a known number of rounds is a buffer of which each round writes a row; else it grows row by row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np

from edgec.frontends.onnx.context import LoweringContext, LoweringError
from edgec.frontends.onnx.lowerings.control import share_captures
from edgec.frontends.onnx.lowerings.movement import concatenated
from edgec.frontends.onnx.scope import Scope
from edgec.ir import DYNAMIC, DType, Graph, TensorType, Value
from edgec.ops import Builder
from edgec.ops.control import WhileAttributes
from edgec.ops.elementwise import CastAttributes
from edgec.ops.infer import common_type
from edgec.ops.movement import PackAttributes
from edgec.ops.slicing import TO_THE_END
from edgec.ops.spec import InferenceError

UNROLL_NODES = 512
"""Loops that stay below this many nodes are written out: no round has to be started by the runtime."""

_MAX_BUFFER_BYTES = 64 << 20
"""Scans of known rounds beyond this grow instead: a trip count of 2^31 means "no limit"."""

_MAX_WIDENINGS = 8
"""Each widening opens a dimension of a state; tensors have at most this many."""


@dataclass(frozen=True, slots=True)
class Result:
    """What one round computes: whether to go on, the new states, and a row for every scan."""

    going: Value
    states: list[Value]
    rows: list[Value]


@dataclass(frozen=True)
class Rounds:
    """A loop: `one(scope, round, going, states)` imports the body into a scope; round is an int32 scalar.

    `reversed_scans` names the scans that are filled from behind.
    """

    ctx: LoweringContext
    one: Callable[[Scope, Value, Value, Sequence[Value]], Result]
    limit: Value | None
    going: Value
    states: list[Value]
    scans: int
    reversed_scans: frozenset[int] = frozenset()

    @property
    def known_limit(self) -> int | None:
        """The trip count where it is a constant."""
        return None if self.limit is None or self.limit.data is None else int(self.limit.data)

    def lower(self) -> list[Value]:
        """Return the final states, then the scans with their rows along axis 0."""
        written_out = self._written_out() if self.going.data is not None else None
        return written_out if written_out is not None else self._as_while()

    def _written_out(self) -> list[Value] | None:
        """Return the results of rounds one behind the other; None where their number is not known."""
        inner, build = self.ctx.inner, self.ctx.build
        mark, before = inner.mark(), len(inner.scope.graph)
        limit, states, going = self.known_limit, self.states, self.going
        scans: list[list[Value]] = [[] for _ in range(self.scans)]
        number = 0
        while going.data is not None and bool(np.all(going.data)) and number != limit:
            scope = Scope(self.ctx.graph("body"), inner.scope.graph, inner.scope)
            result = self.one(scope, build.constant(number), build.constant(np.asarray(True)), states)
            states, going = result.states, result.going
            for index, row in enumerate(result.rows):
                scans[index].insert(0 if index in self.reversed_scans else number, row)
            number += 1
            made = len(inner.scope.graph) - before
            expected = made if limit is None else ceil(made / number * limit)
            if going.data is None or max(expected, number) > UNROLL_NODES or self.limit_is_open:
                inner.undo(mark)
                return None
        if not number and scans:
            return [*states, *(build.constant(_no_rows(row)) for row in self._row_types())]
        return [*states, *(stacked(build, rows) for rows in scans)]

    @property
    def limit_is_open(self) -> bool:
        """Whether the trip count is computed at run time."""
        return self.limit is not None and self.limit.data is None

    def _row_types(self) -> list[TensorType]:
        inner = self.ctx.inner
        mark = inner.mark()
        body = _Body(self, [state.type for state in self.states])
        inner.undo(mark)
        return [row.type for row in body.result.rows]

    def _as_while(self) -> list[Value]:
        ctx, inner = self.ctx, self.ctx.inner
        body = self._settled_body()
        scope = body.scope
        starts = body.add_scans(self._rows_of_buffer(body))
        if self.limit_is_open and self.limit is not None:
            scope.capture(self.limit)
        captured = share_captures([scope])
        scope.graph.set_outputs([*body.outputs(), *(scope.captured[value] for value in captured)])
        condition = self._condition(scope)
        types = tuple(value.type for value in scope.graph.inputs)
        attributes = WhileAttributes(inner.add(condition), inner.add(scope.graph), types)
        operands = [ctx.build.constant(0), self.going, *self.states]
        operands += [*(ctx.build.constant(start) for start in starts), *captured]
        results = ctx.build.node("while", operands, attributes).results
        first = 2 + len(self.states)
        scans = results[first : first + self.scans]
        return [*results[2:first], *(self._without_start(scan) for scan in scans)]

    def _without_start(self, scan: Value) -> Value:
        """Drop the row that a growing scan starts with."""
        if scan.type.is_static:
            return scan
        rest = [0] * (scan.type.rank - 1)
        begin, size = [1, *rest], [TO_THE_END] * scan.type.rank
        return self.ctx.build.op("slice", [scan, *(self.ctx.build.constant(v) for v in (begin, size))])

    def _settled_body(self) -> _Body:
        """Import the body until its results fit its states: what changes shape is left open."""
        types = [state.type for state in self.states]
        for _ in range(_MAX_WIDENINGS):
            mark = self.ctx.inner.mark()
            body = _Body(self, types)
            widened = _widened(types, body.result.states)
            if widened == types:
                return body
            self.ctx.inner.undo(mark)
            types = widened
        raise LoweringError("has states whose shapes do not settle", "Every round changes them again.")

    def _rows_of_buffer(self, body: _Body) -> int | None:
        """Return how many rounds run, where nothing but the trip count ends them."""
        always = body.result.going is body.going or (
            body.result.going.data is not None and bool(np.all(body.result.going.data))
        )
        starts = self.going.data is not None and bool(np.all(self.going.data))
        rows = sum(row.type.size * row.dtype.numpy.itemsize for row in body.result.rows if row.type.is_static)
        count = self.known_limit if always and starts else None
        return count if count is not None and count * rows <= _MAX_BUFFER_BYTES else None

    def _condition(self, body: Scope) -> Graph:
        graph = Graph("cond")
        build = Builder(graph)
        inputs = [graph.add_input(value.name, value.type) for value in body.graph.inputs]
        going = inputs[1]
        if self.limit is not None:
            limit = self.limit
            if self.limit_is_open:
                bound = inputs[body.graph.inputs.index(body.captured[limit])]
            else:
                bound = build.constant(np.asarray(limit.constant()))
            going = build.op("logical_and", [build.op("less", [inputs[0], bound]), going])
        graph.set_outputs([going])
        return graph


class _Body:
    """The body's graph: round, going and states in; the same, one round later, out."""

    def __init__(self, rounds: Rounds, types: Sequence[TensorType]) -> None:
        self.scope = rounds.ctx.inner.separate(rounds.ctx.graph("body"), "body")
        graph = self.scope.graph
        self.rounds = rounds
        self.build = Builder(graph, source="round")
        self.round = graph.add_input("round", TensorType((), DType.INT32))
        self.going = graph.add_input("going", TensorType((), DType.BOOL))
        self.states = [graph.add_input(f"state_{index}", type) for index, type in enumerate(types)]
        self.result = rounds.one(self.scope, self.round, self.going, self.states)
        self.scans: list[Value] = []

    def add_scans(self, count: int | None) -> list[np.ndarray]:
        """Add a state for every scan: a buffer of `count` rows, or a growing tensor for None."""
        starts: list[np.ndarray] = []
        for index, row in enumerate(self.result.rows):
            rows = _no_rows(row.type)
            # LiteRT runs no loop whose state starts as an empty constant: a growing scan starts with one row.
            start = np.zeros((1 if count is None else count, *row.shape), rows.dtype)
            type = TensorType((DYNAMIC if count is None else count, *row.shape), row.dtype)
            scan = self.scope.graph.add_input(f"scan_{index}", type)
            self.scans.append(self._with_row(scan, row, count, index in self.rounds.reversed_scans))
            starts.append(start)
        return starts

    def _with_row(self, scan: Value, row: Value, count: int | None, backwards: bool) -> Value:
        build = self.build
        lifted = build.reshape(row, (1, *row.shape))
        if count is None:
            return concatenated(build, [lifted, scan] if backwards else [scan, lifted], 0)
        place = build.op("sub", [build.constant(count - 1), self.round]) if backwards else self.round
        starts = [place, *[build.constant(0)] * row.type.rank]
        at = build.op("pack", starts, PackAttributes(len(starts), 0))
        return build.op("dynamic_update_slice", [scan, lifted, at])

    def outputs(self) -> list[Value]:
        """Return what the next round starts with, before what is captured."""
        following = self.build.op("add", [self.round, self.build.constant(1)])
        return [following, self.result.going, *self.result.states, *self.scans]


def _widened(types: Sequence[TensorType], results: Sequence[Value]) -> list[TensorType]:
    try:
        return [common_type((type, value.type)) for type, value in zip(types, results, strict=True)]
    except InferenceError as error:
        raise LoweringError(
            f"has a state that starts and ends a round as different kinds of tensors: {error}",
            "A state keeps its rank and element type.",
            "Correct the loop in the source model.",
        ) from None


def _no_rows(row: TensorType) -> np.ndarray:
    if not row.is_static:
        raise LoweringError(
            f"collects rows of {row}",
            "Rows can be collected where their shape is known.",
            "Export with fixed shapes.",
        )
    return np.zeros((0, *row.shape), row.dtype.numpy)


def stacked(build: Builder, rows: Sequence[Value]) -> Value:
    """Return rows joined along a new first axis."""
    if all(row.type.is_static for row in rows):
        return concatenated(build, [build.reshape(row, (1, *row.shape)) for row in rows], 0)
    return build.op("pack", rows, PackAttributes(len(rows), 0))


def cast(build: Builder, x: Value, dtype: DType) -> Value:
    """Return x as another element type, in the graph of the builder."""
    if x.data is not None:
        return build.constant(x.data.astype(dtype.numpy))
    return x if x.dtype is dtype else build.op("cast", [x], CastAttributes(x.dtype, dtype))
