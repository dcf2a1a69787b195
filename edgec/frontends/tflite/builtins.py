"""Custom operators with a public meaning, as builtins: in the tables of the file itself.

    Convolution2DTransposeBias(x, weights, bias) {padding, stride_w, stride_h}
    TRANSPOSE_CONV(output shape, weights, x, bias)

Its options are the bytes of LiteRT's C structure for transpose_conv, as 32-bit integers (source:
mediapipe/util/tflite/operations/transpose_conv_bias.cc). It computes its own output size:

    out = stride * (in - 1) + kernel - pad
    pad = max(0, kernel - 1 - (in - 1) mod stride) for SAME, 0 for VALID
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgec.emit.options import schema
from edgec.frontends.tflite.structure import numbers, text
from edgec.ops.spec import Padding

Table = Any  # objects of the generated schema module, which has no type annotations

TRANSPOSED_CONVOLUTION = "Convolution2DTransposeBias"
_OPTIONS = struct.Struct("<3i")
_PADDINGS = {1: Padding.SAME, 2: Padding.VALID}  # TfLitePadding of the C API, which counts from 1
_VERSION_WITH_BIAS = 3


@dataclass(frozen=True, slots=True)
class TransposedConvolution:
    """What the custom operator's options say."""

    padding: Padding
    stride_w: int
    stride_h: int

    @staticmethod
    def of(raw: bytes) -> TransposedConvolution | None:
        """Read the options; None where they make no sense."""
        padding, *strides = _OPTIONS.unpack_from(raw) if len(raw) >= _OPTIONS.size else (0, 0, 0)
        if padding not in _PADDINGS or min(strides) < 1:
            return None
        return TransposedConvolution(_PADDINGS[padding], *strides)

    def output(self, x: Sequence[int], weights: Sequence[int]) -> tuple[int, int, int, int]:
        """Return the NHWC shape of the result for weights [O, H, W, I]."""
        height = self._size(x[1], weights[1], self.stride_h)
        return x[0], height, self._size(x[2], weights[2], self.stride_w), weights[0]

    def _size(self, size: int, kernel: int, stride: int) -> int:
        pad = max(0, kernel - 1 - (size - 1) % stride) if self.padding is Padding.SAME else 0
        return stride * (size - 1) + kernel - pad


def replaceable(model: Table) -> Iterator[tuple[Table, Table, TransposedConvolution]]:
    """Yield graph, operator and options of every custom operator that is a builtin under another name."""
    for graph in model.subgraphs:
        for operator in graph.operators or []:
            code = model.operatorCodes[operator.opcodeIndex]
            if text(code.customCode) != TRANSPOSED_CONVOLUTION or operator.customOptions is None:
                continue
            options = TransposedConvolution.of(bytes(operator.customOptions))
            if options is not None and len(numbers(operator.inputs)) == len(("x", "weights", "bias")):
                yield graph, operator, options


def write_as_builtins(model: Table) -> bool:
    """Replace such operators in a file's tables; whether there were any."""
    found = list(replaceable(model))
    if not found:
        return False
    code: Table = schema().OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema().BuiltinOperator.TRANSPOSE_CONV
    code.version = _VERSION_WITH_BIAS
    model.operatorCodes.append(code)
    for graph, operator, options in found:
        _replace(model, graph, operator, options)
    return True


def _replace(model: Table, graph: Table, operator: Table, options: TransposedConvolution) -> None:
    x, weights, bias = numbers(operator.inputs)
    shapes = [numbers(graph.tensors[index].shape) for index in (x, weights)]
    shape = _constant(model, graph, np.array(options.output(*shapes), np.int32), "output_shape")
    table: Table = schema().TransposeConvOptionsT()
    table.padding = getattr(schema().Padding, options.padding.name)
    table.strideW, table.strideH = options.stride_w, options.stride_h
    operator.opcodeIndex = len(model.operatorCodes) - 1
    operator.inputs = np.array([shape, weights, x, bias], np.int32)
    operator.builtinOptionsType = schema().BuiltinOptions.TransposeConvOptions
    operator.builtinOptions, operator.customOptions = table, None


def _constant(model: Table, graph: Table, data: np.ndarray[Any, np.dtype[np.int32]], name: str) -> int:
    buffer: Table = schema().BufferT()
    buffer.data = data.view(np.uint8)
    model.buffers.append(buffer)
    tensor: Table = schema().TensorT()
    tensor.name, tensor.shape = name, np.array(data.shape, np.int32)
    tensor.type, tensor.hasRank = schema().TensorType.INT32, True
    tensor.buffer = len(model.buffers) - 1
    graph.tensors.append(tensor)
    return len(graph.tensors) - 1
