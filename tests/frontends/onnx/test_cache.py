"""Writing into a cache moves bits only."""

from __future__ import annotations

import numpy as np
import pytest

from edgec.diagnostics import CompileError
from edgec.ir import Array
from tests.support.onnx_models import import_model, node_model, run_ours


def reference(cache: Array, update: Array, starts: Array, axis: int, circular: bool) -> Array:
    result, size = cache.copy(), cache.shape[axis]
    for sample, start in enumerate(starts):
        for step in range(update.shape[axis]):
            place = (start + step) % size if circular else start + step
            np.moveaxis(result[sample], axis - 1, 0)[place] = np.moveaxis(update[sample], axis - 1, 0)[step]
    return result


@pytest.mark.parametrize("axis", [1, 2, 3])
@pytest.mark.parametrize(("mode", "starts"), [("linear", [0, 2]), ("circular", [3, 9])])
@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("dtype", [np.float32, np.int8])
def test_update(axis: int, mode: str, starts: list[int], known: bool, dtype: type) -> None:
    """Each sample is written from its own place on; circular caches go round."""
    cache = np.arange(2 * 4 * 4 * 4).reshape(2, 4, 4, 4).astype(dtype)
    shape = [2, 4, 4, 4]
    shape[axis] = 2
    update, indices = -np.ones(shape, dtype), np.array(starts, np.int64)
    feeds = {"cache": cache, "update": update}
    constants = {"starts": indices} if known else {}
    if not known:
        feeds["starts"] = indices
    proto = node_model("TensorScatter", feeds, constants=constants, opset=24, axis=axis, mode=mode)
    expected = reference(cache, update, indices, axis, mode == "circular")
    np.testing.assert_array_equal(run_ours(proto, feeds)[0], expected)


def test_without_starts_the_cache_is_written_from_its_beginning() -> None:
    """This is how a prompt is stored."""
    cache, update = np.zeros((1, 3, 2), np.float32), np.ones((1, 2, 2), np.float32)
    proto = node_model("TensorScatter", {"cache": cache, "update": update}, opset=24)
    expected = [[[1, 1], [1, 1], [0, 0]]]
    np.testing.assert_array_equal(run_ours(proto, {"cache": cache, "update": update})[0], expected)


def test_other_dimensions_have_to_agree() -> None:
    """The error names both shapes and the axis."""
    feeds = {"cache": np.zeros((1, 3, 2), np.float32), "update": np.zeros((1, 2, 3), np.float32)}
    with pytest.raises(CompileError, match=r"writes \[1, 2, 3\] into \[1, 3, 2\] along axis 1"):
        import_model(node_model("TensorScatter", feeds, opset=24))
