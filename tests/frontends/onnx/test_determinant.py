"""Determinants agree with float64 NumPy within float32 rounding of the elimination."""

from __future__ import annotations

import numpy as np
import pytest

from edgec.diagnostics import CompileError
from edgec.ir import Array
from tests.support.onnx_models import import_model, node_model, run_ours


def det(x: Array) -> Array:
    (result,) = run_ours(node_model("Det", {"x": x}), {"x": x})
    return result


@pytest.mark.parametrize("shape", [(1, 1), (2, 2), (3, 3), (4, 5, 5), (2, 3, 8, 8)])
def test_random_matrices(shape: tuple[int, ...]) -> None:
    """Any size and any batch; the error is that of a few float32 roundings of terms of size |det|."""
    x = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    expected = np.linalg.det(x.astype(np.float64))
    result = det(x)
    assert result.shape == shape[:-2]
    np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-5)


def test_pivots() -> None:
    """Zeros on the diagonal need another row: an odd permutation has determinant -1, an even one 1."""
    swap, cycle = np.eye(3)[[1, 0, 2]], np.eye(3)[[1, 2, 0]]
    np.testing.assert_array_equal(det(np.stack([swap, cycle]).astype(np.float32)), [-1.0, 1.0])


def test_singular_matrices() -> None:
    """A column of zeros and equal rows give exactly 0, not NaN."""
    column = np.array([[0, 2, 3], [0, 5, 6], [0, 8, 9]], np.float32)
    rows = np.array([[1, 2, 3], [1, 2, 3], [7, 8, 9]], np.float32)
    np.testing.assert_array_equal(det(np.stack([column, rows])), [0.0, 0.0])


@pytest.mark.parametrize(
    ("shape", "message"),
    [((2, 3), "needs square matrices"), ((3,), "needs square matrices"), ((65, 65), "done up to 64")],
)
def test_other_matrices_are_refused(shape: tuple[int, ...], message: str) -> None:
    """The error says what a determinant needs, or how large it may be."""
    model = node_model("Neg", {"x": np.zeros(shape, np.float32)})  # shape inference rejects a bad Det itself
    model.graph.node[0].op_type = "Det"
    with pytest.raises(CompileError, match=message):
        import_model(model)
