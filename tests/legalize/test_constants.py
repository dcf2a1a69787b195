"""Constants that repeat one number."""

from __future__ import annotations

import numpy as np
import pytest

from edgec.legalize.constants import ShrinkConstant
from tests.legalize.graphs import Net, rewritten


@pytest.mark.parametrize("kind", ["add", "sub", "mul", "div", "maximum", "minimum"])
def test_one_number_is_one_element(kind: str) -> None:
    """The result is bit-equal: the same number meets every element."""
    net = Net()
    net.returns(net.op(kind, [net.input(1, 5, 4, 3), net.graph.constant(np.full(3, 1.7, np.float32))]))
    before = net.run()[0]
    assert rewritten(net, ShrinkConstant()) == ["the constant has one element, or gives the result its shape"]
    (node,) = net.graph
    assert node.operand(1).shape == ()
    np.testing.assert_array_equal(net.run()[0], before)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (np.array([1, 2, 1], np.float32), "its elements differ"),
        (np.ones((2, 1, 1, 1), np.float32), "the constant has one element, or gives the result its shape"),
    ],
)
def test_what_matters_stays(data: np.ndarray, reason: str) -> None:  # type: ignore[type-arg]
    """Different numbers, and a constant that broadcasts x."""
    net = Net()
    net.returns(net.op("add", [net.input(1, 5, 4, 3), net.graph.constant(data)]))
    assert rewritten(net, ShrinkConstant()) == [reason]
