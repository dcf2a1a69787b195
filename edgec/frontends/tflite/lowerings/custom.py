"""Custom operators whose meaning is public, as builtins: what every runtime has (see `builtins`).

Convolution2DTransposeBias ─▶ transpose_conv with a bias
"""

from __future__ import annotations

import numpy as np

from edgec.frontends.tflite.builtins import TRANSPOSED_CONVOLUTION, TransposedConvolution
from edgec.frontends.tflite.context import Context, LoweringError
from edgec.frontends.tflite.registry import CUSTOM, lowers
from edgec.ir import Value
from edgec.ops.conv import TransposeConvAttributes


@lowers(f"{CUSTOM}{TRANSPOSED_CONVOLUTION}")
def convolution_2d_transpose_bias(ctx: Context) -> list[Value]:
    """Operands are data, weights [O, H, W, I] and bias."""
    x, weights, bias = (ctx.input(index) for index in range(3))
    raw = b"" if ctx.options is None else bytes(ctx.options)
    options = TransposedConvolution.of(raw)
    if options is None or x.type.rank != 4 or weights.type.rank != 4:
        raise LoweringError(f"has options {raw.hex()} for an input {list(x.shape)}", "The file is damaged.")
    shape = ctx.build.constant(np.array(options.output(x.shape, weights.shape), np.int32))
    attributes = TransposeConvAttributes(options.padding, options.stride_w, options.stride_h)
    return [ctx.build.op("transpose_conv", [shape, weights, x, bias], attributes)]
