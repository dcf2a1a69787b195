"""MaxPool's Indices output."""

from __future__ import annotations

import numpy as np
import pytest

from edgec.ir import Array
from tests.support.onnx_models import check_against_onnxruntime, node_model, run_ours


def _random(*shape: int) -> Array:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize(
    ("shape", "attributes"),
    [
        ((2, 3, 9), {"kernel_shape": [3], "strides": [2]}),
        ((2, 3, 6, 7), {"kernel_shape": [2, 3], "strides": [2, 2]}),
        ((2, 3, 6, 7), {"kernel_shape": [3, 3], "pads": [1, 2, 1, 0]}),
        ((1, 2, 7, 7), {"kernel_shape": [2, 2], "dilations": [2, 3], "strides": [1, 2]}),
        ((1, 2, 7, 7), {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}),
        ((1, 2, 5, 6), {"kernel_shape": [2, 2], "storage_order": 1}),
        ((2, 2, 4, 5, 6), {"kernel_shape": [2, 2, 3], "strides": [2, 1, 2]}),
        ((1, 2, 6, 6), {"kernel_shape": [3, 3], "auto_pad": "SAME_UPPER", "strides": [2, 2]}),
    ],
)
def test_indices(shape: tuple[int, ...], attributes: dict[str, object]) -> None:
    """Maxima and the places they came from, counted over the whole input, int64."""
    x = _random(*shape)
    check_against_onnxruntime(node_model("MaxPool", {"x": x}, outputs=2, **attributes), {"x": x})


def test_first_of_equal_cells() -> None:
    """Of equal maxima the first one counts, also beside pads (which repeat real cells inside)."""
    x = np.zeros((1, 1, 3, 3), np.float32)
    proto = node_model("MaxPool", {"x": x}, outputs=2, kernel_shape=[2, 2], pads=[1, 1, 0, 0])
    _, indices = run_ours(proto, {"x": x})
    np.testing.assert_array_equal(indices.reshape(3, 3), [[0, 0, 1], [0, 0, 1], [3, 3, 4]])
