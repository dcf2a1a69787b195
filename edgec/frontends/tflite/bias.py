"""Operators with weights whose older forms leave the bias out: our kinds always have one."""

from __future__ import annotations

import numpy as np

from edgec.frontends.tflite.context import Context
from edgec.ir import DType, Quantization, Value


def zero_bias(ctx: Context, x: Value, weights: Value, units: int) -> Value:
    """Return a bias of zeros in the type that the kernel takes for these operands."""
    qx, qw = x.type.quantization, weights.type.quantization
    if qx is None or qw is None:
        return ctx.build.constant(np.zeros(units, np.float32))
    wide = x.dtype is DType.INT16
    bias = ctx.build.constant(np.zeros(units, np.int64 if wide else np.int32))
    scale = tuple(float(np.float32(qx.scale[0]) * np.float32(item)) for item in qw.scale)
    bias.type = type(bias.type)(bias.shape, bias.dtype, Quantization(scale, (0,) * len(scale)))
    return bias
