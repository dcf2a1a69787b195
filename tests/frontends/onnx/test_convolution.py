"""Conv. Tolerance: both sides sum up to a few hundred float32 products, in different orders."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgec.diagnostics import CompileError
from edgec.ir import Array
from tests.support.onnx_models import check_against_onnxruntime, import_model, node_model, run_ours

RTOL, ATOL = 1e-4, 1e-5


def _random(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def _check(
    x: Array, weights: Array, *, bias: bool = True, opset: int = 17, **attributes: object
) -> list[str]:
    constants = {"w": weights} | ({"b": _random(weights.shape[0], seed=2)} if bias else {})
    proto = node_model("Conv", {"x": x}, constants=constants, opset=opset, **attributes)
    check_against_onnxruntime(proto, {"x": x}, rtol=RTOL, atol=ATOL)
    return [node.kind for node in import_model(proto).graph]


@pytest.mark.parametrize("opset", [7, 11, 22])
@pytest.mark.parametrize("bias", [False, True])
def test_plain(opset: int, bias: bool) -> None:
    """Every opset's Conv is one conv_2d between two transposes."""
    kinds = _check(_random(2, 3, 7, 9), _random(5, 3, 3, 2), bias=bias, opset=opset)
    assert kinds == ["transpose", "conv_2d", "transpose"]


@pytest.mark.parametrize("auto_pad", ["SAME_UPPER", "SAME_LOWER", "VALID"])
@pytest.mark.parametrize("strides", [[1, 1], [2, 3]])
@pytest.mark.parametrize("kernel", [(3, 3), (4, 2)])
def test_auto_pad(auto_pad: str, strides: list[int], kernel: tuple[int, int]) -> None:
    """auto_pad puts the odd cell where ONNX says, for odd and even kernels."""
    _check(_random(1, 2, 7, 10), _random(3, 2, *kernel), auto_pad=auto_pad, strides=strides)


@pytest.mark.parametrize(
    ("pads", "padded"),
    [
        ([1, 1, 1, 1], False),  # TensorFlow's SAME at odd sizes: 7 -> 4 and 9 -> 5 cells, one each side
        ([0, 0, 0, 0], False),
        ([1, 0, 1, 0], True),  # SAME along H only
        ([0, 1, 2, 3], True),
        ([2, 2, 2, 2], True),
    ],
)
def test_explicit_pads_use_same_only_where_equal(pads: list[int], padded: bool) -> None:
    """A pad node appears exactly where neither SAME nor VALID takes the same steps."""
    kinds = _check(_random(1, 2, 7, 9), _random(3, 2, 3, 3), pads=pads, strides=[2, 2])
    assert ("pad" in kinds) == padded


def test_even_size_with_symmetric_pads_needs_a_pad() -> None:
    """At size 8, stride 2, kernel 3, pads (1, 1) TensorFlow's SAME would start one cell later."""
    assert "pad" in _check(_random(1, 2, 8, 8), _random(3, 2, 3, 3), pads=[1, 1, 1, 1], strides=[2, 2])


def test_stride_leaves_trailing_cells_unread() -> None:
    """A stride larger than the kernel skips cells; the high pad that nothing reads is not added."""
    kinds = _check(_random(1, 2, 11, 10), _random(3, 2, 1, 1), pads=[0, 0, 1, 1], strides=[4, 4])
    assert kinds == ["transpose", "conv_2d", "transpose"]


def test_negative_pads_cut_cells_off() -> None:
    """Negative pads crop the input (onnxruntime refuses them): equal to a convolution of the crop."""
    x, weights = _random(1, 2, 8, 9), _random(3, 2, 3, 3)
    proto = node_model("Conv", {"x": x}, constants={"w": weights}, pads=[-1, 2, -2, -3])
    crop = np.pad(x[:, :, 1:-2, :-3], ((0, 0), (0, 0), (0, 0), (2, 0)))
    (want,) = run_ours(node_model("Conv", {"x": crop}, constants={"w": weights}), {"x": crop})
    np.testing.assert_allclose(run_ours(proto, {"x": x})[0], want, rtol=RTOL, atol=ATOL)


@pytest.mark.parametrize("multiplier", [1, 3])
def test_depthwise_keeps_channel_order(multiplier: int) -> None:
    """group = C_in becomes one depthwise_conv_2d; output channel c * m + j reads input channel c."""
    weights = _random(4 * multiplier, 1, 3, 3)
    kinds = _check(_random(1, 4, 7, 6), weights, group=4, dilations=[2, 1], pads=[2, 1, 2, 1])
    assert kinds == ["transpose", "depthwise_conv_2d", "transpose"]


def test_groups() -> None:
    """Other groups stay one grouped conv_2d."""
    kinds = _check(_random(1, 6, 7, 6), _random(9, 2, 3, 3), group=3, strides=[2, 1])
    assert kinds == ["transpose", "conv_2d", "transpose"]


def test_one_input_channel_with_one_group_is_dense() -> None:
    """One input channel is not a depthwise convolution."""
    assert "conv_2d" in _check(_random(1, 1, 7, 6), _random(4, 1, 3, 3))


@pytest.mark.parametrize("group", [1, 2, 4])
def test_one_dimension(group: int) -> None:
    """N, C, L runs as N, 1, L, C; causal padding stays on the left."""
    weights = _random(4, 4 // group, 3)
    kinds = _check(_random(2, 4, 17), weights, group=group, dilations=[4], pads=[8, 0], strides=[2])
    assert kinds == ["transpose", "reshape", "pad", kinds[3], "reshape", "transpose"]


def test_weights_and_bias_computed_at_run_time() -> None:
    """Weights and bias may be inputs: weights are transposed by the model, the bias is added."""
    feeds = {"x": _random(1, 3, 6, 5), "w": _random(4, 3, 3, 3, seed=1), "b": _random(4, seed=2)}
    check_against_onnxruntime(node_model("Conv", feeds), feeds, rtol=RTOL, atol=ATOL)


def test_float16_weights_widen() -> None:
    """A float16 model computes in float32: the result is close to the float32 model's."""
    x, weights = _random(1, 2, 5, 5), _random(3, 2, 3, 3)
    half = {"x": x.astype(np.float16)}
    proto = node_model("Conv", half, constants={"w": weights.astype(np.float16)})
    (got,) = run_ours(proto, {"x": half["x"].astype(np.float32)})
    (want,) = run_ours(node_model("Conv", {"x": x}, constants={"w": weights}), {"x": x})
    np.testing.assert_allclose(got, want, rtol=1e-2, atol=2e-2)  # float16 has 11 bits


@pytest.mark.parametrize(
    ("x", "weights", "attributes", "words"),
    [
        ((1, 2, 4, 4, 4, 4), (3, 2, 1, 1, 1, 1), {}, "4 spatial dimensions"),
        ((1, 2, 2, 2), (3, 2, 5, 5), {}, "the padded input has 2"),
    ],
)
def test_refusals(
    x: tuple[int, ...], weights: tuple[int, ...], attributes: dict[str, object], words: str
) -> None:
    """What cannot be expressed is refused in words that name the sizes."""
    proto = node_model("Conv", {"x": _random(*x)}, constants={"w": _random(*weights)}, **attributes)
    with pytest.raises(CompileError, match=words):
        import_model(proto)


@st.composite
def _convolutions(draw: st.DrawFn) -> tuple[Array, Array, dict[str, object]]:
    rank, group, depth = draw(st.integers(1, 2)), draw(st.integers(1, 3)), draw(st.integers(1, 2))
    each = draw(st.integers(1, 2))
    axes = [_axis(draw) for _ in range(rank)]
    sizes, kernels, strides, dilations, lows, highs = (list(item) for item in zip(*axes, strict=True))
    attributes: dict[str, object] = {"strides": strides, "dilations": dilations, "group": group}
    auto_pad = draw(st.sampled_from(["NOTSET", "NOTSET", "SAME_UPPER", "SAME_LOWER"]))
    if auto_pad == "NOTSET":
        attributes["pads"] = [*lows, *highs]
    elif max(dilations) == 1:  # onnxruntime computes SAME for undilated kernels alone
        attributes["auto_pad"] = auto_pad
    x = _random(1, group * depth, *sizes)
    return x, _random(group * each, depth, *kernels, seed=1), attributes


def _axis(draw: st.DrawFn) -> tuple[int, int, int, int, int, int]:
    kernel, stride, dilation = draw(st.integers(1, 4)), draw(st.integers(1, 3)), draw(st.integers(1, 3))
    low, high = draw(st.integers(0, 3)), draw(st.integers(0, 3))
    extent = (kernel - 1) * dilation + 1
    return draw(st.integers(extent, extent + 6)), kernel, stride, dilation, low, high


@settings(derandomize=True, max_examples=60, deadline=None)
@given(_convolutions())
def test_any_window_equals_onnxruntime(case: tuple[Array, Array, dict[str, object]]) -> None:
    """Sizes, kernels, strides, dilations, pads and groups in any combination."""
    x, weights, attributes = case
    _check(x, weights, **attributes)
