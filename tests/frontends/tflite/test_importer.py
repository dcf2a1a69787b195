"""Names, types, buffers and refusals of the TFLite front end."""

from __future__ import annotations

import numpy as np
import pytest

from edgec.diagnostics import CompileError
from edgec.emit import emit
from edgec.frontends.tflite import is_quantized
from edgec.ir import DType, Quantization
from tests.support.ir_graphs import conv, kinds, make_model, ramp
from tests.support.tflite_files import (
    FileBuilder,
    assert_same_numbers,
    imported,
    pack,
    quantization,
    table,
)

X = np.arange(-4, 4, dtype=np.float32).reshape(1, 8)


def refusals(raw: bytes, **arguments: object) -> list[str]:
    with pytest.raises(CompileError) as caught:
        imported(raw, **arguments)
    return [str(item) for item in caught.value.diagnostics]


def activation(builtin: str = "TANH", shape: tuple[int, ...] = (1, 8), **fields: object) -> FileBuilder:
    file = FileBuilder()
    x, y = file.tensor(shape, **fields), file.tensor(shape, **fields)
    file.operator(builtin, [x], [y])
    file.graph.inputs, file.graph.outputs = np.array([x], np.int32), np.array([y], np.int32)
    return file


def test_ports_take_the_names_of_the_signature() -> None:
    """The signature's names are the user's; without one the tensors' names are."""
    file = activation()
    assert [port.name for port in imported(pack(file.model)).inputs] == ["t0"]
    signature = table("SignatureDef", signatureKey="serving_default", subgraphIndex=0)
    signature.inputs = [table("TensorMap", name="image", tensorIndex=0)]
    signature.outputs = [table("TensorMap", name="score", tensorIndex=1)]
    file.model.signatureDefs = [signature]
    model = imported(pack(file.model))
    assert (model.inputs[0].name, model.outputs[0].name) == ("image", "score")
    with pytest.raises(CompileError, match=r"has no signature 'train'.*It has: serving_default"):
        imported(pack(file.model), signature="train")


def test_old_operator_codes_are_read() -> None:
    """Files of before 2020 hold the builtin in the 8-bit field alone."""
    file = activation()
    file.model.operatorCodes[0].builtinCode = 0
    assert kinds(assert_same_numbers(pack(file.model), [X])) == ["tanh"]


def test_an_open_batch_becomes_one_and_other_dimensions_are_asked_for() -> None:
    """shape_signature -1: only the batch has a default."""
    file = activation(shapeSignature=np.array([-1, 8], np.int32))
    assert imported(pack(file.model)).inputs[0].shape == (1, 8)
    assert imported(pack(file.model), input_shapes={"t0": (3, 8)}).outputs[0].shape == (3, 8)
    (message,) = refusals(pack(file.model), input_shapes={"t0": (3, 9)})
    assert message.startswith("E0109 input 't0' [?,8]: cannot become [3,9]. Its fixed dimensions must stay.")
    wide = activation(shapeSignature=np.array([-1, -1], np.int32))
    assert "E0109 input 't0' [?,?]: leaves dimensions open" in refusals(pack(wide.model))[0]
    assert (
        "E0601 --input-shape: the model has no input 'z'"
        in refusals(pack(file.model), input_shapes={"z": (1,)})[0]
    )


def test_constants_are_views_of_the_file_and_shared_where_the_file_shares() -> None:
    """Two tensors on one buffer are one buffer again after emitting."""
    file = FileBuilder()
    x, y, z = file.tensor((1, 8)), file.tensor((1, 8)), file.tensor((1, 8))
    first = file.constant(np.arange(8, dtype=np.float32))
    second = file.tensor((8,), buffer=1, name="again")
    file.operator("ADD", [x, first], [y], table("AddOptions"))
    file.operator("MUL", [y, second], [z], table("MulOptions"))
    model = assert_same_numbers(file.to_bytes([x], [z]), [X])
    data = [value.constant() for value in model.graph.constants()]
    assert all(np.shares_memory(data[0], item) for item in data)


def test_data_behind_the_flatbuffer_is_found() -> None:
    """The form of files over 2 GB: Buffer.offset and Buffer.size."""
    model = make_model(lambda b, x: conv(b, x), (1, 5, 5, 3))
    outside = emit(model, external=True).to_bytes()
    assert_same_numbers(outside, [ramp(1, 5, 5, 3)])


def test_a_scalar_tensor_is_one_number() -> None:
    """Rank 0 is a shape of its own, not a missing one."""
    file = FileBuilder()
    x, c, y = file.tensor((1, 8)), file.constant(np.float32(2.5)), file.tensor((1, 8))
    file.operator("MUL", [x, c], [y], table("MulOptions"))
    model = assert_same_numbers(file.to_bytes([x], [y]), [X])
    assert model.graph.constants()[0].shape == ()


def test_a_missing_bias_is_an_operand_of_minus_one() -> None:
    """fully_connected goes without; conv_2d, whose kernel demands one, gets zeros."""
    file = FileBuilder()
    x, w, y = file.tensor((1, 8)), file.constant(ramp(3, 8)), file.tensor((1, 3))
    file.operator("FULLY_CONNECTED", [x, w, -1], [y], table("FullyConnectedOptions"), version=6)
    model = assert_same_numbers(file.to_bytes([x], [y]), [X])
    assert len(next(iter(model.graph)).operands) == 2

    file = FileBuilder()
    x, w, y = file.tensor((1, 4, 4, 2)), file.constant(ramp(3, 1, 1, 2)), file.tensor((1, 4, 4, 3))
    file.operator("CONV_2D", [x, w], [y], table("Conv2DOptions", strideW=1, strideH=1, padding=1))
    node = next(iter(imported(file.to_bytes([x], [y])).graph))
    np.testing.assert_array_equal(node.operand(2).constant(), np.zeros(3, np.float32))


def test_float16_weights_become_float32_constants() -> None:
    """dequantize of a float16 constant is gone; the numbers are the float16 ones."""
    weights = ramp(3, 8).astype(np.float16)
    file = FileBuilder()
    x, half, w, y = file.tensor((1, 8)), file.constant(weights), file.tensor((3, 8)), file.tensor((1, 3))
    file.operator("DEQUANTIZE", [half], [w], version=3)
    file.operator("FULLY_CONNECTED", [x, w, -1], [y], table("FullyConnectedOptions"), version=6)
    model = assert_same_numbers(file.to_bytes([x], [y]), [X], rtol=1e-6)
    assert kinds(model) == ["fully_connected"]
    assert not is_quantized(model)
    constant = model.graph.constants()[0].constant()
    assert constant.dtype == np.float32
    np.testing.assert_array_equal(constant, weights.astype(np.float32))


def test_quantization_per_tensor_and_per_axis_is_kept() -> None:
    """Scales and zero points are the file's, ports speak in real numbers, and bits are equal."""
    file = FileBuilder()
    x = file.tensor((1, 8), "int8", quantization=quantization([0.5], [3]))
    w = file.constant(
        np.arange(-12, 12, dtype=np.int8).reshape(3, 8), quantization=quantization([0.1, 0.2, 0.3], [0, 0, 0])
    )
    y = file.tensor((1, 3), "int8", quantization=quantization([2.0], [-5]))
    file.operator("FULLY_CONNECTED", [x, w, -1], [y], table("FullyConnectedOptions"), version=6)
    raw = file.to_bytes([x], [y])
    model = assert_same_numbers(raw, [np.arange(-4, 4, dtype=np.int8).reshape(1, 8)])
    assert is_quantized(model)
    assert model.inputs[0].dtype is DType.FLOAT32
    assert model.graph.inputs[0].type.quantization == Quantization.per_tensor(0.5, 3)
    weights = next(iter(model.graph)).operand(1).type.quantization
    assert weights is not None
    assert weights.scale == pytest.approx((0.1, 0.2, 0.3))
    assert weights.quantized_dimension == 0


def test_bias_axis_of_old_files_is_set_right() -> None:
    """Files of 2019 name axis 3 of a 1-D bias; its scales can only be those of axis 0."""
    file = activation("ABS")
    bias = file.constant(np.zeros(3, np.int32), quantization=quantization([1.0, 2.0, 3.0], [0, 0, 0], 3))
    y = file.tensor((3,), "int32")
    file.operator("NEG", [bias], [y], table("NegOptions"))
    file.graph.outputs = np.array([y], np.int32)
    model = imported(pack(file.model))
    kept = next(v for v in model.graph.constants() if v.type.quantization).type.quantization
    assert kept is not None
    assert kept.quantized_dimension == 0


def test_a_custom_operator_is_refused_by_its_name() -> None:
    """The name is what the reader can look up."""
    file = FileBuilder()
    x, y = file.tensor((1, 8)), file.tensor((1, 8))
    file.operator("CUSTOM", [x], [y], customCode="edgetpu-custom-op")
    (message,) = refusals(file.to_bytes([x], [y]))
    assert message.startswith("E0201 operator 0 't1' (CUSTOM): is a custom operator: edgetpu-custom-op.")


def test_every_operator_that_cannot_be_taken_gets_its_own_message() -> None:
    """What reads a refused result is not blamed; what is refused by itself is."""
    file = FileBuilder()
    x, a, b, c, d = (file.tensor((1, 8)) for _ in range(5))
    file.operator("CUSTOM", [x], [a], customCode="one")
    file.operator("TANH", [a], [b])
    file.operator("CUSTOM", [x], [c], customCode="two")
    file.operator("RFFT2D", [x], [d])
    messages = refusals(file.to_bytes([x], [b, c, d]))
    assert [message.split(":")[0] for message in messages] == [
        "E0201 operator 0 't1' (CUSTOM)",
        "E0201 operator 2 't3' (CUSTOM)",
        "E0201 operator 3 't4' (RFFT2D)",
    ]


def test_a_setting_that_no_attribute_holds_is_not_lost() -> None:
    """A fused tanh would vanish without a word; it is refused instead."""
    file = FileBuilder()
    x, y, z = file.tensor((1, 8)), file.tensor((1, 8)), file.tensor((1, 8))
    file.operator("ADD", [x, x], [y], table("AddOptions", fusedActivationFunction=4))
    file.operator("L2_NORMALIZATION", [x], [z], table("L2NormOptions", fusedActivationFunction=1))
    first, second = refusals(file.to_bytes([x], [y, z]))
    assert "sets fused_activation_function to TANH; kernels take NONE, RELU, RELU_N1_TO_1, RELU6" in first
    assert "sets fusedActivationFunction to 1, which this compiler does not take" in second


def test_state_of_an_operator_without_memory_is_refused_with_the_way_out() -> None:
    """A variable tensor that no operator calls its own could be written by anybody."""
    file = FileBuilder()
    x, state, y = file.tensor((1, 8)), file.tensor((1, 8), isVariable=True), file.tensor((1, 8))
    file.operator("ADD", [x, state], [y], table("AddOptions"))
    (message,) = refusals(file.to_bytes([x], [y]))
    assert "E0202 operator 0 't2' (ADD): keeps a state between runs." in message
    assert "extra input and output" in message


def test_types_and_data_that_do_not_fit_are_named() -> None:
    """A constant with too few bytes, a string tensor, and a sparse one."""
    file = FileBuilder()
    x, y = file.tensor((1, 8)), file.tensor((1, 8))
    short = file.constant(np.ones(4, np.float32))
    file.graph.tensors[short].shape = np.array([8], np.int32)
    file.operator("ADD", [x, short], [y], table("AddOptions"))
    (message,) = refusals(file.to_bytes([x], [y]))
    assert "'t2' is float32[8] (32 bytes) but has 16 bytes of data" in message
    (message,) = refusals(pack(activation(dtype="string").model))
    assert "E0110 input 't0': 't0' is of element type STRING" in message


def test_a_graph_out_of_order_is_called_damaged() -> None:
    """An operator may read only what an earlier one made; a tensor is made once."""
    file = FileBuilder()
    x, a, b = (file.tensor((1, 8)) for _ in range(3))
    file.operator("TANH", [b], [a])
    file.operator("TANH", [x], [b])
    assert "reads 't2', which nothing computes" in refusals(file.to_bytes([x], [a]))[0]
    file.graph.operators.reverse()
    file.operator("TANH", [x], [a])
    assert "writes tensor 't1' a second time" in refusals(file.to_bytes([x], [a]))[0]
