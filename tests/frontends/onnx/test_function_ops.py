"""RMSNormalization and SwiGLU: numbers of their definitions."""

from __future__ import annotations

import numpy as np
import pytest

from edgec.diagnostics import CompileError
from edgec.ir import Array
from tests.support.onnx_models import check_against_onnxruntime, import_model, node_model, run_ours


def _random(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize(("axis", "scale"), [(-1, (5,)), (1, (4, 5)), (2, (1,)), (0, (3, 4, 5))])
def test_rms_normalization(axis: int, scale: tuple[int, ...]) -> None:
    """The axes from `axis` on are normalized together, then scaled."""
    inputs = {"x": _random(3, 4, 5)}
    constants = {"scale": _random(*scale, seed=1)}
    proto = node_model("RMSNormalization", inputs, constants=constants, opset=23, axis=axis, epsilon=1e-3)
    check_against_onnxruntime(proto, inputs, rtol=1e-4)


@pytest.mark.parametrize("alpha", [1.0, 1.7])
def test_swiglu(alpha: float) -> None:
    """a * sigmoid(alpha * a) * b."""
    inputs = {"a": _random(3, 4), "b": _random(3, 4, seed=1)}
    (y,) = run_ours(node_model("SwiGLU", inputs, opset=28, alpha=alpha), inputs)
    expected = inputs["a"] / (1 + np.exp(-alpha * inputs["a"])) * inputs["b"]
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)


def test_swiglu_does_not_broadcast() -> None:
    """The operator's two inputs have one shape."""
    proto = node_model("Add", {"a": _random(3, 4), "b": _random(1, 4)}, opset=28)
    proto.graph.node[0].op_type = "SwiGLU"  # onnx itself refuses to infer the shape of such a node
    with pytest.raises(CompileError, match="does not broadcast"):
        import_model(proto)
