"""Integers and flags that become real numbers: each is its own value, so its scale is 1.

y = cast(x → float32)      x ─ cast int32, scale 1 ─ quantize ─ y
"""

from __future__ import annotations

from edgec.ir import DType, Node, Quantization, TensorType, Value
from edgec.ops import Builder
from edgec.ops.elementwise import CastAttributes
from edgec.quantize.parameters import Form

_COUNT = Quantization.per_tensor(1.0)


def is_count(node: Node) -> bool:
    """Whether a node turns integers or flags into real numbers."""
    attributes = node.attributes
    if not isinstance(attributes, CastAttributes) or attributes.out_data_type is not DType.FLOAT32:
        return False
    return attributes.in_data_type is DType.BOOL or attributes.in_data_type.is_integer


def quantize_count(build: Builder, node: Node, x: Value, form: Form) -> Value:
    """Insert the integer form of `is_count(node)` that reads `x` and makes a result in a form."""
    whole = build.op("cast", [x], CastAttributes(x.dtype, DType.INT32))
    whole.type = TensorType(whole.shape, DType.INT32, _COUNT)
    made = build.op("quantize", [whole], name=node.result.name)
    made.type = TensorType(made.shape, form.dtype, form.quantization)
    return made
