"""Conv and ConvTranspose of one or two spatial dimensions."""

from __future__ import annotations

from edgec.frontends.onnx.context import LoweringContext
from edgec.frontends.onnx.registry import lowers
from edgec.ir import Value


@lowers("Identity")
def identity(ctx: LoweringContext) -> Value:
    """The value itself."""
    return ctx.input(0)
