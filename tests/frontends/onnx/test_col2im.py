"""Col2Im and MaxUnpool."""

from __future__ import annotations

import numpy as np
import pytest

from edgec.diagnostics import CompileError
from edgec.ir import Array
from tests.support.onnx_models import check_against_onnxruntime, import_model, node_model, run_ours


def _random(*shape: int) -> Array:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize(
    ("image", "block", "steps", "attributes"),
    [
        ([5, 6], [2, 3], 16, {}),
        ([5, 6], [2, 2], 6, {"strides": [2, 2]}),
        ([5, 5], [1, 5], 15, {"pads": [0, 1, 0, 1]}),
        ([6, 6], [2, 2], 16, {"dilations": [1, 3], "pads": [0, 0, 1, 2], "strides": [2, 1]}),
        ([3, 4, 5], [2, 1, 3], 24, {}),
    ],
)
def test_columns(image: list[int], block: list[int], steps: int, attributes: dict[str, object]) -> None:
    """Overlapping entries add up; cells that no block covers are 0."""
    taps = int(np.prod(block))
    if "dilations" in attributes:
        steps = 3 * 5
    inputs = {"x": _random(2, 3 * taps, steps)}
    constants = {"image": np.array(image, np.int64), "block": np.array(block, np.int64)}
    proto = node_model("Col2Im", inputs, constants=constants, opset=18, **attributes)
    check_against_onnxruntime(proto, inputs, rtol=1e-5, atol=1e-5)


def test_columns_that_do_not_fit_are_refused() -> None:
    """The refusal says how many steps the block takes."""
    constants = {"image": np.array([5, 6], np.int64), "block": np.array([2, 3], np.int64)}
    proto = node_model("Concat", {"x": _random(1, 6, 15)}, constants=constants, opset=18)
    proto.graph.node[0].op_type = "Col2Im"  # onnx itself does not infer such a node
    del proto.graph.node[0].attribute[:]
    with pytest.raises(CompileError, match=r"channels \* 6, 16\]"):
        import_model(proto)


@pytest.mark.parametrize("constant", [False, True])
def test_unpool(constant: bool) -> None:
    """Cells go where the pool took them from."""
    x = np.arange(1, 13, dtype=np.float32).reshape(1, 2, 2, 3)
    places = np.array([[0, 3, 4], [13, 14, 17]])
    indices = np.stack([places, places + 24])[None].astype(np.int64)
    feeds = {"x": x} if constant else {"x": x, "indices": indices}
    proto = node_model(
        "MaxUnpool",
        feeds,
        constants={"indices": indices} if constant else None,
        opset=11,
        kernel_shape=[2, 2],
        strides=[2, 2],
    )
    check_against_onnxruntime(proto, feeds)


def test_unpool_undoes_max_pool() -> None:
    """Overlapping windows name a cell several times: it keeps its value."""
    x = np.array([[0, 1, 0], [0, 9, 0], [2, 0, 3]], np.float32).reshape(1, 1, 3, 3)
    pool = node_model("MaxPool", {"x": x}, outputs=2, kernel_shape=[2, 2])
    best, places = run_ours(pool, {"x": x})
    feeds = {"best": best, "places": places}
    proto = node_model("MaxUnpool", feeds, kernel_shape=[2, 2])
    (y,) = run_ours(proto, feeds)
    np.testing.assert_array_equal(y.reshape(3, 3), [[0, 0, 0], [0, 9, 0], [0, 0, 0]])


def test_larger_output_has_zeros_behind() -> None:
    """Indices count through the shape without the addition."""
    feeds = {"x": np.array([[[[1, 2], [3, 4]]]], np.float32), "i": np.array([[[[5, 7], [13, 15]]]], np.int64)}
    constants = {"shape": np.array([1, 1, 5, 5], np.int64)}
    proto = node_model("MaxUnpool", feeds, constants=constants, kernel_shape=[2, 2], strides=[2, 2])
    (y,) = run_ours(proto, feeds)
    expected = np.zeros((5, 5), np.float32)
    expected[1, 1], expected[1, 3], expected[3, 1], expected[3, 3] = 1, 2, 3, 4
    np.testing.assert_array_equal(y[0, 0], expected)
