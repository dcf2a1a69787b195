"""Padding in front of a maximum, and averages over the whole image."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgec.ir import Quantization, Value
from edgec.legalize.pooling import DecomposeGlobalAveragePool, DecomposePadV2, is_non_negative
from edgec.ops import ActivationFunctionType, Padding
from edgec.ops.movement import ConcatenationAttributes
from edgec.ops.pool import Pool2DAttributes
from tests.legalize.graphs import ONE_PARTITION, Net, rewritten

PAD = DecomposePadV2()
AROUND = [[0, 0], [1, 1], [1, 1], [0, 0]]


def padded(net: Net, x: Value, value: float, paddings: object = AROUND) -> Value:
    data = np.asarray(value, np.int8 if net.int8 else np.float32)
    filler = net.graph.constant(data)
    if net.int8:
        filler.type = replace(filler.type, quantization=x.type.quantization)
    return net.op("padv2", [x, net.ints(paddings), filler])


def max_pool(net: Net, x: Value, size: int = 3, padding: Padding = Padding.VALID) -> Value:
    return net.op("max_pool_2d", [x], Pool2DAttributes(padding, 2, 2, size, size))


@pytest.mark.parametrize("int8", [False, True], ids=["float32", "int8"])
def test_padding_below_a_rectified_operand_is_zero(int8: bool) -> None:
    """The maximum of non-negative numbers does not see whether the padding is zero or lower."""
    net = Net(int8)
    x = net.conv(net.input(1, 6, 6, 2), 4, fused_activation_function=ActivationFunctionType.RELU)
    low = -128 if int8 else -np.inf
    net.returns(max_pool(net, padded(net, x, low)))
    assert "PADV2" in net.partitions().outside
    before = net.run()
    rewritten(net, PAD)
    assert net.kinds() == ["conv_2d", "pad", "max_pool_2d"]
    np.testing.assert_array_equal(before[0], net.run()[0])
    assert net.partitions() == ONE_PARTITION


def test_padding_with_zero_needs_no_pool() -> None:
    """PAD is PADV2 with zero."""
    net = Net()
    net.returns(padded(net, net.input(1, 4, 4, 2), 0.0))
    before = net.run()
    assert rewritten(net, PAD) == []
    np.testing.assert_array_equal(before[0], net.run()[0])
    assert net.partitions() == ONE_PARTITION


def rectified(net: Net) -> Value:
    return net.op("relu", [net.input(1, 6, 6, 2)])


def other_reader(net: Net) -> None:
    y = padded(net, rectified(net), -np.inf)
    net.returns(max_pool(net, y), net.op("abs", [y]))


def empty_window(net: Net) -> None:
    y = padded(net, rectified(net), -np.inf, [[0, 0], [4, 0], [0, 0], [0, 0]])
    net.returns(max_pool(net, y))


NO_MATCH = {
    "may_be_negative": (
        lambda net: net.returns(max_pool(net, padded(net, net.input(1, 6, 6, 2), -np.inf))),
        "the operand may be negative",
    ),
    "above_zero": (
        lambda net: net.returns(max_pool(net, padded(net, rectified(net), 1.5))),
        "pads with 1.5, above zero",
    ),
    "other_reader": (other_reader, "it is not read by max_pool_2d alone"),
    "output": (
        lambda net: net.returns(padded(net, rectified(net), -np.inf)),
        "it is not read by max_pool_2d alone",
    ),
    "empty_window": (empty_window, "a window of the pool holds nothing but padding"),
    "pool_pads_too": (
        lambda net: net.returns(max_pool(net, padded(net, rectified(net), -np.inf), 3, Padding.SAME)),
        "the pool pads too",
    ),
}


@pytest.mark.parametrize("name", NO_MATCH)
def test_reason_where_padding_would_show(name: str) -> None:
    """Where the padding's value can reach a result, it stays."""
    build, reason = NO_MATCH[name]
    net = Net()
    build(net)
    assert rewritten(net, PAD) == [reason]


def test_sign_is_traced_through_joins_and_pools() -> None:
    """Joining, pooling and adding non-negative tensors gives non-negative ones; one unknown spoils it."""
    net = Net()
    x = net.input(1, 4, 4, 2)
    a, b = net.op("logistic", [x]), net.op("relu6", [x])
    joined = net.op("concatenation", [max_pool(net, a), max_pool(net, b)], ConcatenationAttributes(axis=1))
    assert is_non_negative(joined)
    assert not is_non_negative(net.op("concatenation", [a, x], ConcatenationAttributes(axis=3)))
    assert not is_non_negative(net.op("sub", [a, b]))
    assert is_non_negative(net.op("add", [a, net.graph.constant(np.array(2, np.float32))]))
    assert not is_non_negative(net.op("mul", [a, net.graph.constant(np.array(-2, np.float32))]))


def average(net: Net, size: int, padding: Padding = Padding.VALID, **attributes: object) -> Net:
    options = Pool2DAttributes(padding, 1, 1, size, size, **attributes)  # type: ignore[arg-type]
    return net.returns(net.op("average_pool_2d", [net.input(1, 5, 5, 3)], options))


def test_int8_average_over_the_image_is_delegated_as_mean() -> None:
    """Same scale in and out, so the two kernels may differ by one step of rounding and no more."""
    net = average(Net(int8=True), 5)
    assert net.partitions().outside == ("AVERAGE_POOL_2D",)
    before = net.run()
    assert rewritten(net, DecomposeGlobalAveragePool()) == []
    difference = np.abs(before[0].astype(int) - net.run()[0].astype(int))
    assert difference.max() <= 1
    assert net.partitions() == ONE_PARTITION


def test_float_average_over_the_image() -> None:
    """25 terms of float32: the sum's order may differ, so a few units in the last place."""
    net = average(Net(), 5)
    before = net.run()
    rewritten(net, DecomposeGlobalAveragePool())
    np.testing.assert_allclose(before[0], net.run()[0], rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
    ("net", "reason"),
    [
        (average(Net(), 4), "the window is not the whole image"),
        (average(Net(), 5, Padding.SAME), "the window is not the whole image"),
        (
            average(Net(), 5, fused_activation_function=ActivationFunctionType.RELU),
            "an activation is fused",
        ),
    ],
)
def test_reason_where_an_average_stays(net: Net, reason: str) -> None:
    """Only one window, and only the plain average, is a mean."""
    assert rewritten(net, DecomposeGlobalAveragePool()) == [reason]


def test_quantized_constants_have_no_known_sign() -> None:
    """A stored integer says nothing of the real number's sign without its zero point."""
    net = Net()
    value = net.graph.constant(np.array([3], np.int8))
    value.type = replace(value.type, quantization=Quantization.per_tensor(1.0, 5))
    assert not is_non_negative(value)
