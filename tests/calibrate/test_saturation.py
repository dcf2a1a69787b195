"""Ranges end where readers saturate, and nowhere else."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edgec.calibrate.ranges import collect_ranges
from edgec.calibrate.saturation import limited, useful_ranges
from edgec.ir import DType, Graph, Model, Port, TensorType, Value
from edgec.ops import Builder
from edgec.ops.elementwise import AddAttributes
from edgec.ops.movement import ConcatenationAttributes
from edgec.ops.spec import ActivationFunctionType

ALL = (-math.inf, math.inf)
RELU6 = AddAttributes(ActivationFunctionType.RELU6)


class Net:
    """A graph whose value `x` = 2 * input; readers are added by the test."""

    def __init__(self) -> None:
        self.graph = Graph()
        self.source = self.graph.add_input("in", TensorType((1, 8)))
        self.build = Builder(self.graph)
        self.x = self.build.op("mul", [self.source, self.build.constant(2.0)], name="x")

    def op(self, kind: str, *operands: Value | float, **settings: object) -> Value:
        values = [self.build.constant(v) if isinstance(v, float) else v for v in operands]
        return self.build.op(kind, values, **settings)  # pyright: ignore[reportArgumentType]

    def useful(self, *outputs: Value) -> tuple[float, float]:
        self.graph.set_outputs(outputs)
        return useful_ranges(self.graph, [self.x])["x"]


def test_a_hard_sigmoid_reads_from_minus_3_to_3() -> None:
    """Whatever comes behind the clamp."""
    net = Net()
    assert net.useful(net.op("mul", net.op("add", net.x, 3.0, attributes=RELU6), 1 / 6)) == (-3.0, 3.0)


def test_a_hard_swish_reads_from_minus_3_on() -> None:
    """In each of the forms it is written in; without the clamp the product needs all of x."""
    for build in (
        lambda n: n.op("mul", n.x, n.op("mul", n.op("add", n.x, 3.0, attributes=RELU6), 1 / 6)),
        lambda n: n.op("mul", n.op("mul", n.op("add", n.x, 3.0, attributes=RELU6), n.x), 1 / 6),
        lambda n: n.op("hard_swish", n.x),
    ):
        net = Net()
        assert net.useful(build(net)) == (-3.0, math.inf)
    net = Net()
    assert net.useful(net.op("mul", net.x, net.op("add", net.x, 3.0))) == ALL


@pytest.mark.parametrize(("kind", "step", "limit"), [("logistic", 1 / 256, 1.0), ("tanh", 1 / 128, 1.0)])
def test_logistic_and_tanh_are_flat_outside(kind: str, step: float, limit: float) -> None:
    """At the ends of the range the result is a quarter of its step from its limit."""
    net = Net()
    low, high = net.useful(net.op(kind, net.x))
    value = {"logistic": lambda x: 1 / (1 + math.exp(-x)), "tanh": math.tanh}[kind](high)
    assert low == -high and limit - value == pytest.approx(step / 4)


def test_16_bits_tell_more_apart() -> None:
    """A quarter of a step of 1/32768; a clamp ends where it ends."""
    net = Net()
    net.graph.set_outputs([net.op("logistic", net.x), net.op("add", net.x, 3.0, attributes=RELU6)])
    found = useful_ranges(net.graph, [net.x], 16)["x"]
    assert found == (-math.log(131071), math.log(131071))


def test_what_one_reader_needs_all_readers_get() -> None:
    """A logistic and a relu: from the logistic's low end to infinity; an output needs all."""
    net = Net()
    gate, kept = net.op("logistic", net.x), net.op("relu", net.x)
    low, high = net.useful(gate, kept)
    assert (low, high) == (-math.log(1023), math.inf)
    assert net.useful(gate, net.x) == ALL


def test_moves_pass_on_what_is_needed_behind_them() -> None:
    """Joined with others, reshaped, and shifted by constants on the way."""
    net = Net()
    joined = net.build.op("concatenation", [net.x, net.x], ConcatenationAttributes(1))
    shifted = net.op("sub", net.build.reshape(joined, (1, 16, 1)), 10.0)
    assert net.useful(net.op("relu6", net.op("mul", shifted, 0.5))) == (10.0, 22.0)


def test_signs_that_are_not_known_leave_everything() -> None:
    """A negative factor turns the range around; we say nothing rather than something wrong."""
    net = Net()
    assert net.useful(net.op("relu6", net.op("mul", net.x, -1.0))) == ALL
    net = Net()
    assert net.useful(net.op("relu6", net.op("sub", 5.0, net.x))) == (-1.0, 5.0)


def test_bounds_by_constants() -> None:
    """minimum(x, 4) cannot tell 4 from more."""
    net = Net()
    assert net.useful(net.op("maximum", net.op("minimum", net.x, 4.0), -2.0)) == (-2.0, 4.0)


def test_nothing_is_cut_where_nothing_would_be_left() -> None:
    """A tensor that always saturates keeps its range."""
    assert limited((5.0, 9.0), (-3.0, 3.0)) == (5.0, 9.0)
    assert limited((-5.0, 9.0), (-3.0, 3.0)) == (-3.0, 3.0)
    assert limited((-1.0, 2.0), (-3.0, 3.0)) == (-1.0, 2.0)


def test_calibrated_ranges_are_limited_but_for_inputs() -> None:
    """The input feeds nothing but a multiplication and stays as it was seen: users rely on its scale."""
    net = Net()
    net.graph.set_outputs([net.op("logistic", net.x, name="y")])
    ports = [Port("in", (1, 8), DType.FLOAT32)], [Port("y", (1, 8), DType.FLOAT32)]
    sample = {"in": np.linspace(-50, 40, 8, dtype=np.float32)[None]}
    found = collect_ranges(Model(net.graph, *ports), [sample])
    assert found["in"] == (-50.0, 40.0)
    assert found["x"] == (-math.log(1023), math.log(1023))
