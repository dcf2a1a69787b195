"""int4 weights of whatever front end: every emitted node is checked against the library's kernels."""

from __future__ import annotations

import numpy as np
import pytest

from edgec.ir import Attributes, DType, Quantization, TensorType, Value
from edgec.legalize.profile import check_profile, find_profile
from edgec.ops.conv import Conv2DAttributes, DepthwiseConv2DAttributes
from edgec.ops.matmul import FullyConnectedAttributes
from tests.legalize.graphs import Net

SHAPES: dict[str, tuple[tuple[int, ...], tuple[int, ...], Attributes]] = {
    "conv_2d": ((1, 4, 4, 32), (8, 1, 1, 32), Conv2DAttributes()),
    "depthwise_conv_2d": ((1, 4, 4, 32), (1, 3, 3, 32), DepthwiseConv2DAttributes()),
    "fully_connected": ((1, 64), (8, 64), FullyConnectedAttributes()),
}


def net(kind: str, activations: DType, scales: int, block_size: int = 0) -> Net:
    """One node with int4 weights, as a file may hold it."""
    shape, weights, attributes = SHAPES[kind]
    made = Net(int8=activations is DType.INT8)
    x = made.input(*shape, dtype=activations)
    if activations is DType.INT16:
        x.type = TensorType(shape, DType.INT16, Quantization.per_tensor(0.01))
    axis = 3 if kind == "depthwise_conv_2d" and scales > 1 else 0
    form = Quantization((0.5,) * scales, (0,) * scales, axis, block_size)
    stored = Value("w", TensorType(weights, DType.INT4, form), np.ones(weights, np.int8))
    units = 32 if kind == "depthwise_conv_2d" else 8
    bias = made.graph.constant(np.zeros(units, np.float32 if activations is DType.FLOAT32 else np.int32))
    return made.returns(made.op(kind, [x, stored, bias], attributes))


def found(made: Net, profile: str) -> dict[str, str]:
    problems = check_profile(made.model(), find_profile(profile), "board")
    return {problem.code: problem.what for problem in problems}


@pytest.mark.parametrize("kind", SHAPES)
@pytest.mark.parametrize("activations", [DType.FLOAT32, DType.INT8, DType.INT16])
def test_litert_and_tflm_take_what_their_kernels_compute_right(kind: str, activations: DType) -> None:
    """LiteRT: all but depthwise convolutions beside float and int16. TFLM: int8 activations alone."""
    made = net(kind, activations, 1)
    wrong = f"int4 weights beside {activations} activations"
    right = kind != "depthwise_conv_2d" or activations is DType.INT8
    assert found(made, "litert_xnnpack") == ({} if right else {"E0427": wrong})
    assert found(made, "tflm") == ({} if activations is DType.INT8 else {"E0428": wrong})


def test_a_scale_a_unit_is_too_much_for_tflm_s_fully_connected() -> None:
    """Its convolutions take a scale a channel."""
    assert found(net("conv_2d", DType.INT8, 8), "tflm") == {}
    dense = net("fully_connected", DType.INT8, 8)
    assert found(dense, "tflm") == {"E0428": "int4 weights with 8 scales"}
    assert found(dense, "litert_xnnpack") == {}


def test_blocks_are_for_float_activations_in_litert() -> None:
    """Beside int8 the kernel ends with an error, in TFLM with both."""
    assert found(net("fully_connected", DType.FLOAT32, 16, 32), "litert_xnnpack") == {}
    beside_int8 = found(net("fully_connected", DType.INT8, 16, 32), "litert_xnnpack")
    assert beside_int8 == {"E0427": "int4 weights in blocks beside int8 activations"}
    assert set(found(net("fully_connected", DType.FLOAT32, 16, 32), "tflm")) == {"E0428"}


def test_the_message_says_what_to_do() -> None:
    """The rule, the library, and a step."""
    made = net("depthwise_conv_2d", DType.INT16, 1)
    (problem,) = check_profile(made.model(), find_profile("litert_xnnpack"), "rpi4")
    assert "Target 'rpi4' uses LiteRT with XNNPACK. LiteRT computes with int4 weights in" in problem.why
    assert problem.next_step.startswith("Store these weights as int8 in the source")
