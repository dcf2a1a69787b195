"""ConvTranspose. Tolerance: both sides sum some dozens of float32 products, in different orders."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgec.diagnostics import CompileError
from edgec.ir import Array
from tests.support.onnx_models import check_against_onnxruntime, import_model, node_model

RTOL, ATOL = 1e-4, 1e-5


def _random(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def _check(
    x: Array, weights: Array, *, bias: bool = True, opset: int = 17, **attributes: object
) -> list[str]:
    units = weights.shape[1] * int(str(attributes.get("group", 1)))
    constants = {"w": weights} | ({"b": _random(units, seed=2)} if bias else {})
    proto = node_model("ConvTranspose", {"x": x}, constants=constants, opset=opset, **attributes)
    check_against_onnxruntime(proto, {"x": x}, rtol=RTOL, atol=ATOL)
    return [node.kind for node in import_model(proto).graph]


@pytest.mark.parametrize("opset", [7, 11, 22])
@pytest.mark.parametrize("bias", [False, True])
def test_plain(opset: int, bias: bool) -> None:
    """Without pads the full result is one VALID transpose_conv, bias included."""
    kinds = _check(_random(1, 3, 4, 5), _random(3, 2, 3, 4), bias=bias, opset=opset, strides=[2, 3])
    assert kinds == ["transpose", "transpose_conv", "transpose"]


def test_kernel_4_stride_2_pads_1_is_same() -> None:
    """The usual 2x upsampling crops one cell on each side: TensorFlow's SAME does that in the kernel."""
    kinds = _check(_random(1, 2, 5, 6), _random(2, 3, 4, 4), strides=[2, 2], pads=[1, 1, 1, 1])
    assert kinds == ["transpose", "transpose_conv", "transpose"]


def test_kernel_3_pads_1_output_padding_1_is_not_same() -> None:
    """That form crops the start, SAME would crop the end: a slice has to do it."""
    attributes: dict[str, object] = {"strides": [2, 2], "pads": [1, 1, 1, 1], "output_padding": [1, 1]}
    kinds = _check(_random(1, 2, 5, 6), _random(2, 3, 3, 3), **attributes)
    assert kinds == ["transpose", "transpose_conv", "slice", "transpose"]


@pytest.mark.parametrize("auto_pad", ["SAME_UPPER", "SAME_LOWER", "VALID"])
@pytest.mark.parametrize("kernel", [(3, 3), (4, 2), (5, 6)])
def test_auto_pad(auto_pad: str, kernel: tuple[int, int]) -> None:
    """SAME gives i * s cells and puts the odd crop where onnxruntime does."""
    _check(_random(1, 2, 5, 6), _random(2, 3, *kernel), strides=[2, 2], auto_pad=auto_pad)


@pytest.mark.parametrize("auto_pad", ["NOTSET", "SAME_UPPER", "SAME_LOWER"])
def test_output_shape(auto_pad: str) -> None:
    """output_shape implies the pads; an odd total is split as auto_pad says."""
    _check(_random(1, 3, 5, 6), _random(3, 2, 4, 4), strides=[2, 2], output_shape=[9, 11], auto_pad=auto_pad)


def test_output_padding_beyond_the_kernel_holds_the_bias() -> None:
    """Cells that no tap reaches (kernel 1, stride 3) are zero plus bias."""
    _check(_random(1, 2, 3, 3), _random(2, 2, 1, 1), strides=[3, 3], output_padding=[2, 1])


@pytest.mark.parametrize("group", [1, 2, 6])
@pytest.mark.parametrize("dilations", [[1, 1], [2, 3]])
def test_groups_and_dilations(group: int, dilations: list[int]) -> None:
    """Groups split the channels, dilation spreads the taps; many groups share one depthwise kernel."""
    weights = _random(6, 2, 3, 2)
    attributes: dict[str, object] = {"strides": [2, 3], "pads": [1, 0, 2, 1], "output_padding": [1, 0]}
    kinds = _check(_random(1, 6, 4, 5), weights, group=group, dilations=dilations, **attributes)
    assert kinds.count("transpose_conv") == (group if group < 5 else 0)
    assert ("depthwise_conv_2d" in kinds) == (group == 6)


def test_many_groups_of_several_channels() -> None:
    """Five groups of two channels become one grouped conv_2d over zeros inserted between the cells."""
    kinds = _check(_random(1, 10, 4, 3), _random(10, 3, 3, 3), group=5, strides=[2, 2], pads=[1, 1, 0, 0])
    assert kinds.count("conv_2d") == 1


@pytest.mark.parametrize("group", [1, 2])
def test_one_dimension(group: int) -> None:
    """N, C, L runs as N, 1, L, C."""
    _check(_random(2, 4, 9), _random(4, 3, 5), group=group, strides=[3], pads=[2, 1], output_padding=[1])


def test_weights_and_bias_computed_at_run_time() -> None:
    """Weights that are inputs are transposed by the model, the bias is added."""
    feeds = {"x": _random(1, 3, 4, 5), "w": _random(3, 2, 3, 3), "b": _random(2)}
    check_against_onnxruntime(node_model("ConvTranspose", feeds, strides=[2, 2]), feeds, rtol=RTOL, atol=ATOL)


def test_refuses_dilated_weights_computed_at_run_time() -> None:
    """Spreading taps needs the data; the text says what to do."""
    feeds = {"x": _random(1, 3, 4, 5), "w": _random(3, 2, 3, 3)}
    with pytest.raises(CompileError, match=r"computed at run time.*Make the weights an initializer"):
        import_model(node_model("ConvTranspose", feeds, dilations=[2, 2]))


def test_refuses_four_dimensions() -> None:
    """Three spatial axes are taken apart into planes, four are not."""
    proto = node_model(
        "ConvTranspose", {"x": _random(1, 1, 2, 2, 2, 2)}, constants={"w": _random(1, 1, 1, 1, 1, 1)}
    )
    with pytest.raises(CompileError, match="4 spatial dimensions"):
        import_model(proto)


@st.composite
def _cases(draw: st.DrawFn) -> tuple[Array, Array, dict[str, object]]:
    rank, group, depth = draw(st.integers(1, 2)), draw(st.sampled_from([1, 1, 2, 5])), draw(st.integers(1, 2))
    axes = [_axis(draw) for _ in range(rank)]
    sizes, kernels, strides, dilations, lows, highs, extra = map(list, zip(*axes, strict=True))
    attributes: dict[str, object] = {
        "strides": strides,
        "dilations": dilations,
        "pads": [*lows, *highs],
        "output_padding": extra,
        "group": group,
    }
    x = _random(1, group * depth, *sizes)
    return x, _random(group * depth, draw(st.integers(1, 2)), *kernels, seed=1), attributes


def _axis(draw: st.DrawFn) -> tuple[int, ...]:
    kernel, stride, dilation = draw(st.integers(1, 4)), draw(st.integers(1, 3)), draw(st.integers(1, 2))
    size, extra = draw(st.integers(1, 5)), draw(st.integers(0, stride - 1))
    full = (size - 1) * stride + (kernel - 1) * dilation + 1
    low = draw(st.integers(0, min(3, full - 1)))
    return size, kernel, stride, dilation, low, draw(st.integers(0, min(3, full - 1 - low))), extra


@settings(derandomize=True, max_examples=60, deadline=None)
@given(_cases())
def test_any_window_equals_onnxruntime(case: tuple[Array, Array, dict[str, object]]) -> None:
    """Sizes, kernels, strides, dilations, pads, output padding and groups in any combination."""
    x, weights, attributes = case
    _check(x, weights, **attributes)
