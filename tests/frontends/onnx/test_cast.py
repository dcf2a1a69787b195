"""Casts are exact wherever the target type has the value; beyond it they saturate."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper

from edgec.diagnostics import CompileError
from tests.support.onnx_models import (
    check_against_onnxruntime,
    import_model,
    node_model,
    run_ours,
)

TYPES = [np.float32, np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.bool_]


@pytest.mark.parametrize("source", TYPES)
@pytest.mark.parametrize("target", TYPES)
def test_cast(source: type, target: type) -> None:
    """All pairs of types, with values that both have; fractions are cut off, anything but 0 is true."""
    values = [0, 1, 2, 100] if source is not np.float32 else [0.0, 0.5, 1.99, 100.7, 3e-5]
    x = np.array(values, source)
    to = helper.np_dtype_to_tensor_dtype(np.dtype(target))
    kinds = [node.kind for node in import_model(node_model("Cast", {"x": x}, opset=13, to=to)).graph]
    assert kinds == ([] if source is target else ["cast"])
    check_against_onnxruntime(node_model("Cast", {"x": x}, opset=13, to=to), {"x": x}, rtol=0, atol=0)


@pytest.mark.parametrize("opset", [7, 9, 13, 19, 21])
def test_negative_values(opset: int) -> None:
    """Fractions are cut off towards zero on both sides."""
    x = np.array([-2.9, -0.5, -0.0, 0.9, 2.9], np.float32)
    proto = node_model("Cast", {"x": x}, opset=opset, to=TensorProto.INT64)
    check_against_onnxruntime(proto, {"x": x}, rtol=0, atol=0)


def test_floats_beyond_an_integer_type_saturate() -> None:
    """ONNX leaves this open; the kernel takes the nearest value there is."""
    x = np.array([1e20, -1e20, 300.0], np.float32)
    (result,) = run_ours(node_model("Cast", {"x": x}, to=TensorProto.INT8), {"x": x})
    np.testing.assert_array_equal(result, np.array([127, -128, 127], np.int8))


@pytest.mark.parametrize("to", [TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE])
def test_other_floats_are_float32(to: int) -> None:
    """A cast from float32 to another float costs nothing and keeps every digit."""
    x = np.array([1.1, 1e-7], np.float32)
    proto = node_model("Cast", {"x": x}, to=to)
    assert len(import_model(proto).graph) == 0
    np.testing.assert_array_equal(run_ours(proto, {"x": x})[0], x)


@pytest.mark.parametrize("target", [np.int64, np.float32, np.bool_])
def test_cast_like(target: type) -> None:
    """The second operand lends its type, not its values."""
    x = np.array([0, 3, 7], np.int32)
    proto = node_model("CastLike", {"x": x}, constants={"like": np.zeros(2, target)}, opset=15)
    (result,) = run_ours(proto, {"x": x})
    np.testing.assert_array_equal(result, x.astype(target))
    assert result.dtype == target


@pytest.mark.parametrize("to", [TensorProto.STRING, TensorProto.FLOAT8E4M3FN, TensorProto.INT4])
def test_types_without_kernels_are_refused(to: int) -> None:
    """The error names the type and what to use."""
    proto = node_model("Cast", {"x": np.zeros(2, np.float32)}, opset=21, to=to)
    with pytest.raises(CompileError, match=r"E0202 .*produces elements of type .*Use float32"):
        import_model(proto)
