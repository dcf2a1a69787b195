"""BitCast: the same bits as another element type."""

from __future__ import annotations

from edgec.frontends.onnx.context import LoweringContext, LoweringError
from edgec.frontends.onnx.lowerings.cast import element_type
from edgec.frontends.onnx.registry import lowers
from edgec.ir import Value
from edgec.ops.bits import BitcastAttributes

_FLOAT32 = 1


@lowers("BitCast")
def bit_cast(ctx: LoweringContext) -> Value:
    """The kernel of the same name. Floats of other widths are float32 here, so their bits are not at hand."""
    x, to = ctx.input(0), ctx.int("to")
    dtype = element_type(to)
    if x.dtype.numpy.itemsize != dtype.numpy.itemsize or (dtype.is_float and to != _FLOAT32):
        raise LoweringError(
            f"reads {x.dtype} bits as {_name(to)}",
            "float16, bfloat16 and float64 are computed as float32, which has other bits.",
            "Use float32 in the source model.",
        )
    return x if x.dtype is dtype else ctx.build.op("bitcast", [x], BitcastAttributes(dtype))


def _name(element_type: int) -> str:
    from onnx import TensorProto

    return TensorProto.DataType.Name(element_type).lower()
