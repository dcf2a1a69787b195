"""Pools. Maxima are exact; averages and norms sum a few dozen float32 values in different orders."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgec.diagnostics import CompileError
from edgec.ir import Array
from tests.support.onnx_models import check_against_onnxruntime, import_model, node_model, run_ours

RTOL, ATOL = 1e-5, 1e-5


def _random(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def _check(op_type: str, x: Array, *, opset: int = 17, **attributes: object) -> list[str]:
    proto = node_model(op_type, {"x": x}, opset=opset, **attributes)
    tolerance = 0.0 if op_type == "MaxPool" else RTOL
    check_against_onnxruntime(proto, {"x": x}, rtol=tolerance, atol=tolerance and ATOL)
    return [node.kind for node in import_model(proto).graph]


@pytest.mark.parametrize("op_type", ["MaxPool", "AveragePool"])
@pytest.mark.parametrize("opset", [7, 10, 12, 22])
def test_plain(op_type: str, opset: int) -> None:
    """Every opset's pool is one kernel between two transposes."""
    kinds = _check(op_type, _random(2, 3, 7, 9), opset=opset, kernel_shape=[2, 3], strides=[2, 1])
    kernel = {"MaxPool": "max_pool_2d", "AveragePool": "average_pool_2d"}[op_type]
    assert kinds == ["transpose", kernel, "transpose"]


@pytest.mark.parametrize("op_type", ["MaxPool", "AveragePool", "LpPool"])
@pytest.mark.parametrize("auto_pad", ["SAME_UPPER", "SAME_LOWER", "VALID"])
@pytest.mark.parametrize("kernel", [[3, 3], [4, 2]])
def test_auto_pad(op_type: str, auto_pad: str, kernel: list[int]) -> None:
    """auto_pad puts the odd cell where ONNX says."""
    _check(op_type, _random(1, 2, 7, 10), kernel_shape=kernel, strides=[2, 3], auto_pad=auto_pad)


def test_max_pool_pads_of_residual_networks_repeat_the_edge() -> None:
    """Kernel 3, stride 2, pads 1 at an even size is not SAME. Negative input would show zero pads."""
    x = _random(1, 2, 8, 10) - 10
    kinds = _check("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    assert "max_pool_2d" in kinds
    assert not {"pad", "padv2"} & set(kinds)  # a lowest-float pad would ruin the calibrated range


def test_max_pool_same_stays_one_kernel() -> None:
    """At an odd size those pads are SAME, which leaves padded cells out of the maximum."""
    x = _random(1, 2, 7, 9) - 10
    kinds = _check("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    assert kinds == ["transpose", "max_pool_2d", "transpose"]


@pytest.mark.parametrize("op_type", ["MaxPool", "AveragePool"])
@pytest.mark.parametrize("pads", [[0, 0, 0, 0], [1, 1, 1, 1], [0, 1, 1, 0]])
@pytest.mark.parametrize("size", [(6, 8), (7, 9)])
def test_ceil_mode(op_type: str, pads: list[int], size: tuple[int, int]) -> None:
    """The extra window at the end reads real cells only, and only those count."""
    x = _random(1, 2, *size) - 10
    _check(op_type, x, opset=22, kernel_shape=[3, 3], strides=[2, 2], pads=pads, ceil_mode=1)


@pytest.mark.parametrize("include", [0, 1])
@pytest.mark.parametrize("ceil_mode", [0, 1])
@pytest.mark.parametrize("dilations", [[1, 1], [2, 1]])
@pytest.mark.parametrize("pads", [[1, 1, 1, 1], [0, 1, 2, 1]])
def test_average_divides_by_what_counts(
    include: int, ceil_mode: int, dilations: list[int], pads: list[int]
) -> None:
    """count_include_pad counts the pads, but never ceil_mode's overhang."""
    _check(
        "AveragePool",
        _random(1, 3, 8, 11) + 5,
        opset=19,
        kernel_shape=[3, 3],
        strides=[2, 3],
        pads=pads,
        dilations=dilations,
        ceil_mode=ceil_mode,
        count_include_pad=include,
    )


def test_average_of_everything_is_a_mean() -> None:
    """A window over the whole input is `mean`, whose int8 form accelerators run."""
    assert _check("AveragePool", _random(1, 3, 5, 7), kernel_shape=[5, 7]) == [
        "transpose",
        "mean",
        "transpose",
    ]


@pytest.mark.parametrize("strides", [[1, 1], [2, 3]])
@pytest.mark.parametrize("pads", [[0, 0, 0, 0], [2, 1, 1, 2]])
def test_dilated_max(strides: list[int], pads: list[int]) -> None:
    """Dilated windows are gathered side by side; pads never win."""
    x = _random(1, 2, 9, 8) - 10
    _check("MaxPool", x, kernel_shape=[3, 3], dilations=[2, 1], strides=strides, pads=pads)


@pytest.mark.parametrize("op_type", ["MaxPool", "AveragePool", "LpPool"])
def test_one_dimension(op_type: str) -> None:
    """N, C, L runs as N, 1, L, C."""
    _check(op_type, _random(2, 3, 14), kernel_shape=[4], strides=[3], pads=[2, 1])


@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
def test_integer_max(dtype: type) -> None:
    """8-bit integers go through float32, which holds them exactly."""
    x = np.random.default_rng(0).integers(0, 100, (1, 2, 6, 5)).astype(dtype)
    _check("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])


@pytest.mark.parametrize("p", [1, 2, 3])
@pytest.mark.parametrize("opset", [11, 18])
def test_lp_pool(p: int, opset: int) -> None:
    """The p-norm of each window, zero pads included."""
    extra: dict[str, object] = {"dilations": [2, 1]} if opset == 18 else {}
    attributes: dict[str, object] = {"kernel_shape": [3, 2], "strides": [2, 1], "pads": [1, 0, 1, 1]}
    _check("LpPool", _random(1, 3, 8, 7), opset=opset, p=p, **attributes, **extra)


@pytest.mark.parametrize("op_type", ["GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool"])
@pytest.mark.parametrize("shape", [(2, 3, 7), (2, 3, 5, 6), (1, 2, 3, 4, 5)])
def test_global_pools(op_type: str, shape: tuple[int, ...]) -> None:
    """Global pools reduce every spatial axis, whatever their number."""
    _check(op_type, _random(*shape))


@pytest.mark.parametrize("p", [1, 3])
def test_global_norms(p: int) -> None:
    """The p-norm of each channel."""
    _check("GlobalLpPool", _random(2, 3, 5, 6), p=p)


def test_refuses_windows_of_pads_alone() -> None:
    """A maximum of nothing does not exist (onnxruntime refuses such pads, too)."""
    proto = node_model("MaxPool", {"x": _random(1, 1, 2, 2)}, kernel_shape=[2, 2], pads=[2, 0, 0, 0])
    with pytest.raises(CompileError, match="pads alone"):
        import_model(proto)


def test_pads_beyond_the_edge_are_cut_where_negative() -> None:
    """Negative pads crop: equal to the pool of the crop."""
    x = _random(1, 2, 8, 9)
    proto = node_model("MaxPool", {"x": x}, kernel_shape=[2, 3], pads=[-1, 1, -2, -3])
    crop = node_model("MaxPool", {"x": x[:, :, 1:-2, :-3]}, kernel_shape=[2, 3], pads=[0, 1, 0, 0])
    (want,) = run_ours(crop, {"x": x[:, :, 1:-2, :-3]})
    np.testing.assert_array_equal(run_ours(proto, {"x": x})[0], want)


@st.composite
def _pools(draw: st.DrawFn) -> tuple[str, Array, dict[str, object]]:
    op_type = draw(st.sampled_from(["MaxPool", "AveragePool"]))
    axes = [_axis(draw) for _ in range(draw(st.integers(1, 2)))]
    sizes, kernels, strides, dilations, lows, highs = map(list, zip(*axes, strict=True))
    attributes: dict[str, object] = {
        "kernel_shape": kernels,
        "strides": strides,
        "dilations": dilations,
        "pads": [*lows, *highs],
        "ceil_mode": draw(st.integers(0, 1)),
    }
    if op_type == "AveragePool":
        attributes["count_include_pad"] = draw(st.integers(0, 1))
    return op_type, _random(1, 2, *sizes) - 3, attributes


def _axis(draw: st.DrawFn) -> tuple[int, ...]:
    kernel, stride, dilation = draw(st.integers(1, 4)), draw(st.integers(1, 3)), draw(st.integers(1, 2))
    extent = (kernel - 1) * dilation + 1
    pads = st.integers(0, kernel - 1)
    return draw(st.integers(extent, extent + 6)), kernel, stride, dilation, draw(pads), draw(pads)


@settings(derandomize=True, max_examples=100, deadline=None)
@given(_pools())
def test_any_window_equals_onnxruntime(case: tuple[str, Array, dict[str, object]]) -> None:
    """Sizes, kernels, strides, dilations, pads, ceil_mode and count_include_pad in any combination."""
    op_type, x, attributes = case
    _check(op_type, x, opset=22, **attributes)


@pytest.mark.parametrize("op_type", ["MaxPool", "AveragePool", "LpPool"])
def test_ceil_mode_keeps_a_window_larger_than_the_input(op_type: str) -> None:
    """Rounding up, a window of 3 over 2 cells with stride 2 gives one result from what there is."""
    x = np.random.default_rng(0).standard_normal((1, 2, 2, 5)).astype(np.float32)
    model = node_model(op_type, {"x": x}, opset=19, kernel_shape=[3, 2], strides=[2, 2], ceil_mode=1)
    check_against_onnxruntime(model, {"x": x})
