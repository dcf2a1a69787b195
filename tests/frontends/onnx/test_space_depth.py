"""DepthToSpace and SpaceToDepth move values: results are equal, not close."""

from __future__ import annotations

import numpy as np
import pytest

from edgec.diagnostics import CompileError
from edgec.ir import Array
from tests.support.onnx_models import check_against_onnxruntime, import_model, node_model, run_ours


def _ramp(*shape: int) -> Array:
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


@pytest.mark.parametrize("mode", ["DCR", "CRD"])
@pytest.mark.parametrize("block", [1, 2, 3])
@pytest.mark.parametrize("opset", [11, 13])
def test_depth_to_space(mode: str, block: int, opset: int) -> None:
    """Both channel orders."""
    x = _ramp(2, 2 * block**2, 3, 5)
    proto = node_model("DepthToSpace", {"x": x}, opset=opset, blocksize=block, mode=mode)
    check_against_onnxruntime(proto, {"x": x}, rtol=0, atol=0)


def test_depth_to_space_before_modes() -> None:
    """Opset 7 knows DCR alone."""
    x = _ramp(1, 8, 2, 3)
    check_against_onnxruntime(node_model("DepthToSpace", {"x": x}, opset=7, blocksize=2), {"x": x})


@pytest.mark.parametrize("block", [1, 2, 3])
@pytest.mark.parametrize("opset", [7, 13])
def test_space_to_depth(block: int, opset: int) -> None:
    """Blocks become channels, block-major."""
    x = _ramp(2, 3, 2 * block, 4 * block)
    proto = node_model("SpaceToDepth", {"x": x}, opset=opset, blocksize=block)
    check_against_onnxruntime(proto, {"x": x}, rtol=0, atol=0)


def test_space_to_depth_crd_undoes_depth_to_space() -> None:
    """Opset 28 gives SpaceToDepth a mode (onnxruntime has none yet): it inverts DepthToSpace's."""
    x = _ramp(1, 8, 3, 2)
    (spread,) = run_ours(node_model("DepthToSpace", {"x": x}, blocksize=2, mode="CRD"), {"x": x})
    proto = node_model("SpaceToDepth", {"x": spread}, opset=28, blocksize=2, mode="CRD")
    np.testing.assert_array_equal(run_ours(proto, {"x": spread})[0], x)


@pytest.mark.parametrize(
    ("shape", "attributes", "words"),
    [
        ((1, 6, 2, 2), {"blocksize": 2}, "6 channels do not divide"),
        ((1, 8, 2, 2), {"blocksize": 2, "mode": "RCD"}, "mode 'RCD' is unknown"),
        ((1, 8, 2), {"blocksize": 2}, r"does not fit input \[1, 8, 2\]"),
    ],
)
def test_refusals(shape: tuple[int, ...], attributes: dict[str, object], words: str) -> None:
    """What does not divide or has no meaning is refused in numbers."""
    proto = node_model("DepthToSpace", {"x": _ramp(*shape)}, **attributes)
    with pytest.raises(CompileError, match=words):
        import_model(proto)
