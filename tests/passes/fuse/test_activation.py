"""Activations fuse into the node that takes them, through what only moves elements; numbers stay equal."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edgec.ir import Attributes, Value
from edgec.ops import ActivationFunctionType, Builder, Padding, op_spec
from edgec.ops.conv import Conv2DAttributes
from edgec.ops.movement import ConcatenationAttributes
from edgec.ops.pool import Pool2DAttributes
from edgec.passes.canonicalize.matching import activation_of
from edgec.passes.fuse import FUSE_ACTIVATIONS
from edgec.passes.fuse.activation import FUSIBLE, FuseActivation
from tests.support.ir_graphs import (
    Body,
    conv,
    depthwise,
    fully_connected,
    kinds,
    make_model,
    reasons,
    rewritten,
    run,
)

RELU, RELU6 = ActivationFunctionType.RELU, ActivationFunctionType.RELU6
POOL = Pool2DAttributes(Padding.SAME, 2, 2, 3, 3)


def op(kind: str, attributes: Attributes | None = None) -> Body:
    def body(b: Builder, x: Value) -> Value:
        operands = [x, b.op("abs", [x])] if len(op_spec(kind).operands) == 2 else [x]
        return b.op(kind, operands, attributes or op_spec(kind).attributes())

    return body


MAKERS: dict[str, Body] = {
    "conv_2d": conv,
    "depthwise_conv_2d": depthwise,
    "fully_connected": lambda b, x: fully_connected(b, x),
    "max_pool_2d": op("max_pool_2d", POOL),
    "average_pool_2d": op("average_pool_2d", POOL),
    **{kind: op(kind) for kind in ("add", "sub", "mul", "div")},
}


@pytest.mark.parametrize("activation", ["relu", "relu6", "relu_n1_to_1"])
@pytest.mark.parametrize("kind", FUSIBLE)
def test_every_fusible_op_takes_every_activation(kind: str, activation: str) -> None:
    """Bit for bit: the kernel clips the same sum it would have stored."""
    body: Body = lambda b, x: b.op(activation, [MAKERS[kind](b, x)])  # noqa: E731
    result = rewritten(FUSE_ACTIVATIONS, body, (1, 5, 6, 3))
    assert result.kinds[-1] == kind
    assert activation not in result.kinds
    assert result.model.graph.last is not None
    assert activation_of(result.model.graph.last) == activation.upper()


def test_activation_passes_movement() -> None:
    def body(b: Builder, x: Value) -> Value:
        y = b.transpose(b.reshape(conv(b, x), [1, 12, 4]), [0, 2, 1])
        return b.op("relu6", [y])

    result = rewritten(FUSE_ACTIVATIONS, body, (1, 5, 6, 3))
    assert result.kinds == ["conv_2d", "reshape", "transpose"]
    assert activation_of(next(iter(result.model.graph))) is RELU6


def test_convolution_takes_it_rather_than_the_pool_behind() -> None:
    def body(b: Builder, x: Value) -> Value:
        return b.op("relu", [b.op("max_pool_2d", [conv(b, x)], POOL)])

    result = rewritten(FUSE_ACTIVATIONS, body, (1, 7, 8, 3))
    assert result.kinds == ["conv_2d", "max_pool_2d"]
    assert [activation_of(node) for node in result.model.graph] == [RELU, ActivationFunctionType.NONE]


def test_average_pool_is_not_passed() -> None:
    """The mean of clipped values is not the clipped mean."""

    def body(b: Builder, x: Value) -> Value:
        return b.op("relu", [b.op("average_pool_2d", [conv(b, x)], POOL)])

    result = rewritten(FUSE_ACTIVATIONS, body, (1, 7, 8, 3))
    assert [activation_of(node) for node in result.model.graph] == [ActivationFunctionType.NONE, RELU]


def test_next_pool_takes_what_no_node_before_takes() -> None:
    def body(b: Builder, x: Value) -> list[Value]:
        y = conv(b, x)
        return [b.op("max_pool_2d", [b.op("relu", [y])], POOL), b.op("abs", [y])]

    result = rewritten(FUSE_ACTIVATIONS, body, (1, 7, 8, 3))
    assert sorted(result.kinds) == ["abs", "conv_2d", "max_pool_2d"]


def test_fused_activation_is_narrowed() -> None:
    attributes = Conv2DAttributes(fused_activation_function=RELU)

    def body(b: Builder, x: Value) -> Value:
        return b.op("relu6", [conv(b, x, attributes=attributes)])

    result = rewritten(FUSE_ACTIVATIONS, body, (1, 5, 6, 3))
    assert [activation_of(node) for node in result.model.graph] == [RELU6]


def test_activations_without_a_common_name_stay_two() -> None:
    """relu_n1_to_1 of RELU clips to [0, 1], which no fused activation names."""
    attributes = Conv2DAttributes(fused_activation_function=RELU)
    body: Body = lambda b, x: b.op("relu_n1_to_1", [conv(b, x, attributes=attributes)])  # noqa: E731
    assert not rewritten(FUSE_ACTIVATIONS, body, (1, 5, 6, 3)).modified


def shared(b: Builder, x: Value) -> list[Value]:
    y = conv(b, x)
    return [b.op("relu", [y]), b.op("abs", [y])]


def returned(b: Builder, x: Value) -> list[Value]:
    y = conv(b, x)
    return [b.op("relu", [y]), y]


def concatenated(b: Builder, x: Value) -> Value:
    return b.op("relu", [b.op("concatenation", [x, x], ConcatenationAttributes(3))])


@pytest.mark.parametrize("body", [shared, returned, concatenated, lambda b, x: b.op("relu", [x])])
def test_shared_values_and_other_ops_keep_their_activation(body: Body) -> None:
    reason = "the operand is shared, or made by a node without fused activations"
    assert reasons(FuseActivation(), body, (1, 5, 6, 3)) == [reason]


def test_ops_to_fuse_into_are_an_option() -> None:
    """A target that cannot fuse into `add` names the ops it takes."""
    model = make_model(lambda b, x: b.op("relu", [b.op("add", [x, x])]), (2, 3))
    rules = replace(FUSE_ACTIVATIONS, rules=(FuseActivation(fusible=("conv_2d",)),))
    assert not rules.run(model).modified
    assert kinds(model) == ["add", "relu"]


def test_numbers_are_those_of_the_fused_kernel() -> None:
    """relu6 of x + x for x = -1, 2, 5 is 0, 4, 6."""
    import numpy as np

    model = make_model(lambda b, x: b.op("relu6", [b.op("add", [x, x])]), (3,))
    FUSE_ACTIVATIONS.run(model)
    (y,) = run(model, [np.array([-1, 2, 5], np.float32)])
    assert y.tolist() == [0, 4, 6]
