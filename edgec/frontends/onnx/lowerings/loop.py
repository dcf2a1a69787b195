"""Loop and Scan, in terms of rounds: see `edgec.frontends.onnx.rounds`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgec.frontends.onnx.axes import checked_axis
from edgec.frontends.onnx.context import LoweringContext, LoweringError
from edgec.frontends.onnx.lowerings.movement import sliced
from edgec.frontends.onnx.registry import lowers
from edgec.frontends.onnx.rounds import Result, Rounds, cast, stacked
from edgec.frontends.onnx.scope import Scope
from edgec.ir import DYNAMIC, DType, Value
from edgec.ops import Builder
from edgec.ops.slicing import GatherAttributes

_INT32_MAX = int(np.iinfo(np.int32).max)


@lowers("Loop", dynamic=True)
def loop(ctx: LoweringContext) -> list[Value]:
    """Rounds while the condition holds, up to a trip count; a row of every scan output is kept a round."""
    body, build = ctx.graph("body"), ctx.build
    count, going = ctx.optional_input(0), ctx.optional_input(1)
    states = [ctx.input(index) for index in range(2, len(ctx.inputs))]

    def one(scope: Scope, number: Value, on: Value, inputs: Sequence[Value]) -> Result:
        inner = Builder(scope.graph, source="round")
        results = ctx.inner.run(scope, [cast(inner, number, DType.INT64), on, *inputs])
        split = 1 + len(states)
        return Result(inner.reshape(results[0], ()), results[1:split], results[split:])

    limit = None if count is None else _as_int32(build, build.reshape(count, ()))
    start = build.constant(np.asarray(True)) if going is None else build.reshape(going, ())
    return Rounds(ctx, one, limit, start, states, len(body.output) - 1 - len(states)).lower()


def _as_int32(build: Builder, count: Value) -> Value:
    """Return a trip count, which may be the largest int64 to say that there is no limit, as int32."""
    if count.data is not None:
        return build.constant(np.asarray(min(int(count.data), _INT32_MAX), np.int32))
    most = build.constant(np.asarray(_INT32_MAX, count.dtype.numpy))
    return cast(build, build.op("minimum", [count, most]), DType.INT32)


@lowers("Scan", since=9)
def scan(ctx: LoweringContext) -> list[Value]:
    """Rounds over the entries of the scan inputs along their axes; rows of the scan outputs are joined."""
    split = len(ctx.inputs) - ctx.int("num_scan_inputs")
    states = [ctx.input(index) for index in range(split)]
    entries = [ctx.input(index) for index in range(split, len(ctx.inputs))]
    axes = ctx.ints("scan_input_axes", [0] * len(entries)) or []
    axes = [checked_axis(axis, value.type.rank) for axis, value in zip(axes, entries, strict=True)]
    backwards = ctx.ints("scan_input_directions", [0] * len(entries)) or []
    return _scanned(ctx, states, entries, axes, backwards)


@lowers("Scan")
def scan_opset_8(ctx: LoweringContext) -> list[Value]:
    """Scan of every entry along a batch axis in front of states and scan inputs."""
    if ctx.optional_input(0) is not None:
        raise LoweringError(
            "scans sequences of different lengths",
            "Opset 8 alone defines them.",
            "Export with opset 9 or later.",
        )
    split = len(ctx.inputs) - ctx.int("num_scan_inputs")
    batch = ctx.input(len(ctx.inputs) - 1).shape[0]
    backwards = ctx.ints("directions", [0] * ctx.int("num_scan_inputs")) or []
    results: list[list[Value]] = []
    for entry in range(batch):
        own = [_entry(ctx.build, ctx.input(i), 0, entry) for i in range(1, len(ctx.inputs))]
        states, entries = own[: split - 1], own[split - 1 :]
        results.append(_scanned(ctx, states, entries, [0] * len(entries), backwards))
    return [stacked(ctx.build, values) for values in zip(*results, strict=True)]


def _scanned(
    ctx: LoweringContext,
    states: list[Value],
    entries: list[Value],
    axes: Sequence[int],
    backwards: Sequence[int],
) -> list[Value]:
    lengths = {value.shape[axis] for value, axis in zip(entries, axes, strict=True)}
    if len(lengths) != 1 or DYNAMIC in lengths:
        raise LoweringError(
            f"scans inputs of lengths {sorted(lengths)}",
            "The number of rounds is the length that all scan inputs share.",
            "Correct the input shapes.",
        )
    length = lengths.pop()

    def one(scope: Scope, number: Value, on: Value, inputs: Sequence[Value]) -> Result:
        inner = Builder(scope.graph, source="round")
        rows: list[Value] = []
        for value, axis, reverse in zip(entries, axes, backwards, strict=True):
            place = inner.op("sub", [inner.constant(length - 1), number]) if reverse else number
            rows.append(_entry(inner, scope.bring(value), axis, place))
        results = ctx.inner.run(scope, [*inputs, *rows])
        return Result(on, results[: len(states)], results[len(states) :])

    scans = len(ctx.graph("body").output) - len(states)
    reverse = ctx.ints("scan_output_directions", [0] * scans) or []
    filled_from_behind = frozenset(index for index, direction in enumerate(reverse) if direction)
    always = ctx.build.constant(np.asarray(True))
    limit = ctx.build.constant(length)
    results = Rounds(ctx, one, limit, always, states, scans, filled_from_behind).lower()
    return [*results[: len(states)], *_along_axes(ctx, results[len(states) :])]


def _along_axes(ctx: LoweringContext, scans: Sequence[Value]) -> list[Value]:
    """Return scans with their rows along the axes that the node wants."""
    axes = ctx.ints("scan_output_axes", [0] * len(scans)) or []
    moved: list[Value] = []
    for value, axis in zip(scans, axes, strict=True):
        others = list(range(1, value.type.rank))
        others.insert(checked_axis(axis, value.type.rank), 0)
        moved.append(ctx.build.transpose(value, others))
    return moved


def _entry(build: Builder, x: Value, axis: int, place: int | Value) -> Value:
    """Return one entry of x along an axis, without the axis."""
    if isinstance(place, Value) and place.data is None:
        return build.op("gather", [x, place], GatherAttributes(axis))
    number = place if isinstance(place, int) else int(place.constant())
    return build.reshape(sliced(build, x, axis, number, 1), (*x.shape[:axis], *x.shape[axis + 1 :]))
