"""GridSample and AffineGrid against onnxruntime; where that has no answer, against the definition."""

from __future__ import annotations

import numpy as np
import pytest

from edgec.diagnostics import CompileError
from edgec.ir import Array
from tests.support.onnx_models import check_against_onnxruntime, import_model, node_model, run_ours

RTOL, ATOL = 1e-4, 1e-5
"""Float32 coordinates are good to 1e-6 of an axis."""


def _random(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def _grid(*shape: int) -> Array:
    """Return points of which about a third lie outside of the image, some far."""
    return np.random.default_rng(1).uniform(-1.6, 1.6, shape).astype(np.float32)


@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
@pytest.mark.parametrize("padding_mode", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("align_corners", [0, 1])
def test_images(mode: str, padding_mode: str, align_corners: int) -> None:
    """Every interpolation with every rule for points outside."""
    inputs = {"x": _random(2, 3, 5, 6), "grid": _grid(2, 4, 7, 2)}
    proto = node_model(
        "GridSample", inputs, opset=20, mode=mode, padding_mode=padding_mode, align_corners=align_corners
    )
    check_against_onnxruntime(proto, inputs, rtol=RTOL, atol=ATOL)


@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize("padding_mode", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("align_corners", [0, 1])
def test_volumes(mode: str, padding_mode: str, align_corners: int) -> None:
    """Three axes: eight cells around each point."""
    inputs = {"x": _random(2, 2, 3, 4, 5), "grid": _grid(2, 2, 3, 4, 3)}
    proto = node_model(
        "GridSample", inputs, opset=20, mode=mode, padding_mode=padding_mode, align_corners=align_corners
    )
    check_against_onnxruntime(proto, inputs, rtol=RTOL, atol=ATOL)


@pytest.mark.parametrize("mode", ["nearest", "bilinear", "bicubic"])
def test_names_of_opset_16(mode: str) -> None:
    """Modes had other names; bilinear was the default."""
    inputs = {"x": _random(1, 2, 5, 5), "grid": _grid(1, 3, 3, 2)}
    check_against_onnxruntime(
        node_model("GridSample", inputs, opset=16, mode=mode), inputs, rtol=RTOL, atol=ATOL
    )
    check_against_onnxruntime(node_model("GridSample", inputs, opset=16), inputs, rtol=RTOL, atol=ATOL)


@pytest.mark.parametrize("padding_mode", ["zeros", "border", "reflection"])
def test_corners_are_cells_when_aligned(padding_mode: str) -> None:
    """-1 and 1 name the outer cells' centres, for an axis of one cell too."""
    x = _random(1, 1, 1, 4)
    grid = np.array([[-1, 0], [1, 0], [1 / 3, 0]], np.float32).reshape(1, 1, 3, 2)
    proto = node_model(
        "GridSample", {"x": x, "grid": grid}, opset=20, align_corners=1, padding_mode=padding_mode
    )
    (y,) = run_ours(proto, {"x": x, "grid": grid})
    np.testing.assert_allclose(y.reshape(-1), x.reshape(-1)[[0, 3, 2]], rtol=1e-5, atol=1e-6)


def test_far_points_read_nothing() -> None:
    """Coordinates of ten billion neither overflow nor read outside of the image."""
    x, grid = _random(1, 1, 3, 3), np.full((1, 1, 2, 2), 1e10, np.float32)
    grid[0, 0, 1] = -1e10
    (y,) = run_ours(node_model("GridSample", {"x": x, "grid": grid}, opset=20), {"x": x, "grid": grid})
    assert not y.any()


def test_one_gather_reads_all_cells() -> None:
    """The taps of all axes are read at once, and nothing is written per cell."""
    inputs = {"x": _random(1, 3, 8, 8), "grid": _grid(1, 4, 4, 2)}
    kinds = [node.kind for node in import_model(node_model("GridSample", inputs, opset=20)).graph]
    assert kinds.count("gather") == 1


def test_integer_images_are_refused() -> None:
    """Interpolation computes in float32."""
    inputs = {"x": np.ones((1, 1, 3, 3), np.int32), "grid": _grid(1, 2, 2, 2)}
    with pytest.raises(CompileError, match="kernels interpolate float32"):
        import_model(node_model("GridSample", inputs, opset=20))


@pytest.mark.parametrize("align_corners", [0, 1])
@pytest.mark.parametrize("size", [[2, 3, 4, 5], [2, 3, 3, 4, 5]])
def test_affine_grid(align_corners: int, size: list[int]) -> None:
    """Cells of an image or volume, moved by an affine map of each sample."""
    axes = len(size) - 2
    inputs = {"theta": _random(2, axes, axes + 1)}
    constants = {"size": np.array(size, np.int64)}
    proto = node_model("AffineGrid", inputs, constants=constants, opset=20, align_corners=align_corners)
    check_against_onnxruntime(proto, inputs, rtol=RTOL, atol=ATOL)


def test_affine_grid_of_another_rank_is_refused() -> None:
    """The refusal names theta and the number of axes."""
    proto = node_model(
        "Add", {"theta": _random(2, 2, 3)}, constants={"size": np.array([1, 1, 2, 2, 2], np.int64)}, opset=20
    )
    proto.graph.node[0].op_type = "AffineGrid"
    with pytest.raises(CompileError, match="for 3 spatial sizes"):
        import_model(proto)
