"""A hybrid node becomes the float node that its integers stand for."""

from __future__ import annotations

import numpy as np

from edgec.ir import DType, Quantization, TensorType, Value
from edgec.ops import Builder
from edgec.ops.matmul import FullyConnectedAttributes
from edgec.passes.expand_hybrid import ExpandHybrid
from tests.support.ir_graphs import kinds, make_model, run

INTEGERS = np.asarray([[127, -3, 0, 5], [-127, 8, 1, 2]], np.int8)
SCALES = (0.5, 0.25)


def _weights() -> Value:
    form = Quantization(SCALES, (0, 0), 0)
    return Value("weights", TensorType((2, 4), DType.INT8, form), INTEGERS)


def test_weights_are_what_the_integers_stand_for() -> None:
    """Row r of the weights is scale[r] times its integers; the result is the float matrix product."""

    def body(build: Builder, x: Value) -> Value:
        options = FullyConnectedAttributes(asymmetric_quantize_inputs=True)
        return build.op("fully_connected", [x, _weights(), build.constant(np.zeros(2, np.float32))], options)

    model = make_model(body, (3, 4))
    result = ExpandHybrid().run(model)
    assert result.modified
    (node,) = result.model.graph
    real = INTEGERS * np.asarray(SCALES, np.float32)[:, None]
    np.testing.assert_array_equal(node.operand(1).constant(), real)
    assert node.operand(1).type == TensorType((2, 4), DType.FLOAT32)
    assert node.attributes == FullyConnectedAttributes()
    x = np.arange(12, dtype=np.float32).reshape(3, 4)
    (y,) = run(result.model, [x])
    np.testing.assert_array_equal(y, x @ real.T)  # halves and quarters: exact in float32


def test_dequantize_nodes_stay() -> None:
    """A dequantize node is no hybrid: its constant is integer on purpose, and folding knows what to do."""

    def body(build: Builder, x: Value) -> Value:
        return build.op("add", [x, build.op("dequantize", [_weights()])])

    model = make_model(body, (2, 4))
    result = ExpandHybrid().run(model)
    assert not result.modified
    assert kinds(result.model) == ["dequantize", "add"]
