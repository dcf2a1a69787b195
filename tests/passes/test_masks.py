"""Adding a mask of minus infinity becomes a select, whose result really is minus infinity."""

from __future__ import annotations

import numpy as np
import pytest

from edgec.ir import DType, TensorType, Value
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
