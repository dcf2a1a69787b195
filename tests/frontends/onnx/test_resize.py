"""Resize and Upsample. Nearest is exact; interpolation sums few products of float32 weights near 1."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgec.diagnostics import CompileError
from edgec.ir import Array
from tests.support.onnx_models import check_against_onnxruntime, import_model, node_model, run_ours

RTOL, ATOL = 1e-4, 1e-5
NONE = np.array([], np.float32)
MODES = ["half_pixel", "pytorch_half_pixel", "asymmetric", "align_corners"]


def _random(*shape: int) -> Array:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def _check(
    x: Array,
    *,
    scales: list[float] | None = None,
    sizes: list[int] | None = None,
    roi: Array = NONE,
    opset: int = 13,
    **attributes: object,
) -> list[str]:
    constants: dict[str, Array] = {"roi": roi}
    if scales is not None:
        constants["scales"] = np.array(scales, np.float32)
    else:
        constants["none"] = NONE  # opset 11 cannot leave scales out
        constants["sizes"] = np.array(sizes, np.int64)
    proto = node_model("Resize", {"x": x}, constants=constants, opset=opset, **attributes)
    exact = attributes.get("mode", "nearest") == "nearest"
    check_against_onnxruntime(proto, {"x": x}, rtol=0 if exact else RTOL, atol=0 if exact else ATOL)
    return [node.kind for node in import_model(proto).graph]


@pytest.mark.parametrize("coordinates", [*MODES, "tf_half_pixel_for_nn"])
@pytest.mark.parametrize("nearest", ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"])
def test_nearest(coordinates: str, nearest: str) -> None:
    """Every coordinate rule with every rounding, growing, shrinking and to one cell."""
    for sizes in ([7, 3], [10, 14], [1, 1], [2, 9]):
        _check(
            _random(1, 2, 5, 7),
            sizes=[1, 2, *sizes],
            opset=11,
            coordinate_transformation_mode=coordinates,
            nearest_mode=nearest,
        )


@pytest.mark.parametrize("coordinates", MODES)
@pytest.mark.parametrize("mode", ["linear", "cubic"])
@pytest.mark.parametrize("antialias", [0, 1])
def test_interpolation(coordinates: str, mode: str, antialias: int) -> None:
    """Every coordinate rule with every filter, growing, shrinking and to one cell."""
    for sizes in ([7, 3], [10, 14], [1, 9], [2, 2]):
        _check(
            _random(1, 2, 5, 7),
            sizes=[1, 2, *sizes],
            opset=18,
            mode=mode,
            coordinate_transformation_mode=coordinates,
            antialias=antialias,
        )


@pytest.mark.parametrize(
    ("attributes", "kernel"),
    [
        ({"mode": "linear", "coordinate_transformation_mode": "half_pixel"}, "resize_bilinear"),
        ({"mode": "linear", "coordinate_transformation_mode": "align_corners"}, "resize_bilinear"),
        ({"mode": "linear", "coordinate_transformation_mode": "asymmetric"}, "resize_bilinear"),
        (
            {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"},
            "resize_nearest_neighbor",
        ),
        ({"coordinate_transformation_mode": "half_pixel"}, "resize_nearest_neighbor"),
    ],
)
def test_doubling_uses_the_native_kernel(attributes: dict[str, object], kernel: str) -> None:
    """Where TFLite reads the same cells with the same weights, one kernel does it."""
    assert _check(_random(1, 2, 4, 6), sizes=[1, 2, 8, 12], **attributes) == [
        "transpose",
        kernel,
        "transpose",
    ]


def test_ties_keep_the_native_kernel_out() -> None:
    """Halving lands on ties: round_prefer_floor takes the lower cell, TFLite's half pixels the upper one.

    Asymmetric coordinates would fit that axis, but not the one that grows from 5 to 7.
    """
    kinds = _check(_random(1, 2, 6, 5), sizes=[1, 2, 3, 7], coordinate_transformation_mode="half_pixel")
    assert kinds == ["transpose", "gather", "gather", "transpose"]


def test_scales_that_give_no_whole_size_keep_their_coordinates() -> None:
    """5 cells times 0.7 are 3; coordinates use 0.7, TFLite would use 3 / 5."""
    kinds = _check(
        _random(1, 2, 5, 7),
        scales=[1, 1, 0.7, 0.7],
        mode="linear",
        coordinate_transformation_mode="asymmetric",
    )
    assert kinds.count("batch_matmul") == 2


@pytest.mark.parametrize("exclude", [0, 1])
@pytest.mark.parametrize("coefficient", [-0.75, -0.5])
def test_cubic_coefficient_and_borders(exclude: int, coefficient: float) -> None:
    """Keys' coefficient; taps outside repeat the border or are left out."""
    _check(
        _random(1, 2, 5, 7),
        scales=[1, 1, 1.7, 0.6],
        mode="cubic",
        cubic_coeff_a=coefficient,
        exclude_outside=exclude,
    )


@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
@pytest.mark.parametrize("value", [0.0, 2.5])
def test_crop_and_resize_extrapolates(mode: str, value: float) -> None:
    """Coordinates outside the input give extrapolation_value."""
    roi = np.array([0, 0, 0.1, -0.2, 1, 1, 0.8, 1.3], np.float32)
    _check(
        _random(1, 2, 6, 8),
        sizes=[1, 2, 5, 9],
        roi=roi,
        mode=mode,
        extrapolation_value=value,
        coordinate_transformation_mode="tf_crop_and_resize",
    )


def test_half_pixel_symmetric() -> None:
    """Opset 19 centres what a fractional scale cuts off."""
    for mode in ("nearest", "linear"):
        _check(
            _random(1, 2, 7, 5),
            scales=[1, 1, 0.6, 1.7],
            opset=19,
            mode=mode,
            coordinate_transformation_mode="half_pixel_symmetric",
        )


@pytest.mark.parametrize("policy", ["not_larger", "not_smaller"])
def test_keep_aspect_ratio(policy: str) -> None:
    """One scale serves all axes, the smallest or the largest of the wanted ones."""
    _check(
        _random(1, 2, 6, 9),
        sizes=[8, 15],
        opset=18,
        axes=[2, 3],
        mode="linear",
        keep_aspect_ratio_policy=policy,
    )


@pytest.mark.parametrize("axes", [[2], [3, 2], [-1]])
def test_axes(axes: list[int]) -> None:
    """Scales speak of the listed axes alone, in their order."""
    _check(_random(1, 2, 6, 9), scales=[1.5, 0.5][: len(axes)], opset=18, axes=axes, mode="linear")


@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize("shape", [(7,), (5, 7), (2, 3, 7), (1, 2, 3, 4, 5)])
def test_other_ranks(mode: str, shape: tuple[int, ...]) -> None:
    """Any rank: each axis by itself."""
    if mode == "linear" and len(shape) == 1:
        pytest.skip("onnxruntime interpolates two axes or more")
    scales = [2.0] * len(shape) if len(shape) < 3 else [1.0, 1.0, *[1.7] * (len(shape) - 2)]
    _check(_random(*shape), scales=scales, mode=mode)


@pytest.mark.parametrize("dtype", [np.uint8, np.int32])
def test_nearest_moves_integers(dtype: type) -> None:
    """Nearest computes nothing, so any element type will do."""
    _check(np.arange(30).reshape(1, 2, 3, 5).astype(dtype), scales=[1, 1, 2, 1.4])


@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize("scales", [[1, 1, 2, 3], [1, 1, 0.6, 0.5]])
def test_opset_10(mode: str, scales: list[float]) -> None:
    """Before opset 11 coordinates are asymmetric; nearest rounds up when shrinking."""
    x = _random(1, 2, 5, 7)
    constants = {"scales": np.array(scales, np.float32)}
    proto = node_model("Resize", {"x": x}, constants=constants, opset=10, mode=mode)
    check_against_onnxruntime(proto, {"x": x}, rtol=RTOL, atol=ATOL)


@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_upsample(mode: str) -> None:
    """Opset 7 has scales as an attribute, opset 9 as an input."""
    x, scales = _random(1, 2, 3, 5), [1.0, 1.0, 2.0, 3.0]
    old = node_model("Upsample", {"x": x}, opset=7, mode=mode, scales=scales)
    constants = {"scales": np.array(scales, np.float32)}
    new = node_model("Upsample", {"x": x}, constants=constants, opset=9, mode=mode)
    for proto in (old, new):
        check_against_onnxruntime(proto, {"x": x}, rtol=RTOL, atol=ATOL)


def test_the_same_size_is_the_value_itself() -> None:
    """Scale 1 everywhere leaves no node."""
    assert _check(_random(1, 2, 3, 5), scales=[1, 1, 1, 1], mode="cubic") == []


@pytest.mark.parametrize(
    ("x", "attributes", "words"),
    [
        (np.zeros((1, 1, 4, 4), np.uint8), {"mode": "linear"}, "interpolates uint8"),
        (np.zeros((1, 1, 4, 4), np.float32), {"mode": "sinc"}, "mode 'sinc' is unknown"),
        (np.zeros((1, 1, 4, 4), np.float32), {"nearest_mode": "up"}, "nearest_mode 'up' is unknown"),
        (
            np.zeros((1, 1, 4, 4), np.float32),
            {"coordinate_transformation_mode": "polar"},
            "coordinate_transformation_mode 'polar' is unknown",
        ),
    ],
)
def test_refusals(x: Array, attributes: dict[str, object], words: str) -> None:
    """What has no exact form is refused by name."""
    constants = {"roi": NONE, "scales": np.array([1, 1, 2, 2], np.float32)}
    with pytest.raises(CompileError, match=words):
        import_model(node_model("Resize", {"x": x}, constants=constants, **attributes))


RUN_TIME = [
    {"mode": "nearest", "nearest_mode": rounding, "coordinate_transformation_mode": coordinates}
    for rounding in ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
    for coordinates in ("half_pixel", "asymmetric")
]
RUN_TIME += [
    {"mode": mode, "coordinate_transformation_mode": coordinates}
    for mode in ("linear", "cubic")
    for coordinates in ("half_pixel", "pytorch_half_pixel", "asymmetric", "half_pixel_symmetric")
]
RUN_TIME += [
    {"mode": "cubic", "exclude_outside": 1, "cubic_coeff_a": -0.5},
    {"mode": "linear", "antialias": 1},
]


@pytest.mark.parametrize("attributes", RUN_TIME, ids=str)
@pytest.mark.parametrize("size", [(7, 3), (2, 9), (1, 1)])
def test_sizes_computed_at_run_time(attributes: dict[str, object], size: tuple[int, int]) -> None:
    """The same file resizes to whatever sizes it is fed; coordinates are float32 as in onnxruntime."""
    feeds = {"x": _random(1, 2, 4, 5), "sizes": np.array([1, 2, *size], np.int64)}
    proto = node_model("Resize", feeds, order=["x", "", "", "sizes"], opset=19, **attributes)
    check_against_onnxruntime(proto, feeds, rtol=1e-5, atol=2e-6)


def test_scales_computed_at_run_time() -> None:
    """floor(size * scale) entries, in nearest mode for integers, too."""
    for dtype in (np.float32, np.int32):
        x = np.arange(30).reshape(1, 1, 5, 6).astype(dtype)
        feeds = {"x": x, "scales": np.array([1, 1, 0.6, 1.5], np.float32)}
        proto = node_model("Resize", feeds, order=["x", "", "scales"], opset=13)
        check_against_onnxruntime(proto, feeds, rtol=0, atol=0)


def test_aligned_corners_by_scales_computed_at_run_time_are_refused() -> None:
    """What that means depends on whether size * scale is whole, which nothing tells."""
    feeds = {"x": _random(1, 1, 4, 4), "scales": np.ones(4, np.float32)}
    attributes = {"mode": "linear", "coordinate_transformation_mode": "align_corners"}
    with pytest.raises(CompileError, match="aligns corners by scales that are computed at run time"):
        import_model(node_model("Resize", feeds, order=["x", "", "scales"], **attributes))


_AXES = st.tuples(st.integers(1, 12), st.integers(1, 12))


@settings(derandomize=True, max_examples=60, deadline=None)
@given(_AXES, _AXES, st.sampled_from(list(product(["nearest", "linear", "cubic"], MODES))))
def test_any_size_equals_onnxruntime(
    height: tuple[int, int], width: tuple[int, int], how: tuple[str, str]
) -> None:
    """Any input and output size in any mode."""
    x = _random(1, 2, height[0], width[0])
    mode, coordinates = how
    _check(x, sizes=[1, 2, height[1], width[1]], mode=mode, coordinate_transformation_mode=coordinates)


def test_a_constant_stays_constant_under_interpolation() -> None:
    """Rows of weights sum to 1, so a flat image stays flat (an oracle of its own)."""
    x = np.full((1, 1, 5, 7), 3.0, np.float32)
    constants = {"roi": NONE, "scales": np.array([1, 1, 1.7, 0.6], np.float32)}
    proto = node_model("Resize", {"x": x}, constants=constants, opset=18, mode="cubic", antialias=1)
    np.testing.assert_allclose(run_ours(proto, {"x": x})[0], 3.0, rtol=1e-6)
