"""BitCast keeps every bit."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto

from edgec.diagnostics import CompileError
from tests.support.onnx_models import import_model, node_model, run_ours

PAIRS = [
    (np.float32, np.int32),
    (np.int32, np.float32),
    (np.uint32, np.float32),
    (np.int8, np.uint8),
    (np.bool_, np.uint8),
    (np.uint16, np.int16),
    (np.int64, np.uint64),
]


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_same_bits(source: type, target: type) -> None:
    """NumPy's view shows the same bits as the other type."""
    x = np.array([0, 1, 1, 0] if source is np.bool_ else [0, 1, 77, 100]).astype(source)
    to = TensorProto.DataType.Value(
        {"float32": "FLOAT"}.get(np.dtype(target).name, np.dtype(target).name.upper())
    )
    proto = node_model("BitCast", {"x": x}, opset=26, to=to)
    (result,) = run_ours(proto, {"x": x})
    assert result.dtype == target
    np.testing.assert_array_equal(result.view(np.uint8), x.view(np.uint8))


@pytest.mark.parametrize(
    ("source", "to"),
    [(np.float64, TensorProto.INT64), (np.float16, TensorProto.INT16), (np.int16, TensorProto.FLOAT16)],
)
def test_bits_of_other_floats_are_refused(source: type, to: int) -> None:
    """They are float32 here, so a plain answer would be wrong."""
    proto = node_model("BitCast", {"x": np.zeros(3, source)}, opset=26, to=to)
    with pytest.raises(CompileError, match="computed as float32, which has other bits"):
        import_model(proto)
