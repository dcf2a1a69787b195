"""The element types of a source model's outputs that import has widened to float32."""

from __future__ import annotations

from edgec.frontends.onnx.load import Source
from edgec.ir import DType


def widened_outputs(source: Source) -> dict[str, DType]:
    """Return float16 and float64 outputs by name; others keep their type or have no TFLite form."""
    import onnx

    floats: dict[int, DType] = {
        onnx.TensorProto.FLOAT16: DType.FLOAT16,
        onnx.TensorProto.DOUBLE: DType.FLOAT64,
    }
    numbers = {info.name: info.type.tensor_type.elem_type for info in source.proto.graph.output}
    return {name: floats[number] for name, number in numbers.items() if number in floats}
