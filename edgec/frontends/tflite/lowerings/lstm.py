"""UNIDIRECTIONAL_SEQUENCE_LSTM of a layer without memory, in float: its steps, unrolled.

    i, f, g, o = x Wᵀ + h Rᵀ + b        c = σ(f) c + σ(i) act(g)        h = σ(o) act(c)

The input's share `x Wᵀ + b` is one product for all steps. The builtin keeps h and c in variable tensors from
one run to the next, also where it was made from a layer that starts from zeros in every run: only unrolled it
does what the layer does. A file that was a TFLite file to begin with means what it says and keeps its memory.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgec.frontends.tflite.context import Context, LoweringError
from edgec.frontends.tflite.registry import lowers
from edgec.ir import Array, DType, Value
from edgec.ops import Builder
from edgec.ops.matmul import FullyConnectedAttributes
from edgec.ops.movement import ConcatenationAttributes
from edgec.ops.slicing import SplitAttributes

MAX_STEPS = 512
_INPUT_WEIGHTS = (1, 2, 3, 4)  # input, forget, cell, output: the order of the kernel's operands
_RECURRENT_WEIGHTS = (5, 6, 7, 8)
_BIASES = (12, 13, 14, 15)
_PEEPHOLES_AND_PROJECTION = (9, 10, 11, 16, 17)
_STATES = (18, 19)
_LAYER_NORM = (20, 21, 22, 23)
_ACTIVATIONS = {0: None, 1: "relu", 3: "relu6", 4: "tanh"}  # schema: ActivationFunctionType


@lowers("UNIDIRECTIONAL_SEQUENCE_LSTM")
def unidirectional_sequence_lstm(ctx: Context) -> list[Value] | None:
    """Unroll for a stateless source; refuses what files for quantized or extended cells carry."""
    if not ctx.stateless:
        return None
    x = ctx.input(0)
    _refuse(ctx, x)
    build = ctx.build
    if not ctx.option("timeMajor"):
        x = build.transpose(x, [1, 0, 2])
    steps, batch, depth = x.shape
    cell = _Cell.of(ctx, depth)
    flat = build.reshape(x, [steps * batch, depth])
    projected = build.op("fully_connected", [flat, cell.weights, cell.bias])
    rows = [projected]
    if steps > 1:
        axis = build.constant(0)
        rows = list(build.node("split", [axis, projected], SplitAttributes(steps)).results)
    hidden: list[Value] = []
    state: Value | None = None
    for row in rows:
        h, state = cell.step(build, row, hidden[-1] if hidden else None, state)
        hidden.append(h)
    stacked = [build.reshape(h, [1, batch, cell.units]) for h in hidden]
    joined = stacked[0]
    if steps > 1:
        joined = build.op("concatenation", list(stacked), ConcatenationAttributes(0))
    return [joined if ctx.option("timeMajor") else build.transpose(joined, [1, 0, 2])]


def _refuse(ctx: Context, x: Value) -> None:
    extra = [i for i in (*_PEEPHOLES_AND_PROJECTION, *_LAYER_NORM) if ctx.optional_input(i) is not None]
    if x.dtype is not DType.FLOAT32 or ctx.input(_INPUT_WEIGHTS[1]).dtype is not DType.FLOAT32:
        raise LoweringError(
            "is a quantized LSTM",
            "It keeps integer states between runs, which the IR cannot hold.",
            "Give the float model, and quantize it here (--int8).",
        )
    if extra:
        raise LoweringError(
            f"has peepholes, a projection or layer norms (operands {extra})", "", "Convert a plain LSTM."
        )
    if set(ctx.states) != set(_STATES):
        raise LoweringError("has states that are not its own variables", "", "Convert the model again.")
    if x.type.rank != 3 or x.shape[0 if ctx.option("timeMajor") else 1] > MAX_STEPS:
        raise LoweringError(f"runs over {list(x.shape)}", f"Up to {MAX_STEPS} steps are unrolled.")
    if ctx.option("fusedActivationFunction", 4) not in _ACTIVATIONS:
        raise LoweringError("has an unknown activation", "", "Use tanh, relu or relu6.")


@dataclass(frozen=True)
class _Cell:
    """Weights of all gates in one matrix, in the kernel's order: input, forget, cell, output."""

    units: int
    weights: Value
    recurrent: Value
    bias: Value
    activation: str | None
    clip: float

    @staticmethod
    def of(ctx: Context, depth: int) -> _Cell:
        recurrent = _joined(ctx, _RECURRENT_WEIGHTS, "recurrent weights")
        units = recurrent.shape[1]
        activation = _ACTIVATIONS[ctx.option("fusedActivationFunction", 4)]
        clip = float(ctx.options.cellClip) if ctx.options is not None else 0.0
        return _Cell(
            units,
            ctx.build.constant(_joined(ctx, _INPUT_WEIGHTS, "weights")),
            ctx.build.constant(recurrent),
            ctx.build.constant(_joined(ctx, _BIASES, "bias")),
            activation,
            clip,
        )

    def step(self, build: Builder, row: Value, h: Value | None, c: Value | None) -> tuple[Value, Value]:
        """Return the new h and c; None stands for zeros."""
        if h is not None:
            nothing = build.constant(np.zeros(4 * self.units, np.float32))
            options = FullyConnectedAttributes()
            row = build.op("add", [row, build.op("fully_connected", [h, self.recurrent, nothing], options)])
        gates = build.node("split", [build.constant(1), row], SplitAttributes(4)).results
        i, f, g, o = gates
        new = build.op("mul", [build.op("logistic", [i]), self._activate(build, g)])
        if c is not None:
            new = build.op("add", [build.op("mul", [build.op("logistic", [f]), c]), new])
        if self.clip > 0:
            new = build.op("minimum", [new, build.constant(self.clip)])
            new = build.op("maximum", [new, build.constant(-self.clip)])
        return build.op("mul", [build.op("logistic", [o]), self._activate(build, new)]), new

    def _activate(self, build: Builder, x: Value) -> Value:
        return build.op(self.activation, [x]) if self.activation is not None else x


def _joined(ctx: Context, operands: tuple[int, ...], what: str) -> Array:
    if ctx.optional_input(operands[0]) is None:
        raise LoweringError("couples its input and forget gates", "", "Convert a plain LSTM.")
    return np.concatenate([ctx.constant(index, what) for index in operands])
