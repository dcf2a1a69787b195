"""Files with int4 weights: read where a scale stands on the tensor, refused where it stands elsewhere."""

from __future__ import annotations

import numpy as np
import pytest

from edgec.diagnostics import CompileError
from edgec.emit import emit
from edgec.ir import DType, Graph, Model, Port, Quantization, TensorType, Value
from edgec.ops import Builder
from edgec.ops.matmul import FullyConnectedAttributes
from tests.support.tflite_files import imported


def int4_file(block_size: int = 0) -> bytes:
    """A fully_connected with int4 weights, as edgec writes it."""
    graph = Graph()
    x = graph.add_input("x", TensorType((1, 64)))
    scales = (0.5, 0.25, 1.0) * (2 if block_size else 1)
    form = Quantization(scales, (0,) * len(scales), block_size=block_size)
    weights = np.resize(np.arange(-7, 8, dtype=np.int8), (3, 64))
    stored = Value("w", TensorType((3, 64), DType.INT4, form), weights)
    node = Builder(graph).node("fully_connected", [x, stored, None], FullyConnectedAttributes())
    graph.set_outputs(node.results)
    ports = [[Port(v.name, v.shape, v.dtype) for v in values] for values in (graph.inputs, graph.outputs)]
    return emit(Model(graph, *ports)).to_bytes()


def test_int4_weights_are_unpacked() -> None:
    """One number an element, the type and the parameters kept."""
    weights = imported(int4_file()).graph.last.operand(1)
    assert weights.type == TensorType((3, 64), DType.INT4, Quantization((0.5, 0.25, 1.0), (0, 0, 0)))
    np.testing.assert_array_equal(weights.constant(), np.resize(np.arange(-7, 8), (3, 64)))


def test_weights_in_blocks_are_refused_not_read_without_their_scales() -> None:
    """Such a tensor has no scale of its own, which must not look like plain integers."""
    with pytest.raises(CompileError, match="is quantized in blocks, which this compiler does not take"):
        imported(int4_file(block_size=32))
