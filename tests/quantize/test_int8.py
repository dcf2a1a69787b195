"""Whole int8 graphs: right numbers, the same on every runtime, and every rule of the specification kept.

Why 30 dB: 256 levels over ±4 sigma of a Gaussian are 20 log10(2 * 127 * sqrt(3) / 4) = 40.8 dB, and the
few roundings on the way to an output cost about 10 dB. A wrong zero point, scale or bias costs far more.
`hard_swish` gets 28 dB: most of its values are far below its largest (29.2 dB with the runtime's own node).
Why 2 LSB: XNNPACK requantizes in float32 and the other kernels in fixed point, so one node may differ by 1,
and a difference may pass on through another.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from edgec.diagnostics import CompileError
from edgec.emit import emit
from edgec.ir import DType, Graph, Model, Quantization, TensorType
from edgec.kernels import KernelSet, Runner
from edgec.ops import ActivationFunctionType, Padding
from edgec.ops.conv import TransposeConvAttributes
from edgec.ops.movement import ConcatenationAttributes
from edgec.ops.pool import Pool2DAttributes
from edgec.ops.reduce import ReducerAttributes
from edgec.ops.verify_ir import verify_ir
from edgec.passes.contract import RulePass
from edgec.quantize import check_quantized, int8_problems, int8_rules, quantize_int8
from tests.quantize.small_graphs import (
    Sketch,
    calibrated,
    decode,
    encode,
    kinds,
    output_sqnr,
    run_float,
    run_stored,
    samples,
    sqnr,
)

NONE = ActivationFunctionType.NONE


def classifier() -> Model:
    """conv + relu6 → depthwise → residual add → global mean → dense → softmax."""
    sketch = Sketch()
    stem = sketch.conv(sketch.input(1, 12, 12, 3), 8, stride=2)
    deep = sketch.conv(sketch.depthwise(stem), 8, kernel=1, fused=NONE)
    added = sketch.build.op("add", [deep, stem], name="added")
    axes = sketch.build.constant([1, 2])
    pooled = sketch.build.op("mean", [added, axes], ReducerAttributes(keep_dims=False), "pooled")
    return sketch.model(sketch.build.op("softmax", [sketch.dense(pooled, 5)], name="scores"))


def heads() -> Model:
    """Two heads of different range, flattened and concatenated, and one of them also on its own."""
    sketch = Sketch(1)
    features = sketch.conv(sketch.input(1, 8, 8, 3), 8)
    wide, narrow = (sketch.conv(features, 4, fused=NONE, name=name) for name in ("wide", "narrow"))
    wide = sketch.build.op("mul", [wide, sketch.build.constant(20.0)], name="scaled")
    flat = [sketch.build.reshape(value, [1, 64, 4]) for value in (wide, narrow)]
    joint = sketch.build.op("concatenation", flat, ConcatenationAttributes(axis=2), "joint")
    return sketch.model(joint, sketch.build.op("logistic", [narrow], name="alone"))


def prelu() -> Model:
    """Negative and positive slopes, one a channel."""
    sketch = Sketch(2)
    x = sketch.conv(sketch.input(1, 8, 8, 3), 4, fused=NONE)
    slope = sketch.build.constant(np.array([0.25, -0.1, 0.5, 0.0], np.float32))
    y = sketch.build.op("prelu", [x, slope], name="y")
    return sketch.model(sketch.conv(y, 3, fused=NONE, name="out"))


def hard_swish() -> Model:
    """Two blocks with the activation of MobileNetV3."""
    sketch = Sketch(3)
    x = sketch.input(1, 8, 8, 3)
    for name in ("first", "second"):
        x = sketch.build.op("hard_swish", [sketch.conv(x, 8, fused=NONE, name=name)], name=f"{name}_act")
    return sketch.model(x)


def padded() -> Model:
    """Explicit padding, a max pool after padding with -inf, and a resize."""
    sketch = Sketch(4)
    paddings = sketch.build.constant(np.array([[0, 0], [0, 1], [0, 1], [0, 0]], np.int32))
    x = sketch.build.op("pad", [sketch.input(1, 8, 8, 3), paddings], name="padded")
    x = sketch.conv(x, 6, stride=2, padding=Padding.VALID, fused=NONE)
    lowest = sketch.build.constant(np.asarray(-np.inf, np.float32))
    x = sketch.build.op("padv2", [x, paddings, lowest], name="lowest")
    pool = Pool2DAttributes(Padding.VALID, 2, 2, 3, 3)
    x = sketch.build.op("max_pool_2d", [x], pool, name="pooled")
    size = sketch.build.constant([6, 6])
    return sketch.model(sketch.build.op("resize_bilinear", [x, size], name="y"))


def upsampled() -> Model:
    """A transposed convolution and the sum of two inputs of different range."""
    sketch = Sketch(5)
    x, other = sketch.input(1, 5, 5, 4), sketch.input(1, 11, 11, 3, name="other")
    shape = sketch.build.constant([1, 11, 11, 3])
    operands = [shape, sketch.weights(3, 3, 3, 4, fan_in=16), x, sketch.bias(3)]
    up = sketch.build.op("transpose_conv", operands, TransposeConvAttributes(stride_w=2, stride_h=2), "up")
    scaled = sketch.build.op("mul", [other, sketch.build.constant(0.1)], name="scaled")
    return sketch.model(sketch.build.op("sub", [up, scaled], name="y"))


GRAPHS = (classifier, heads, prelu, hard_swish, padded, upsampled)


def prepared(make: Callable[[], Model]) -> Model:
    return RulePass("int8", int8_rules()).run(make()).model


@pytest.mark.parametrize("make", GRAPHS)
def test_int8_keeps_the_float_model_s_values(make: Callable[[], Model]) -> None:
    """Every output on held-out samples, on XNNPACK as on the kernels a microcontroller has."""
    model = prepared(make)
    quantized = quantize_int8(model, calibrated(model))
    for kernels in KernelSet:
        found = output_sqnr(model, quantized, kernels)
        assert min(found) > (28 if make is hard_swish else 30), (kernels, found)


@pytest.mark.parametrize("make", GRAPHS)
def test_int8_is_integer_only_and_keeps_every_rule(make: Callable[[], Model]) -> None:
    """No float tensor, no float node, and nothing for the verifier to say."""
    model = prepared(make)
    quantized = quantize_int8(model, calibrated(model))
    values = [value for node in quantized.graph for value in (*node.operands, *node.results) if value]
    assert not [value for value in values if value.dtype.is_float]
    verify_ir(quantized)
    assert check_quantized(quantized) == []


@pytest.mark.parametrize("make", GRAPHS)
def test_runtimes_agree_within_two_steps(make: Callable[[], Model]) -> None:
    """XNNPACK, builtin and reference kernels on the same bytes."""
    model = prepared(make)
    quantized = quantize_int8(model, calibrated(model))
    for sample in samples(model, 4, seed=3):
        outputs = [run_stored(quantized, sample, kernels) for kernels in KernelSet]
        for arrays in zip(*outputs, strict=True):
            wide = [array.astype(np.int32) for array in arrays]
            assert max(np.abs(wide[0] - other).max() for other in wide[1:]) <= 2


@pytest.mark.parametrize("make", GRAPHS)
def test_the_same_model_and_ranges_give_the_same_bytes(make: Callable[[], Model]) -> None:
    """Nothing depends on hashes, addresses or what was quantized before."""
    made = [
        emit(quantize_int8(model, calibrated(model))).to_bytes() for model in (prepared(make), prepared(make))
    ]
    assert made[0] == made[1]


@pytest.mark.parametrize("make", (classifier, hard_swish))
def test_int8_runs_in_one_delegate_partition(make: Callable[[], Model]) -> None:
    """Only the softmax at the very end stays outside: it has no int8 form in XNNPACK."""
    model = prepared(make)
    partitions = Runner(emit(quantize_int8(model, calibrated(model))).to_bytes()).partitions()
    assert partitions.delegated == 1
    assert set(partitions.outside) <= {"SOFTMAX"}


@pytest.mark.parametrize("make", (classifier, prelu))
def test_micro_kernels_equal_the_reference_kernels(make: Callable[[], Model]) -> None:
    """TFLM runs the bytes, and its reference kernels give the very integers of LiteRT's."""
    micro = pytest.importorskip("tflite_micro.python.tflite_micro.runtime", reason="tflite-micro is an extra")
    model = prepared(make)
    quantized = quantize_int8(model, calibrated(model))
    interpreter = micro.Interpreter.from_bytes(emit(quantized).to_bytes(), arena_size=1 << 20)
    for sample in samples(model, 4, seed=5):
        (expected,) = run_stored(quantized, sample, KernelSet.REFERENCE)
        interpreter.set_input(encode(quantized.graph.inputs[0], sample["x"]), 0)
        interpreter.invoke()
        np.testing.assert_array_equal(interpreter.get_output(0), expected)


def test_the_float_model_is_left_as_it_was() -> None:
    """Quantizing again with other choices starts from the same float model."""
    model = classifier()
    before = emit(model).to_bytes()
    quantize_int8(model, calibrated(model))
    assert emit(model).to_bytes() == before


def test_weights_and_bias_by_hand() -> None:
    """y = 2 x0 - x1 + 3 over x in [-1, 1]: every number in the file is checked."""
    sketch = Sketch()
    x = sketch.input(1, 2)
    operands = [
        x,
        sketch.build.constant(np.array([[2.0, -1.0]], np.float32)),
        sketch.build.constant(np.array([3.0], np.float32)),
    ]
    model = sketch.model(sketch.build.op("fully_connected", operands, name="y"))
    quantized = quantize_int8(model, {"x": (-1.0, 1.5), "y": (0.0, 6.0)})
    (node,) = quantized.graph
    scale_in, scale_w = float(np.float32(2.5 / 255)), float(np.float32(2 / 127))
    assert node.operand(0).type.quantization == Quantization((scale_in,), (-26,))  # -128 + 255 / 2.5
    assert node.operand(1).type == TensorType((1, 2), DType.INT8, Quantization((scale_w,), (0,)))
    assert node.operand(1).constant().tolist() == [[127, -64]]  # -63.5 rounds to even
    assert node.operand(2).dtype is DType.INT32
    assert node.operand(2).constant().tolist() == [round(3.0 / (scale_in * scale_w))]
    assert node.result.type.quantization == Quantization((float(np.float32(6 / 255)),), (-128,))


def test_per_tensor_weights_for_kernels_that_take_one_scale() -> None:
    """`per_axis=False` for all kinds, `per_tensor_kinds` for some."""
    model = classifier()
    ranges = calibrated(model)

    def per_axis(**options: object) -> dict[str, bool]:
        made = quantize_int8(model, ranges, **options)
        forms = {n.kind: n.operand(1).type.quantization for n in made.graph if len(n.operands) == 3}
        return {kind: form is not None and form.per_axis for kind, form in forms.items()}

    everywhere = {"conv_2d": True, "depthwise_conv_2d": True, "fully_connected": True}
    assert per_axis() == everywhere
    assert per_axis(per_tensor_kinds=["fully_connected"]) == {**everywhere, "fully_connected": False}
    assert per_axis(per_axis=False) == dict.fromkeys(everywhere, False)


def test_a_cut_join_gets_a_requantize() -> None:
    """The narrow head keeps its own scale for the sigmoid and is requantized for the concatenation."""
    quantized = quantize_int8(heads(), calibrated(heads()))
    assert kinds(quantized).count("quantize") == 1
    (bridge,) = [node for node in quantized.graph if node.kind == "quantize"]
    assert bridge.operand(0).type.quantization != bridge.result.type.quantization
    assert bridge.result.users[0].kind == "concatenation"


@pytest.mark.parametrize("kind", [DType.INT8, DType.UINT8, DType.FLOAT32])
def test_interface_types_agree(kind: DType) -> None:
    """The border's type is a choice of its own; names stay, and results agree within one output step."""
    model = classifier()
    ranges = calibrated(model)
    plain = quantize_int8(model, ranges)
    quantized = quantize_int8(model, ranges, input_type=kind, output_type=kind)
    assert [port.dtype for port in (*quantized.inputs, *quantized.outputs)] == [kind, kind]
    (x,), (y,) = quantized.graph.inputs, quantized.graph.outputs
    assert (x.name, y.name, x.dtype, y.dtype) == ("x", "scores", kind, kind)
    assert check_quantized(quantized) == []
    for sample in samples(model, 4):
        expected = decode(plain.graph.outputs[0], run_stored(plain, sample)[0])
        found = decode(y, run_stored(quantized, sample)[0])
        np.testing.assert_allclose(found, expected, atol=1.01 / 256)


def test_uint8_zero_points_are_128_above_int8_ones() -> None:
    """Equal scales: camera bytes go in as they are."""
    model = classifier()
    ranges = calibrated(model)
    signed = quantize_int8(model, ranges).graph
    unsigned = quantize_int8(model, ranges, input_type=DType.UINT8, output_type=DType.UINT8).graph
    for old, new in ((signed.inputs[0], unsigned.inputs[0]), (signed.outputs[0], unsigned.outputs[0])):
        before, after = old.type.quantization, new.type.quantization
        assert before is not None and after is not None
        assert (after.scale, after.zero_point[0]) == (before.scale, before.zero_point[0] + 128)


def test_integer_inputs_and_indices_stay_integers() -> None:
    """A gather from a float table by ids: the table becomes int8 over its own range, ids do not change."""
    sketch = Sketch()
    ids = sketch.input(1, 3, name="ids", dtype=DType.INT32)
    table = sketch.build.constant(np.linspace(-4, 2, 20, dtype=np.float32).reshape(5, 4))
    model = sketch.model(sketch.build.op("gather", [table, ids], name="rows"))
    sample = {"ids": np.array([[0, 4, 2]], np.int32)}
    quantized = quantize_int8(model, {"rows": (-1.0, 1.0)})
    assert quantized.inputs[0].dtype is DType.INT32
    assert (
        sqnr(run_float(model, sample), [decode(quantized.graph.outputs[0], run_stored(quantized, sample)[0])])
        > 40
    )


def test_a_constant_read_in_two_ways_is_quantized_twice() -> None:
    """As an addend over its own range, inside a concatenation in the group's scale."""
    sketch = Sketch()
    x = sketch.input(1, 4)
    shared = sketch.build.constant(np.array([[0.1, -0.1, 0.05, 0.0]], np.float32))
    joint = sketch.build.op("concatenation", [x, shared], ConcatenationAttributes(axis=1), "joint")
    model = sketch.model(sketch.build.op("add", [x, shared], name="total"), joint)
    quantized = quantize_int8(model, calibrated(model))
    forms = {value.type.quantization for value in quantized.graph.constants()}
    assert len(forms) == 2
    assert min(output_sqnr(model, quantized)) > 35


@pytest.mark.parametrize(("kind", "constant"), [("add", 1e-6), ("mul", 1e-9)])
def test_a_tiny_constant_stays_in_the_delegate(kind: str, constant: float) -> None:
    """Its scale is widened to the delegate's window: 2^-10 (add) or 2^-16 (mul) of the output's step."""
    sketch = Sketch()
    y = sketch.build.op(kind, [sketch.input(1, 64), sketch.build.constant(constant)], name="y")
    quantized = quantize_int8(sketch.model(y), {"x": (-1.0, 1.0), "y": (-1.0, 1.0)})
    assert check_quantized(quantized) == []
    assert Runner(emit(quantized).to_bytes()).partitions().outside == ()


def test_a_value_is_converted_once_for_all_its_readers() -> None:
    """One quantize of the float input, though three nodes read it."""
    sketch = Sketch()
    x = sketch.input(1, 16)
    parts = [sketch.dense(x, 4, name=name) for name in ("a", "b", "c")]
    model = sketch.model(*parts)
    quantized = quantize_int8(model, calibrated(model), input_type=DType.FLOAT32)
    assert kinds(quantized) == ["quantize", *["fully_connected"] * 3]


def test_a_dead_convolution_does_not_break_the_multiplier() -> None:
    """Output always 0 after relu: its scale is raised until the multiplier is at most 16."""
    sketch = Sketch()
    weights = sketch.build.constant(np.full((2, 1, 1, 3), 1e4, np.float32))
    operands = [sketch.input(1, 4, 4, 3), weights, sketch.build.constant(np.full(2, -1e6, np.float32))]
    y = sketch.build.op("conv_2d", operands, name="y")
    quantized = quantize_int8(sketch.model(y), {"x": (-1.0, 1.0), "y": (0.0, 1e-6)})
    assert check_quantized(quantized) == []
    Runner(emit(quantized).to_bytes())


def curved() -> Model:
    """A convolution, two functions without int8 kernel with a reshape between, and a dense layer."""
    sketch = Sketch()
    x = sketch.conv(sketch.input(1, 4, 4, 3), 4)
    exponents = [sketch.build.constant(np.linspace(0.5, 1.5, n, dtype=np.float32)) for n in (4, 64)]
    root = sketch.build.op("pow", [x, exponents[0]], name="root")  # an exponent a channel: no table, either
    wave = sketch.build.op("pow", [sketch.build.reshape(root, [1, 64]), exponents[1]], name="wave")
    return sketch.model(sketch.dense(wave, 3))


def test_every_node_without_int8_kernel_is_named() -> None:
    """Two diagnostics: node, op, reason and a way out."""
    model = curved()
    with pytest.raises(CompileError) as caught:
        quantize_int8(model, calibrated(model))
    lines = str(caught.value).splitlines()
    assert [line.split(":")[0] for line in lines] == ["E0421 node 'root' (pow)", "E0421 node 'wave' (pow)"]
    assert lines[0].endswith(
        "cannot be int8. The kernel has no int8 form. "
        "Allow float islands, use --float16 or --dynamic, or replace the layer."
    )


def test_weights_computed_at_run_time_are_refused_with_the_reason() -> None:
    """A convolution's kernel packs its weights when the model is loaded."""
    sketch = Sketch()
    x, weights = sketch.input(1, 4, 4, 3), sketch.input(2, 1, 1, 3, name="w")
    model = sketch.model(sketch.build.op("conv_2d", [x, weights, sketch.bias(2)], name="y"))
    (found,) = int8_problems(model)
    assert str(found).startswith(
        "E0421 node 'y' (conv_2d): cannot be int8. Its weights are computed at run time."
    )
    assert int8_problems(model, allow_float_islands=True) == []


def test_control_flow_is_refused() -> None:
    """Branches would need ranges of their own."""
    model = classifier()
    model.subgraphs.append(Graph("branch"))
    (found,) = int8_problems(model)
    assert str(found).startswith(
        "E0424 model: has 1 subgraphs (control flow), which int8 does not cover yet."
    )


def test_float_islands_are_bridged_where_the_user_allows_them() -> None:
    """One dequantize before and one quantize after: the nodes between them stay float together."""
    model = curved()
    quantized = quantize_int8(model, calibrated(model), allow_float_islands=True)
    expected = ["conv_2d", "dequantize", "pow", "reshape", "pow", "quantize", "fully_connected"]
    assert kinds(quantized) == expected
    assert output_sqnr(model, quantized)[0] > 30
    assert check_quantized(quantized, allow_float_islands=True) == []


def test_constants_that_no_scale_can_hold_are_named() -> None:
    """An addend with infinity; -inf as a padding value is fine (see `padded`)."""
    sketch = Sketch()
    mask = sketch.build.constant(np.array([0.0, -np.inf, 0.0, np.nan], np.float32), name="mask")
    model = sketch.model(sketch.build.op("add", [sketch.input(1, 4), mask], name="masked"))
    with pytest.raises(
        CompileError, match=r"E0422 node 'masked' \(add\): reads constant 'mask', which holds 2"
    ):
        quantize_int8(model, {"x": (-1.0, 1.0), "masked": (-1.0, 1.0)})
