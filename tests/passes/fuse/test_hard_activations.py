"""Hard sigmoid and hard swish are found in every spelling; numbers stay within roundings."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from edgec.ir import Model, Value
from edgec.ops import ActivationFunctionType, Builder
from edgec.ops.elementwise import AddAttributes
from edgec.passes.canonicalize import CANONICALIZE
from edgec.passes.contract import PassResult
from edgec.passes.fuse import FUSE_ACTIVATIONS, FUSE_HARD_ACTIVATIONS
from edgec.passes.fuse.hard_activations import FuseHardSigmoid, FuseHardSwish
from tests.support.ir_graphs import Body, constant, ramp, reasons, rewritten

ROUNDINGS = 4e-7
"""Three roundings of 2^-24 in either form, relative to the largest output."""


class CanonicalThenFuse:
    """What the pipeline does around these rules."""

    name = "canonical_then_fuse"

    def run(self, model: Model) -> PassResult:
        changed = [item.run(model).modified for item in (CANONICALIZE, FUSE_HARD_ACTIVATIONS)]
        return PassResult(model, any(changed))


Spelling = Callable[[Builder, Value], Value]


def gate(b: Builder, x: Value) -> Value:
    return b.op("relu6", [b.op("add", [x, constant(b, 3.0)])])


def clipped(b: Builder, x: Value, a: float = 1 / 6) -> Value:
    line = b.op("add", [b.op("mul", [x, constant(b, a)]), constant(b, 0.5)])
    return b.op("minimum", [b.op("maximum", [line, constant(b, 0.0)]), constant(b, 1.0)])


def clipped_above_first(b: Builder, x: Value) -> Value:
    line = b.op("add", [constant(b, 0.5), b.op("div", [x, constant(b, 6.0)])])
    return b.op("maximum", [b.op("minimum", [constant(b, 1.0), line]), constant(b, 0.0)])


def fused_gate(b: Builder, x: Value) -> Value:
    return b.op("add", [x, constant(b, 3.0)], AddAttributes(ActivationFunctionType.RELU6))


SPELLINGS: dict[str, Spelling] = {
    "divide_last": lambda b, x: b.op("div", [b.op("mul", [x, gate(b, x)]), constant(b, 6.0)]),
    "scale_gate": lambda b, x: b.op("mul", [x, b.op("mul", [gate(b, x), constant(b, 1 / 6)])]),
    "scale_x": lambda b, x: b.op("mul", [b.op("mul", [constant(b, 1 / 6), x]), gate(b, x)]),
    "gate_first": lambda b, x: b.op("mul", [b.op("div", [gate(b, x), constant(b, 6.0)]), x]),
    "clip": lambda b, x: b.op("mul", [x, clipped(b, x)]),
    "clip_above_first": lambda b, x: b.op("mul", [clipped_above_first(b, x), x]),
    "fused_gate": lambda b, x: b.op("mul", [b.op("mul", [fused_gate(b, x), x]), constant(b, 1 / 6)]),
}


@pytest.mark.parametrize("spelling", SPELLINGS.values(), ids=SPELLINGS)
def test_every_spelling_of_hard_swish(spelling: Spelling) -> None:
    result = rewritten(CanonicalThenFuse(), spelling, (4, 16), rtol=ROUNDINGS)
    assert result.kinds == ["hard_swish"]


def test_hard_swish_has_its_known_values() -> None:
    """x · relu6(x + 3) / 6 is 0 up to -3, x from 3 on, and 2/3 at x = 1."""
    feeds = [np.array([-4, -3, 0, 1, 3, 5], np.float32)]
    result = rewritten(CanonicalThenFuse(), SPELLINGS["clip"], (6,), feeds=feeds, rtol=ROUNDINGS)
    np.testing.assert_allclose(result.after[0], [0, 0, 0, 2 / 3, 3, 5], rtol=1e-6)


def test_gate_with_another_reader_stays_for_it() -> None:
    """The squeezed gate is an output too: the product is a hard_swish, the gate remains."""

    def body(b: Builder, x: Value) -> list[Value]:
        relu6 = gate(b, x)
        product = b.op("mul", [b.op("mul", [x, relu6]), constant(b, 1 / 6)])
        return [product, b.op("neg", [relu6])]

    result = rewritten(CanonicalThenFuse(), body, (4, 16), rtol=ROUNDINGS)
    assert sorted(result.kinds) == ["add", "hard_swish", "neg", "relu6"]


@pytest.mark.parametrize(
    ("spelling", "expected"),
    [
        (clipped, ["add", "relu6", "mul"]),
        (clipped_above_first, ["add", "relu6", "mul"]),
        (lambda b, x: clipped(b, x, 0.2), ["mul", "add", "relu6", "mul"]),
    ],
    ids=["one_sixth", "above_first", "alpha_0.2"],
)
def test_hard_sigmoid_needs_no_minimum(spelling: Spelling, expected: list[str]) -> None:
    result = rewritten(CanonicalThenFuse(), spelling, (4, 16), rtol=ROUNDINGS)
    assert result.kinds == expected
    FUSE_ACTIVATIONS.run(result.model)
    assert result.kinds == [kind for kind in expected if kind != "relu6"]


def test_hard_sigmoid_whose_sum_holds_the_relu() -> None:
    def body(b: Builder, x: Value) -> Value:
        attributes = AddAttributes(ActivationFunctionType.RELU)
        line = b.op("add", [b.op("mul", [x, constant(b, 0.2)]), constant(b, 0.5)], attributes)
        return b.op("minimum", [line, constant(b, 1.0)])

    result = rewritten(FUSE_HARD_ACTIVATIONS, body, (4, 16), rtol=ROUNDINGS)
    assert result.kinds == ["mul", "add", "relu6", "mul"]


def shared_line(b: Builder, x: Value) -> list[Value]:
    line = b.op("add", [b.op("mul", [x, constant(b, 0.2)]), constant(b, 0.5)])
    return [b.op("minimum", [b.op("relu", [line]), constant(b, 1.0)]), b.op("abs", [line])]


def other_ceiling(b: Builder, x: Value) -> Value:
    line = b.op("add", [b.op("mul", [x, constant(b, 0.2)]), constant(b, 0.5)])
    return b.op("minimum", [b.op("relu", [line]), constant(b, 2.0)])


def no_slope(b: Builder, x: Value) -> Value:
    return b.op("minimum", [b.op("relu", [b.op("add", [x, constant(b, 0.5)])]), constant(b, 1.0)])


def slopes(b: Builder, x: Value) -> Value:
    line = b.op("add", [b.op("mul", [x, b.constant(ramp(16))]), constant(b, 0.5)])
    return b.op("minimum", [b.op("relu", [line]), constant(b, 1.0)])


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (shared_line, "not an unshared sum clipped to [0, 1]"),
        (other_ceiling, "not an unshared sum clipped to [0, 1]"),
        (no_slope, "the sum is not x * a + b with one a and one b"),
        (slopes, "the sum is not x * a + b with one a and one b"),
    ],
)
def test_hard_sigmoid_says_why_it_does_not_fire(body: Body, reason: str) -> None:
    assert reasons(FuseHardSigmoid(), body, (4, 16))[-1] == reason


def test_other_factors_stay_behind_a_hard_swish() -> None:
    """0.1667 is 2e-4 off 1/6 and is kept as a factor; one a channel is kept as well."""

    def single(b: Builder, x: Value) -> Value:
        return b.op("mul", [b.op("mul", [x, gate(b, x)]), constant(b, 0.1667)])

    def merged(b: Builder, x: Value) -> Value:
        y = b.op("div", [b.op("mul", [x, gate(b, x)]), constant(b, 6.0)])
        return b.op("mul", [y, b.constant(ramp(16))])

    for body in (single, merged):
        result = rewritten(CanonicalThenFuse(), body, (4, 16), rtol=ROUNDINGS)
        assert result.kinds == ["hard_swish", "mul"]


def no_factor(b: Builder, x: Value) -> Value:
    return b.op("mul", [x, gate(b, x)])


def other_x(b: Builder, x: Value) -> Value:
    return b.op("mul", [b.op("mul", [b.op("abs", [x]), gate(b, x)]), constant(b, 1 / 6)])


def shared_product(b: Builder, x: Value) -> list[Value]:
    product = b.op("mul", [x, gate(b, x)])
    return [b.op("mul", [product, constant(b, 1 / 6)]), product]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (no_factor, "not a product of two values and a constant"),
        (other_x, "no factor is relu6(x + 3) of another"),
        (shared_product, "not a product of two values and a constant"),
    ],
)
def test_hard_swish_says_why_it_does_not_fire(body: Body, reason: str) -> None:
    """Without a factor the gate and the product are as cheap as a hard_swish and a factor of 6."""
    assert reasons(FuseHardSwish(), body, (4, 16))[-1] == reason


def test_swish_stays() -> None:
    body: Body = lambda b, x: b.op("mul", [x, b.op("logistic", [x])])  # noqa: E731
    assert rewritten(CanonicalThenFuse(), body, (4, 16)).kinds == ["logistic", "mul"]
