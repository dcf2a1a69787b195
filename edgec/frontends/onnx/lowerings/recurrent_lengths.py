"""Sequences of different lengths in one batch: a state waits at the steps where its sequence has no input.

    mask[t, b] = 1 where t < length[b], else 0          [T, B, 1]
    state = mask[t] · new + (1 - mask[t]) · old         exact, as one factor is 0 and the other 1

Known lengths give constant masks, none where all sequences have an input, and no step where none has.
onnxruntime, which is followed here, gives zeros for Y beyond a sequence's end, and for the last state of a
sequence of length 0 (whatever its initial state was).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgec.frontends.onnx.context import LoweringContext, LoweringError
from edgec.frontends.onnx.lowerings.recurrent_pieces import cut
from edgec.ir import DType, Value
from edgec.ops import Builder


@dataclass(frozen=True, slots=True)
class Lengths:
    """Where sequences have inputs: `mask` and `rest` = 1 - mask are float32 `[T, B, 1]`; None: everywhere.

    `valid` is the mask as bool.
    """

    build: Builder
    valid: Value | None = None
    mask: Value | None = None
    rest: Value | None = None

    def between(self, build: Builder, time: int, count: int) -> Lengths:
        """Return the same for `count` steps from `time` on."""
        if self.mask is None or self.rest is None:
            return self
        return Lengths(
            build, None, cut(build, self.mask, 0, time, count), cut(build, self.rest, 0, time, count)
        )

    def nobody_at(self, time: int) -> bool:
        """Whether it is known that no sequence has an input at a step."""
        return self.mask is not None and self.mask.data is not None and not self.mask.data[time].any()

    def without_padding(self, x: Value) -> Value:
        """Return x with zeros as padding: zero times whatever stands there may not be zero."""
        if self.valid is None:
            return x
        return self.build.op("select_v2", [self.valid, x, self.build.constant(0.0)])

    def advance(self, time: int, new: tuple[Value, ...], old: tuple[Value | None, ...]) -> tuple[Value, ...]:
        """Return the new states where sequences have an input at this step, the old ones elsewhere."""
        if self.mask is None or self.rest is None or self._everybody_at(time):
            return new
        mask, rest = (cut(self.build, part, 0, time, 1) for part in (self.mask, self.rest))
        return tuple(self._mixed(mask, rest, *states) for states in zip(new, old, strict=True))

    def hide_padding(self, sequence: Value) -> Value:
        """Return `[T, B, hidden]` with zeros beyond each sequence's end."""
        return sequence if self.mask is None else self.build.op("mul", [sequence, self.mask])

    def without_empty(self, state: Value) -> Value:
        """Return a last state with zeros for sequences of length 0."""
        if self.mask is None or self._everybody_at(0):
            return state
        return self.build.op("mul", [state, cut(self.build, self.mask, 0, 0, 1)])

    def _everybody_at(self, time: int) -> bool:
        return self.mask is not None and self.mask.data is not None and bool(self.mask.data[time].all())

    def _mixed(self, mask: Value, rest: Value, new: Value, old: Value | None) -> Value:
        running = self.build.op("mul", [mask, new])
        if old is None:
            return running
        return self.build.op("add", [running, self.build.op("mul", [rest, old])])


def read_lengths(ctx: LoweringContext, index: int, steps: int, batch: int) -> Lengths:
    """Read `sequence_lens`, one number for each entry of the batch; LoweringError where one does not fit."""
    lengths, build = ctx.optional_input(index), ctx.build
    if lengths is None:
        return Lengths(build)
    if lengths.data is not None:
        return _known_lengths(build, [int(length) for length in lengths.data], steps)
    times = np.arange(steps, dtype=np.int32).reshape(steps, 1, 1)
    rows = build.reshape(ctx.cast(lengths, DType.INT32), [1, batch, 1])
    valid = build.op("less", [build.constant(times), rows])
    mask = ctx.cast(valid, DType.FLOAT32)
    return Lengths(build, valid, mask, build.op("sub", [build.constant(1.0), mask]))


def _known_lengths(build: Builder, lengths: list[int], steps: int) -> Lengths:
    outside = [length for length in lengths if not 0 <= length <= steps]
    if outside:
        raise LoweringError(
            f"has a sequence of length {outside[0]}",
            f"The input has {steps} steps.",
            "Correct the lengths in the source model.",
        )
    if all(length == steps for length in lengths):
        return Lengths(build)
    valid = np.arange(steps).reshape(steps, 1, 1) < np.array(lengths).reshape(1, -1, 1)
    mask = valid.astype(np.float32)
    return Lengths(build, build.constant(valid), build.constant(mask), build.constant(1 - mask))
