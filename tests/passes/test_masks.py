"""Adding a mask of minus infinity becomes a select, whose result really is minus infinity."""

from __future__ import annotations

import numpy as np
import pytest

from edgec.ir import DType, TensorType, Value
from edgec.kernels import KernelSet
from edgec.ops import Builder
from edgec.passes.canonicalize import CANONICALIZE
from edgec.passes.canonicalize.masks import AddMaskToSelect
from tests.support.ir_graphs import kinds, make_model, reasons, run

CONDITION = TensorType((1, 4), DType.BOOL)


@pytest.mark.parametrize("swapped", [False, True])
def test_masked_elements_are_minus_infinity(swapped: bool) -> None:
    """The builtin ADD would give -3.4e38, and softmax of a fully masked row would look like data."""
    branches = (-np.inf, 0.0) if swapped else (0.0, -np.inf)

    def body(build: Builder, x: Value, condition: Value) -> Value:
        values = [build.constant(branch) for branch in branches]
        return build.op("add", [x, build.op("select_v2", [condition, *values])])

    model = CANONICALIZE.run(make_model(body, (3, 4), CONDITION)).model
    assert kinds(model) == ["select_v2"]
    keep = np.array([[True, False, True, False]])
    x = np.arange(12, dtype=np.float32).reshape(3, 4)
    (result,) = run(model, [x, keep])
    np.testing.assert_array_equal(result, np.where(keep != swapped, x, -np.inf))


def test_finite_masks_stay_sums() -> None:
    """-1e9 is an ordinary number: x - 1e9 is not -1e9."""

    def body(build: Builder, x: Value, condition: Value) -> Value:
        select = build.op("select_v2", [condition, build.constant(0.0), build.constant(-1e9)])
        return build.op("add", [x, select])

    assert reasons(AddMaskToSelect(), body, (3, 4), CONDITION) == ["no operand selects between 0 and -inf"]


@pytest.mark.parametrize("kernels", list(KernelSet))
def test_constant_masks_become_a_minimum(kernels: KernelSet) -> None:
    """Causal masks are constants: 0 and -inf, or another bias and -inf; all kernels give -inf there."""
    mask = np.array([[0, -np.inf, -np.inf], [0.5, 0, -np.inf]], np.float32)

    def body(build: Builder, x: Value) -> Value:
        return build.op("add", [x, build.constant(mask)])

    model = CANONICALIZE.run(make_model(body, (2, 3))).model
    assert kinds(model) == ["add", "minimum"]
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    (result,) = run(model, [x], kernels)
    np.testing.assert_array_equal(result, x + mask)


def test_plain_causal_mask_is_one_node() -> None:
    mask = np.array([[0, -np.inf], [0, 0]], np.float32)
    model = make_model(lambda build, x: build.op("add", [x, build.constant(mask)]), (2, 2))
    assert kinds(CANONICALIZE.run(model).model) == ["minimum"]


def test_a_bound_sinks_below_another_mask() -> None:
    """Causal constant plus run-time bias: the second sum must not clamp the -inf of the first."""
    mask = np.array([[0, -np.inf], [0, 0]], np.float32)

    def body(build: Builder, x: Value, bias: Value) -> Value:
        return build.op("add", [x, build.op("add", [bias, build.constant(mask)])])

    model = CANONICALIZE.run(make_model(body, (2, 2), (2, 2))).model
    assert kinds(model) == ["add", "minimum"]
    x, bias = np.ones((2, 2), np.float32), np.full((2, 2), 3, np.float32)
    np.testing.assert_array_equal(run(model, [x, bias])[0], x + bias + mask)
