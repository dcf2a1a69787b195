"""Casts between element types; floats of any width are float32 here, as everywhere after import."""

from __future__ import annotations

from edgec.frontends.onnx.context import LoweringContext, LoweringError
from edgec.frontends.onnx.registry import lowers
from edgec.ir import DType, Value

_FLOATS = {"float16", "bfloat16", "float32", "float64"}
_NEVER_COMPUTED = {DType.INT4, DType.RESOURCE}  # weights are stored in the one, variables named by the other


def element_type(number: int) -> DType:
    """Return the IR's element type for ONNX's number of one; LoweringError where TFLite has none."""
    from onnx import helper

    try:
        name = helper.tensor_dtype_to_np_dtype(number).name
    except (KeyError, TypeError):
        name = f"number {number}"
    if name in _FLOATS:
        return DType.FLOAT32
    if name in set(DType) - _NEVER_COMPUTED:
        return DType(name)
    raise LoweringError(
        f"produces elements of type {name}",
        "Kernels have no such element type.",
        "Use float32, an integer type or bool in the source model.",
    )


@lowers("Cast", dynamic=True)
def cast(ctx: LoweringContext) -> Value:
    """Values in another type: floats truncate to integers and saturate, anything but 0 is true."""
    return _cast(ctx, element_type(ctx.int("to")))


@lowers("CastLike", dynamic=True)
def cast_like(ctx: LoweringContext) -> Value:
    """Values in the element type of the second operand."""
    return _cast(ctx, ctx.input(1).dtype)


def _cast(ctx: LoweringContext, dtype: DType) -> Value:
    x = ctx.input(0)
    result = ctx.cast(x, dtype)
    if (
        result.data is None
        and x.type.rank == 1
        and x.type.is_static
        and x.dtype.is_integer
        and dtype.is_integer
    ):
        ctx.note_entries(result, ctx.entries(x))  # what is known of a shape stays known
    return result
