"""Activation functions that LSTM, GRU and RNN name in their attributes, as kernels or short formulas.

A function takes its alpha and beta from the attributes' lists, in the order the functions are named: each one
that has a setting takes the next entry, and its default where the list has ended. These are onnxruntime's
rules. So are the defaults: 0 where the ONNX text has none (Affine, ScaledTanh), and also for
ThresholdedRelu, where the text has 1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from edgec.frontends.onnx.context import LoweringContext, LoweringError
from edgec.ir import Value
from edgec.ops import Builder
from edgec.ops.elementwise import LeakyReluAttributes


@dataclass(frozen=True, slots=True)
class Activation:
    """One function with its settings."""

    name: str
    alpha: float = 0.0
    beta: float = 0.0

    def apply(self, build: Builder, x: Value) -> Value:
        """Return the function of x."""
        return _FORMULAS[self.name](build, x, self.alpha, self.beta)


Formula = Callable[[Builder, Value, float, float], Value]


def _kernel(kind: str) -> Formula:
    return lambda build, x, alpha, beta: build.op(kind, [x])


def _affine(build: Builder, x: Value, alpha: float, beta: float) -> Value:
    """alpha x + beta."""
    return _plus(build, _times(build, x, alpha), beta)


def _leaky_relu(build: Builder, x: Value, alpha: float, beta: float) -> Value:
    """x where x ≥ 0, else alpha x."""
    return build.op("leaky_relu", [x], LeakyReluAttributes(alpha))


def _thresholded_relu(build: Builder, x: Value, alpha: float, beta: float) -> Value:
    """x where x > alpha, else 0."""
    passes = build.op("greater", [x, build.constant(alpha)])
    return build.op("select_v2", [passes, x, build.constant(0.0)])


def _scaled_tanh(build: Builder, x: Value, alpha: float, beta: float) -> Value:
    """alpha tanh(beta x)."""
    return _times(build, build.op("tanh", [_times(build, x, beta)]), alpha)


def _hard_sigmoid(build: Builder, x: Value, alpha: float, beta: float) -> Value:
    """min(max(alpha x + beta, 0), 1) = relu6(6 alpha x + 6 beta) / 6: relu6 fuses into the sum before it."""
    line = _affine(build, x, 6 * alpha, 6 * beta)
    return _times(build, build.op("relu6", [line]), 1 / 6)


def _elu(build: Builder, x: Value, alpha: float, beta: float) -> Value:
    """max(x, 0) + alpha (e^min(x, 0) - 1); the kernel has alpha 1."""
    if alpha == 1.0:
        return build.op("elu", [x])
    below = build.op("elu", [build.op("minimum", [x, build.constant(0.0)])])
    return build.op("add", [build.op("relu", [x]), _times(build, below, alpha)])


def _softsign(build: Builder, x: Value, alpha: float, beta: float) -> Value:
    """x / (1 + |x|)."""
    return build.op("div", [x, _plus(build, build.op("abs", [x]), 1.0)])


def _softplus(build: Builder, x: Value, alpha: float, beta: float) -> Value:
    """max(x, 0) + log(1 + e^-|x|): the exponential never overflows."""
    decay = build.op("exp", [build.op("neg", [build.op("abs", [x])])])
    return build.op("add", [build.op("relu", [x]), build.op("log", [_plus(build, decay, 1.0)])])


def _times(build: Builder, x: Value, factor: float) -> Value:
    return x if factor == 1.0 else build.op("mul", [x, build.constant(factor)])


def _plus(build: Builder, x: Value, term: float) -> Value:
    return x if term == 0.0 else build.op("add", [x, build.constant(term)])


_FORMULAS: dict[str, Formula] = {
    "relu": _kernel("relu"),
    "tanh": _kernel("tanh"),
    "sigmoid": _kernel("logistic"),
    "affine": _affine,
    "leakyrelu": _leaky_relu,
    "thresholdedrelu": _thresholded_relu,
    "scaledtanh": _scaled_tanh,
    "hardsigmoid": _hard_sigmoid,
    "elu": _elu,
    "softsign": _softsign,
    "softplus": _softplus,
}
_ALPHAS = {
    "affine": 0.0,
    "leakyrelu": 0.01,
    "thresholdedrelu": 0.0,
    "scaledtanh": 0.0,
    "hardsigmoid": 0.2,
    "elu": 1.0,
}
"""Defaults of the functions that take an alpha."""
_BETAS = {"affine": 0.0, "scaledtanh": 0.0, "hardsigmoid": 0.5}
"""Defaults of the functions that take a beta."""


def read_activations(
    ctx: LoweringContext, defaults: tuple[str, ...], directions: int
) -> list[tuple[Activation, ...]]:
    """Return the functions of each direction; LoweringError for a wrong count or an unknown name."""
    names = _given_names(ctx) or list(defaults * directions)
    expected = len(defaults) * directions
    if len(names) != expected:
        raise LoweringError(
            f"names {len(names)} activations",
            f"{ctx.op_type} has {len(defaults)} for each direction, {expected} here.",
            "Correct the attribute 'activations' in the source model.",
        )
    unknown = sorted(set(names) - set(_FORMULAS))
    if unknown:
        raise LoweringError(
            f"has the activation '{unknown[0]}'",
            f"ONNX defines {', '.join(sorted(_FORMULAS))} for it.",
            "Use one of these in the source model.",
        )
    alphas, betas = (iter(ctx.floats(f"activation_{name}") or []) for name in ("alpha", "beta"))
    functions = [
        Activation(
            name,
            next(alphas, _ALPHAS[name]) if name in _ALPHAS else 0.0,
            next(betas, _BETAS[name]) if name in _BETAS else 0.0,
        )
        for name in names
    ]
    size = len(defaults)
    return [tuple(functions[index * size : (index + 1) * size]) for index in range(directions)]


def _given_names(ctx: LoweringContext) -> list[str]:
    attributes = (item for item in ctx.node.attribute if item.name == "activations")
    return [name.decode().lower() for item in attributes for name in item.strings]
