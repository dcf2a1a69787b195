"""Clamps of int8 tensors: every integer stays what it was, in every kernel library."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgec.ir import Quantization, Value
from edgec.kernels import KernelSet, Runner
from edgec.legalize.clamps import DecomposeMaximum, EliminateIdleClamp
from edgec.ops import ActivationFunctionType
from edgec.ops.pool import Pool2DAttributes
from tests.legalize.graphs import ONE_PARTITION, SCALE, Net, rewritten

EVERY = np.arange(-128, 128, dtype=np.int8)


def limit(net: Net, number: int) -> Value:
    value = net.graph.constant(np.asarray(number, np.int8))
    value.type = replace(value.type, quantization=SCALE)
    return value


@pytest.mark.parametrize("kernels", list(KernelSet))
@pytest.mark.parametrize("kind", ["maximum", "minimum"])
def test_all_pairs_of_integers(kind: str, kernels: KernelSet) -> None:
    """The difference is a whole number of steps, so no rounding hides in the two ops: 65536 pairs."""
    net = Net(int8=True)
    x, y = net.input(1, 256, 1), net.input(1, 1, 256, name="y")
    net.returns(net.op(kind, [x, y]))
    assert net.partitions().outside == (kind.upper(),)
    assert rewritten(net, DecomposeMaximum()) == []
    assert net.partitions() == ONE_PARTITION
    feeds = [EVERY.reshape(1, 256, 1), EVERY.reshape(1, 1, 256)]
    (found,) = Runner(net.bytes(), kernels=kernels).run(feeds)
    expected = (np.maximum if kind == "maximum" else np.minimum)(*feeds)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(("kind", "idle", "active"), [("maximum", -128, -127), ("minimum", 127, 126)])
def test_a_limit_at_the_end_of_the_integers_is_idle(kind: str, idle: int, active: int) -> None:
    """One step further in, it clips something and stays."""
    for number, left in ((idle, []), (active, [kind])):
        net = Net(int8=True)
        x = net.op("logistic", [net.input(1, 4, 4, 2)])
        net.returns(net.op("reshape", [net.op(kind, [x, limit(net, number)]), net.ints([1, 32])]))
        reasons = rewritten(net, EliminateIdleClamp())
        assert net.kinds() == ["logistic", *left, "reshape"]
        assert reasons == (["some integers are clipped"] if left else [])


@pytest.mark.parametrize(
    ("activation", "scale", "zero_point", "idle"),
    [
        (ActivationFunctionType.RELU, 0.05, -128, True),
        (ActivationFunctionType.RELU, 0.05, -127, False),
        (ActivationFunctionType.RELU6, 6 / 255, -128, True),
        (ActivationFunctionType.RELU6, 6.1 / 255, -128, False),
        (ActivationFunctionType.NONE, 0.05, 3, True),
    ],
)
def test_a_pool_of_one_pixel(
    activation: ActivationFunctionType, scale: float, zero_point: int, idle: bool
) -> None:
    """Idle where its bounds lie at the integers' ends or beyond."""
    net = Net(int8=True)
    x = net.op("logistic", [net.input(1, 4, 4, 2)])
    y = net.op("max_pool_2d", [x], Pool2DAttributes(fused_activation_function=activation))
    for value in (x, y):
        value.type = replace(value.type, quantization=Quantization.per_tensor(scale, zero_point))
    net.returns(net.op("reshape", [y, net.ints([1, 32])]))
    rewritten(net, EliminateIdleClamp())
    assert ("max_pool_2d" not in net.kinds()) is idle


def test_float_keeps_its_node() -> None:
    """XNNPACK has maximum for float32."""
    net = Net()
    net.returns(net.op("maximum", [net.input(1, 4), net.input(1, 4, name="y")]))
    assert rewritten(net, DecomposeMaximum()) == ["float32 is not quantized int8"]
