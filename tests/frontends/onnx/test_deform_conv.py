"""DeformConv against onnxruntime."""

from __future__ import annotations

import numpy as np
import pytest

from edgec.diagnostics import CompileError
from edgec.ir import Array
from tests.support.onnx_models import check_against_onnxruntime, import_model, node_model


def _random(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize(
    ("group", "offset_group", "attributes", "output"),
    [
        (1, 1, {}, (5, 6)),
        (1, 2, {"pads": [1, 0, 1, 2]}, (7, 8)),
        (2, 1, {"strides": [2, 1]}, (3, 6)),
        (2, 2, {"dilations": [2, 1], "pads": [1, 1, 0, 0]}, (4, 7)),
    ],
)
@pytest.mark.parametrize("mask", [False, True])
@pytest.mark.parametrize("constant", [False, True])
def test_numbers(
    group: int,
    offset_group: int,
    attributes: dict[str, object],
    output: tuple[int, int],
    mask: bool,
    constant: bool,
) -> None:
    """Groups of channels and of offsets, bias and mask; offsets reach beyond the image."""
    weights = {"w": _random(6, 4 // group, 3, 3, seed=1), "b": _random(6, seed=3)}
    inputs = {"x": _random(2, 4, 7, 8), "offset": 2 * _random(2, offset_group * 18, *output, seed=2)}
    if mask:
        inputs["mask"] = _random(2, offset_group * 9, *output, seed=4)
    order = ["x", "w", "offset", "b", "mask"][: 5 if mask else 4]
    feeds = inputs if constant else {**inputs, **weights}
    proto = node_model(
        "DeformConv",
        feeds,
        constants=weights if constant else None,
        order=order,
        opset=19,
        group=group,
        offset_group=offset_group,
        **attributes,
    )
    check_against_onnxruntime(proto, feeds, rtol=1e-4, atol=1e-4)


def test_offsets_of_another_size_are_refused() -> None:
    """The refusal says what offsets have to look like."""
    inputs = {"x": _random(1, 2, 5, 5), "w": _random(3, 2, 3, 3), "offset": _random(1, 18, 2, 3)}
    with pytest.raises(CompileError, match=r"Offsets are \[1, 18, 3, 3\]"):
        import_model(node_model("DeformConv", inputs, opset=19))
