"""Windows over three axes. Tolerance: some dozen float32 products are summed in different orders."""

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
    op_type: str, x: Array, constants: dict[str, Array] | None = None, **attributes: object
) -> list[str]:
    proto = node_model(op_type, {"x": x}, constants=constants or {}, **attributes)
    check_against_onnxruntime(proto, {"x": x}, rtol=RTOL, atol=ATOL)
    return [node.kind for node in import_model(proto).graph]


@pytest.mark.parametrize(
    ("channels", "weights", "attributes"),
    [
        (3, (4, 3, 2, 3, 3), {}),
        (3, (4, 3, 1, 3, 3), {"pads": [0, 1, 1, 0, 1, 1]}),
        (3, (4, 3, 3, 3, 3), {"pads": [1, 1, 1, 1, 1, 1], "strides": [2, 2, 2]}),
        (3, (4, 3, 3, 2, 2), {"dilations": [2, 1, 2], "pads": [2, 0, 1, 1, 1, 0]}),
        (3, (4, 3, 2, 3, 3), {"auto_pad": "SAME_LOWER", "strides": [2, 1, 3]}),
        (4, (6, 2, 2, 2, 2), {"group": 2}),
        (4, (4, 1, 3, 3, 3), {"group": 4, "pads": [1] * 6}),
        (4, (8, 1, 1, 2, 2), {"group": 4, "strides": [2, 1, 1]}),
    ],
)
def test_conv(channels: int, weights: tuple[int, ...], attributes: dict[str, object]) -> None:
    """Pads, strides, dilations and groups along the depth, in one conv_2d that every library runs."""
    constants = {"w": _random(*weights, seed=1), "b": _random(weights[0], seed=2)}
    kinds = _check("Conv", _random(2, channels, 6, 7, 8), constants, **attributes)
    assert kinds.count("conv_2d") == 1
    assert "conv_3d" not in kinds


def test_conv_with_weights_computed_at_run_time() -> None:
    """The weights are rearranged by nodes where they are no constant."""
    inputs = {"x": _random(1, 2, 4, 5, 5), "w": _random(3, 2, 2, 3, 3, seed=1)}
    check_against_onnxruntime(node_model("Conv", inputs), inputs, rtol=RTOL, atol=ATOL)


@pytest.mark.parametrize(
    ("channels", "weights", "attributes"),
    [
        (3, (3, 4, 2, 3, 3), {}),
        (3, (3, 4, 3, 3, 3), {"strides": [2, 2, 2], "pads": [1, 1, 1, 1, 1, 1], "output_padding": [1, 1, 1]}),
        (3, (3, 4, 2, 2, 2), {"strides": [2, 2, 2]}),
        (3, (3, 4, 2, 2, 2), {"strides": [3, 1, 2], "dilations": [2, 2, 1]}),
        (4, (4, 3, 2, 2, 2), {"group": 2, "strides": [1, 2, 1]}),
        (3, (3, 2, 3, 3, 3), {"strides": [2, 2, 2], "output_shape": [8, 9, 10]}),
    ],
)
def test_conv_transpose(channels: int, weights: tuple[int, ...], attributes: dict[str, object]) -> None:
    """Planes that meet are summed; gaps between them (stride above kernel) hold the bias."""
    units = weights[1] * int(str(attributes.get("group", 1)))
    constants = {"w": _random(*weights, seed=1), "b": _random(units, seed=2)}
    _check("ConvTranspose", _random(2, channels, 4, 5, 5), constants, **attributes)


@st.composite
def _pools(draw: st.DrawFn) -> tuple[str, Array, dict[str, object]]:
    op_type = draw(st.sampled_from(["MaxPool", "AveragePool", "LpPool"]))
    kernels = [draw(st.integers(1, 3)) for _ in range(3)]
    lows, highs = ([draw(st.integers(0, kernel - 1)) for kernel in kernels] for _ in range(2))
    attributes: dict[str, object] = {
        "kernel_shape": kernels,
        "strides": [draw(st.integers(1, 3)) for _ in range(3)],
        "pads": [*lows, *highs],
    }
    if op_type != "LpPool":
        attributes["ceil_mode"] = draw(st.integers(0, 1))
    if op_type == "AveragePool":
        attributes["count_include_pad"] = draw(st.integers(0, 1))
    return op_type, _random(1, 2, *(draw(st.integers(3, 6)) for _ in range(3))), attributes


@settings(max_examples=40, deadline=None)
@given(_pools())
def test_pools(case: tuple[str, Array, dict[str, object]]) -> None:
    """Maxima, averages (pads counted or not) and norms are those over all three axes at once."""
    op_type, x, attributes = case
    _check(op_type, x, **attributes)


def test_dilated_max_pool() -> None:
    """Taps of a dilated window are gathered on every axis."""
    _check(
        "MaxPool",
        _random(1, 2, 6, 7, 8),
        kernel_shape=[2, 3, 2],
        dilations=[2, 2, 3],
        pads=[1, 0, 1, 0, 1, 0],
    )


def test_four_axes_are_refused() -> None:
    """The refusal says what window kernels can do."""
    proto = node_model("MaxPool", {"x": _random(1, 1, 3, 3, 3, 3)}, kernel_shape=[2, 2, 2, 2])
    with pytest.raises(CompileError, match="4 spatial dimensions"):
        import_model(proto)
