"""Dynamic range: int8 weights where the hybrid kernels gain, everything else as it was."""

from __future__ import annotations

import numpy as np
import pytest

from edgec.emit import emit
from edgec.ir import DType, Model, Node
from edgec.kernels import KernelSet, Runner
from edgec.ops.conv import TransposeConvAttributes
from edgec.ops.matmul import BatchMatMulAttributes, FullyConnectedAttributes
from edgec.quantize import quantize_dynamic
from tests.quantize.small_graphs import Sketch, kinds, run_float, samples, sqnr


def network() -> Model:
    """Every op with a hybrid kernel, each with 1024 weights or more."""
    sketch = Sketch()
    x = sketch.conv(sketch.input(1, 8, 8, 16), 32)
    shape = sketch.build.constant([1, 17, 17, 8])
    operands = [shape, sketch.weights(8, 3, 3, 32, fan_in=128), x, sketch.bias(8)]
    x = sketch.build.op("transpose_conv", operands, TransposeConvAttributes(stride_w=2, stride_h=2), "up")
    x = sketch.dense(sketch.build.reshape(x, [1, 17 * 17 * 8]), 64)
    x = sketch.build.reshape(x, [1, 2, 32])
    return sketch.model(sketch.build.op("batch_matmul", [x, sketch.weights(1, 32, 32, fan_in=32)], name="y"))


def weights_of(node: Node) -> DType:
    return node.operand(1).dtype


@pytest.mark.parametrize("kernels", list(KernelSet))
def test_values_stay_close_without_calibration(kernels: KernelSet) -> None:
    """Four layers of 8-bit weights and activations: each alone gives about 40 dB, together above 28."""
    model = network()
    dynamic = quantize_dynamic(model)
    sample = samples(model, 1)[0]
    found = Runner(emit(dynamic).to_bytes(), kernels=kernels).run([sample["x"]])
    assert sqnr(run_float(model, sample), found) > 28


def test_weights_are_int8_and_the_delegate_keeps_the_graph() -> None:
    """A quarter of the size in one partition; float in and out."""
    model = network()
    dynamic = quantize_dynamic(model)
    assert kinds(dynamic) == kinds(model)
    assert emit(dynamic).size < 0.3 * emit(model).size
    assert Runner(emit(dynamic).to_bytes()).partitions().outside == ()
    assert [port.dtype for port in (*dynamic.inputs, *dynamic.outputs)] == [DType.FLOAT32] * 2


def test_scales_are_per_axis_where_the_kernel_has_them() -> None:
    """batch_matmul takes one; activations are asked for asymmetric where that is a choice."""
    forms = {node.kind: node.operand(1).type.quantization for node in quantize_dynamic(network()).graph}
    per_axis = {kind: form.per_axis for kind, form in forms.items() if form is not None}
    assert per_axis == {
        "conv_2d": True,
        "transpose_conv": True,
        "fully_connected": True,
        "batch_matmul": False,
    }
    attributes = [node.attributes for node in quantize_dynamic(network()).graph]
    chosen = [a for a in attributes if isinstance(a, FullyConnectedAttributes | BatchMatMulAttributes)]
    assert [a.asymmetric_quantize_inputs for a in chosen] == [True, True]


def test_depthwise_and_small_weights_stay_float() -> None:
    """Their hybrid forms are slower or save nothing."""
    sketch = Sketch()
    x = sketch.conv(sketch.input(1, 4, 4, 128), 128, kernel=1)  # 16384 weights
    x = sketch.conv(sketch.depthwise(x), 4, kernel=1)  # 1152 depthwise weights, 512 weights
    dynamic = quantize_dynamic(sketch.model(x))
    assert [weights_of(node) for node in dynamic.graph] == [DType.INT8, DType.FLOAT32, DType.FLOAT32]


def test_a_channel_of_zeros_has_a_usable_scale() -> None:
    """Zeros under any scale; 0 would divide by zero."""
    sketch = Sketch()
    weights = np.zeros((2, 1024), np.float32)
    weights[0] = 1.0
    operands = [sketch.input(1, 1024), sketch.build.constant(weights), sketch.bias(2)]
    (node,) = quantize_dynamic(sketch.model(sketch.build.op("fully_connected", operands))).graph
    form = node.operand(1).type.quantization
    assert form is not None
    assert form.scale == (float(np.float32(1 / 127)), 1.0)
    assert not node.operand(1).constant()[1].any()
