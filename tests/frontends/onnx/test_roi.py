"""RoiAlign and MaxRoiPool against onnxruntime."""

from __future__ import annotations

import numpy as np
import pytest

from edgec.diagnostics import CompileError
from edgec.ir import Array
from tests.support.onnx_models import check_against_onnxruntime, import_model, node_model

REGIONS = np.array(
    [[0, 0, 9, 9], [2.3, 1.1, 7.7, 5.2], [5, 5, 5.4, 5.2], [-3, -2, 4, 3], [6, 6, 14, 15]], np.float32
)
IMAGES = np.array([0, 1, 1, 0, 1], np.int64)


def _random(*shape: int) -> Array:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def _inputs() -> dict[str, Array]:
    return {"x": _random(2, 3, 10, 11), "rois": REGIONS, "images": IMAGES}


@pytest.mark.parametrize("transform", ["half_pixel", "output_half_pixel"])
@pytest.mark.parametrize("ratio", [1, 2])
@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_means(transform: str, ratio: int, scale: float) -> None:
    """Regions inside, across the border and smaller than a cell, computed at run time."""
    inputs = _inputs()
    proto = node_model(
        "RoiAlign",
        inputs,
        opset=16,
        coordinate_transformation_mode=transform,
        sampling_ratio=ratio,
        spatial_scale=scale,
        output_height=3,
        output_width=2,
    )
    check_against_onnxruntime(proto, inputs, rtol=1e-4, atol=1e-5)


def test_maxima() -> None:
    """The largest weighted cell of a bin, as ONNX defines it."""
    inputs = _inputs()
    proto = node_model(
        "RoiAlign", inputs, opset=16, mode="max", sampling_ratio=2, output_height=2, output_width=2
    )
    check_against_onnxruntime(proto, inputs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("opset", [10, 16])
def test_samples_that_follow_known_regions(opset: int) -> None:
    """sampling_ratio 0: as many points as a bin has cells, another number for each region, in their order."""
    inputs = {"x": _random(2, 3, 10, 11)}
    constants = {"rois": REGIONS, "images": IMAGES}
    proto = node_model("RoiAlign", inputs, constants=constants, opset=opset, output_height=2, output_width=3)
    check_against_onnxruntime(proto, inputs, rtol=1e-4, atol=1e-5)


def test_samples_that_follow_computed_regions_are_refused() -> None:
    """A kernel's shapes cannot follow a region's size."""
    with pytest.raises(CompileError, match=r"sampling_ratio 0.*Set sampling_ratio"):
        import_model(node_model("RoiAlign", _inputs(), opset=16, output_height=2, output_width=2))


@pytest.mark.parametrize("scale", [1.0, 0.6])
def test_max_roi_pool(scale: float) -> None:
    """Bins overlap where a region is no multiple of them."""
    regions = np.concatenate([IMAGES[:, None].astype(np.float32), np.abs(REGIONS).clip(0, 9)], 1)
    inputs = {"x": _random(2, 3, 10, 11)}
    proto = node_model(
        "MaxRoiPool", inputs, constants={"rois": regions}, pooled_shape=[3, 2], spatial_scale=scale
    )
    check_against_onnxruntime(proto, inputs)


def test_bins_without_cells_are_zero() -> None:
    """A region beyond the image has empty bins."""
    regions = np.array([[0, 8, 8, 20, 20]], np.float32)
    inputs = {"x": _random(1, 2, 10, 10)}
    proto = node_model("MaxRoiPool", inputs, constants={"rois": regions}, pooled_shape=[3, 3])
    check_against_onnxruntime(proto, inputs)


def test_max_roi_pool_of_computed_regions_is_refused() -> None:
    """The number of cells of a bin is part of the graph."""
    inputs = {"x": _random(1, 2, 10, 10), "rois": np.array([[0, 1, 1, 5, 5]], np.float32)}
    with pytest.raises(CompileError, match=r"'rois'.*computed at run time"):
        import_model(node_model("MaxRoiPool", inputs, pooled_shape=[2, 2]))
