"""Running products agree with NumPy; integers exactly."""

from __future__ import annotations

import numpy as np
import pytest

from edgec.ir import Array
from tests.support.onnx_models import import_model, node_model, run_ours


def reference(x: Array, axis: int, exclusive: int, reverse: int) -> Array:
    x = np.flip(x, axis) if reverse else x
    product = np.cumprod(x, axis, dtype=x.dtype)
    if exclusive:
        ones = np.ones_like(product.take([0], axis))
        product = np.concatenate([ones, product.take(range(x.shape[axis] - 1), axis)], axis)
    return np.flip(product, axis) if reverse else product


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("exclusive", [0, 1])
@pytest.mark.parametrize("reverse", [0, 1])
@pytest.mark.parametrize("dtype", [np.float32, np.int32, np.int64])
def test_cumulative_product(axis: int, exclusive: int, reverse: int, dtype: type) -> None:
    """Every form, with zeros and negative numbers, which logarithms could not do."""
    x = np.array([[2, -1, 3, 1, -2], [1, 0, 5, 2, 2], [3, 3, -1, 1, 4]], dtype)
    proto = node_model(
        "CumProd",
        {"x": x},
        constants={"axis": np.array(axis, np.int64)},
        opset=26,
        exclusive=exclusive,
        reverse=reverse,
    )
    (result,) = run_ours(proto, {"x": x})
    np.testing.assert_array_equal(result, reference(x, axis, exclusive, reverse))
    assert result.dtype == x.dtype


@pytest.mark.parametrize("axis", [0, 1, -1, -2])
def test_axis_computed_at_run_time(axis: int) -> None:
    """The product along the axis that is asked for is chosen."""
    feeds = {"x": np.array([[2, -1, 3], [1, 4, 5]], np.float32), "axis": np.array(axis, np.int64)}
    (result,) = run_ours(node_model("CumProd", feeds, opset=26), feeds)
    np.testing.assert_array_equal(result, reference(feeds["x"], axis, 0, 0))


def test_products_double_in_length() -> None:
    """Sixteen entries take four products, not fifteen."""
    x = np.ones((2, 16), np.float32)
    proto = node_model("CumProd", {"x": x}, constants={"axis": np.array(1, np.int64)}, opset=26)
    assert [node.kind for node in import_model(proto).graph].count("mul") == 4


@pytest.mark.parametrize("exclusive", [0, 1])
def test_one_entry(exclusive: int) -> None:
    """The product of one number is it, that of none is 1."""
    x = np.array([[5.0], [7.0]], np.float32)
    proto = node_model(
        "CumProd", {"x": x}, constants={"axis": np.array(1, np.int64)}, opset=26, exclusive=exclusive
    )
    np.testing.assert_array_equal(run_ours(proto, {"x": x})[0], np.ones_like(x) if exclusive else x)
