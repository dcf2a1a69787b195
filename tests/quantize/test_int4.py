"""int4 weights: beside int8, int16 and float activations, per axis and in blocks.

Rounding weights to 15 levels costs 20 dB and more, which would hide a wrong kernel or a wrong byte. So models
are compared with the float model that has the *rounded* weights: what is left is the activations' rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from edgec.emit import emit
from edgec.ir import Array, DType, Model, Node, Value
from edgec.kernels import KernelSet, Runner
from edgec.ops import spec_of
from edgec.ops.conv import TransposeConvAttributes
from edgec.quantize import ChosenWeights, check_quantized, quantize_dynamic, quantize_int8, quantize_int16x8
from edgec.quantize.dynamic import DynamicWeights
from edgec.quantize.parameters import along_axis
from tests.quantize.small_graphs import (
    Sketch,
    calibrated,
    encode,
    output_sqnr,
    run_float,
    run_stored,
    samples,
    sqnr,
)

INT8_DB = 30  # as for int8 models of one or two layers in `test_int8`
INT16_DB = 60  # 256 times finer than int8: 48 dB more, less what the kernels' 16-bit multipliers cost
HYBRID_DB = 35  # kernels round a row of activations to 8 bits: 42 dB, less for its peaks


def conv() -> Model:
    """Odd sizes: rows of weights do not end at a byte."""
    sketch = Sketch(1)
    return sketch.model(sketch.conv(sketch.input(1, 7, 7, 3), 39, name="y"))


def depthwise() -> Model:
    sketch = Sketch(2)
    return sketch.model(sketch.depthwise(sketch.input(1, 7, 7, 115), name="y"))


def dense() -> Model:
    sketch = Sketch(3)
    return sketch.model(sketch.dense(sketch.input(2, 64), 17, name="y"))


def odd_dense() -> Model:
    sketch = Sketch(4)
    return sketch.model(sketch.dense(sketch.input(2, 33), 33, name="y"))


LAYERS = (conv, depthwise, dense, odd_dense)


def weights_of(node: Node) -> Value:
    facts = spec_of(node).quant.weights
    assert facts is not None
    return node.operand(facts.operand)


def real(weights: Value) -> Array:
    """The numbers that stored weights stand for."""
    form = weights.type.quantization
    assert form is not None
    if form.block_size:
        rows = weights.constant().reshape(-1, form.block_size)
        return (rows * np.array(form.scale, np.float32)[:, None]).reshape(weights.shape)
    return weights.constant().astype(np.float32) * along_axis(form, weights.shape)[0]


def with_weights_of(make: Callable[[], Model], quantized: Model) -> Model:
    """The float model with the weights that a quantized one has."""
    model = make()
    stored = [weights_of(node) for node in quantized.graph if spec_of(node).quant.weights is not None]
    for node, weights in zip(list(model.graph), stored, strict=True):
        old = weights_of(node)
        index = node.operands.index(old)
        model.graph.set_operand(node, index, model.graph.constant(real(weights), old.name))
    return model


@pytest.mark.parametrize("make", LAYERS)
def test_int8_activations_compute_with_the_rounded_weights(make: Callable[[], Model]) -> None:
    """On XNNPACK, the builtin kernels and, but for depthwise, the reference kernels."""
    model = make()
    made = quantize_int8(model, calibrated(model, 200), weights=DType.INT4)
    assert check_quantized(made) == []
    weights = weights_of(made.graph.last)
    assert weights.dtype is DType.INT4
    assert np.abs(weights.constant().astype(np.int32)).max() == 7
    rounded = with_weights_of(make, made)
    for kernels in KernelSet:
        if kernels is KernelSet.REFERENCE and make is depthwise:
            continue  # LiteRT does not register version 7 there
        assert output_sqnr(rounded, made, kernels)[0] > INT8_DB, kernels


@pytest.mark.parametrize("make", (conv, dense, odd_dense))
def test_int16_activations_compute_with_the_rounded_weights(make: Callable[[], Model]) -> None:
    """Nearly exactly so: activations are 256 times finer."""
    model = make()
    made = quantize_int16x8(model, calibrated(model, 200), weights=DType.INT4)
    assert check_quantized(made) == []
    assert weights_of(made.graph.last).dtype is DType.INT4
    for kernels in (KernelSet.BUILTIN, KernelSet.REFERENCE):
        assert output_sqnr(with_weights_of(make, made), made, kernels)[0] > INT16_DB, kernels


def test_depthwise_with_int16_activations_keeps_int8_weights() -> None:
    """LiteRT's kernel takes int4 there, and computes noise."""
    model = depthwise()
    made = quantize_int16x8(model, calibrated(model), weights=DType.INT4)
    assert weights_of(made.graph.last).dtype is DType.INT8


@pytest.mark.parametrize("make", (conv, depthwise, dense, odd_dense))
def test_micro_kernels_compute_the_same(make: Callable[[], Model]) -> None:
    """TFLM, which takes one scale in fully_connected; within one step of LiteRT's kernels."""
    micro = pytest.importorskip("tflite_micro.python.tflite_micro.runtime", reason="tflite-micro is an extra")
    model = make()
    made = quantize_int8(model, calibrated(model), weights=DType.INT4, per_tensor_kinds=["fully_connected"])
    interpreter = micro.Interpreter.from_bytes(emit(made).to_bytes(), arena_size=1 << 18)
    for sample in samples(model, 4, seed=5):
        interpreter.set_input(encode(made.graph.inputs[0], sample["x"]), 0)
        interpreter.invoke()
        (expected,) = run_stored(made, sample, KernelSet.BUILTIN)
        assert np.abs(interpreter.get_output(0).astype(np.int32) - expected).max() <= 1


def test_fully_connected_stays_in_the_delegate() -> None:
    """XNNPACK has int4 weights for it."""
    model = dense()
    made = quantize_int8(model, calibrated(model), weights=DType.INT4)
    assert Runner(emit(made).to_bytes()).partitions().outside == ()


def test_the_file_holds_half_a_byte_a_weight() -> None:
    """256 x 256 weights: 32 KiB instead of 64."""
    sketch = Sketch(5)
    model = sketch.model(sketch.dense(sketch.input(1, 256), 256, name="y"))
    ranges = calibrated(model)
    sizes = [emit(quantize_int8(model, ranges, weights=dtype)).size for dtype in (DType.INT8, DType.INT4)]
    assert sizes[0] - sizes[1] == 256 * 256 // 2


def test_nodes_without_an_int4_kernel_and_named_nodes_keep_int8_weights() -> None:
    """transpose_conv has none; the first layer is named because it feels the rounding most.

    The last one has 72 weights: int4 would save 36 bytes, and cost what only a large layer is worth.
    """
    sketch = Sketch(6)
    first = sketch.conv(sketch.input(1, 5, 5, 3), 40, name="first")
    shape = sketch.build.constant([1, 11, 11, 4])
    operands = [shape, sketch.weights(4, 3, 3, 40, fan_in=360), first, sketch.bias(4)]
    up = sketch.build.op("transpose_conv", operands, TransposeConvAttributes(stride_w=2, stride_h=2), "up")
    large = sketch.conv(up, 32, name="large")
    small = sketch.conv(sketch.conv(large, 4, name="narrow"), 2, name="y")
    model = sketch.model(small)
    made = quantize_int8(model, calibrated(model), weights=DType.INT4, int8_weight_nodes=["first"])
    found = [str(weights_of(node).dtype) for node in made.graph]
    assert found == ["int8", "int8", "int4", "int4", "int8"]


def test_chosen_int4_weights_are_taken_as_they_are() -> None:
    """Integers that somebody chose for int4; those chosen for int8 do not apply to int4."""
    model = dense()
    weights = weights_of(model.graph.last)
    data = np.full(weights.shape, 3, np.int8)
    scales = np.full(weights.shape[0], 0.05)
    ranges = calibrated(model)
    chosen = {weights: ChosenWeights(data, scales, DType.INT4)}
    made = quantize_int8(model, ranges, weights=DType.INT4, chosen_weights=chosen)
    np.testing.assert_array_equal(weights_of(made.graph.last).constant(), data)
    plain = quantize_int8(model, ranges, weights=DType.INT4)
    for_int8 = {weights: ChosenWeights(data, scales)}
    other = quantize_int8(model, ranges, weights=DType.INT4, chosen_weights=for_int8)
    assert emit(other).to_bytes() == emit(plain).to_bytes()


def test_the_verifier_knows_what_four_bits_may_hold() -> None:
    """-8 fits into four bits, and one kernel computes nonsense from it."""
    model = conv()
    made = quantize_int8(model, calibrated(model), weights=DType.INT4)
    weights_of(made.graph.last).constant().reshape(-1)[0] = -8
    (found,) = check_quantized(made)
    assert str(found).startswith("E0433 node 'y' (conv_2d): int4 weights hold -8. Some kernels")


# float activations


def hybrid_sqnr(make: Callable[[], Model], made: Model, kernels: KernelSet) -> float:
    rounded = with_weights_of(make, made)
    held_out = samples(rounded, 8, seed=2)
    truth = [run_float(rounded, sample)[0] for sample in held_out]
    runner = Runner(emit(made).to_bytes(), kernels=kernels)
    return sqnr(truth, [runner.run([sample["x"]])[0] for sample in held_out])


def wide_dense() -> Model:
    sketch = Sketch(7)
    return sketch.model(sketch.dense(sketch.input(2, 128), 24, name="y"))


def wide_conv() -> Model:
    sketch = Sketch(8)
    return sketch.model(sketch.conv(sketch.input(1, 6, 6, 16), 8, name="y"))


def test_hybrid_fully_connected_takes_int4_weights_per_axis() -> None:
    """In the delegate, in the builtin kernels, which -8 would break, and in the reference kernels."""
    made = quantize_dynamic(wide_dense(), DynamicWeights(DType.INT4))
    assert weights_of(made.graph.last).dtype is DType.INT4
    for kernels in KernelSet:
        assert hybrid_sqnr(wide_dense, made, kernels) > HYBRID_DB, kernels
    assert Runner(emit(made).to_bytes()).partitions().outside == ()


@pytest.mark.parametrize("size", (32, 64, 128))
def test_hybrid_fully_connected_takes_int4_weights_in_blocks(size: int) -> None:
    """In the delegate and the builtin kernels; LiteRT's reference kernels overlook the blocks."""
    made = quantize_dynamic(wide_dense(), DynamicWeights(DType.INT4, block_size=size))
    form = weights_of(made.graph.last).type.quantization
    assert form is not None
    assert (form.block_size, len(form.scale)) == (size, 24 * 128 // size)
    for kernels in (KernelSet.XNNPACK, KernelSet.BUILTIN):
        assert hybrid_sqnr(wide_dense, made, kernels) > HYBRID_DB, kernels
    assert Runner(emit(made).to_bytes()).partitions().outside == ()


def test_blocks_follow_weights_whose_size_changes_along_a_row() -> None:
    """Columns 0-31 are a hundred times larger: one scale a row rounds all the others to zero."""
    model = wide_dense()
    node = model.graph.last
    data = weights_of(node).constant().copy()
    data[:, :32] *= 100
    model.graph.set_operand(node, 1, model.graph.constant(data))
    errors: list[float] = []
    for form in (DynamicWeights(DType.INT4), DynamicWeights(DType.INT4, block_size=32)):
        stored = real(weights_of(quantize_dynamic(model, form).graph.last))
        errors.append(sqnr([data[:, 32:]], [stored[:, 32:]]))
    assert errors[0] < 1
    assert errors[1] > 15


@pytest.mark.parametrize("reason", ("rows do not divide", "float16 is too coarse"))
def test_what_cannot_be_in_blocks_is_per_axis(reason: str) -> None:
    """100 columns and blocks of 32; weights of 1e-6, whose scales float16 would flush to zero."""
    sketch = Sketch(9)
    columns, size = (100, 1.0) if reason.startswith("rows") else (128, 1e-6)
    weights = sketch.build.constant((size * sketch.rng.normal(size=(24, columns))).astype(np.float32))
    y = sketch.build.op("fully_connected", [sketch.input(1, columns), weights, sketch.bias(24)], name="y")
    made = quantize_dynamic(sketch.model(y), DynamicWeights(DType.INT4, block_size=32))
    form = weights_of(made.graph.last).type.quantization
    assert form is not None
    assert (form.block_size, len(form.scale)) == (0, 24)


def test_the_verifier_checks_weights_beside_float_activations_too() -> None:
    """A -8, and blocks that do not cover the matrix."""
    made = quantize_dynamic(wide_dense(), DynamicWeights(DType.INT4, block_size=64))
    assert check_quantized(made, allow_float_islands=True) == []
    weights = weights_of(made.graph.last)
    weights.constant()[0, 0] = -8
    (found,) = check_quantized(made, allow_float_islands=True)
    assert "int4 weights hold -8" in str(found)
    weights.constant()[0, 0] = 0
    form = weights.type.quantization
    assert form is not None
    weights.type = replace(weights.type, quantization=replace(form, block_size=32))
    (found,) = check_quantized(made, allow_float_islands=True)
    assert "E0436" in str(found)


def test_hybrid_convolutions_take_int4_only_where_asked() -> None:
    """Their int4 kernel is outside of XNNPACK, so int8 is the default."""
    plain = quantize_dynamic(wide_conv(), DynamicWeights(DType.INT4))
    assert weights_of(plain.graph.last).dtype is DType.INT8
    kinds = ("conv_2d", "fully_connected")
    made = quantize_dynamic(wide_conv(), DynamicWeights(DType.INT4, int4_kinds=kinds))
    assert weights_of(made.graph.last).dtype is DType.INT4
    for kernels in KernelSet:
        assert hybrid_sqnr(wide_conv, made, kernels) > HYBRID_DB, kernels
    assert Runner(emit(made).to_bytes()).partitions().outside == ("CONV_2D",)


def test_a_block_size_that_kernels_do_not_know_is_refused() -> None:
    """By the one who asks for it, at once."""
    with pytest.raises(ValueError, match=r"block size 48 is none of \(32, 64, 128, 256\)"):
        DynamicWeights(DType.INT4, block_size=48)


def test_dynamic_weights_may_be_chosen() -> None:
    """As for int8 models: integers and scales as given."""
    model = wide_dense()
    weights = weights_of(model.graph.last)
    data = np.full(weights.shape, -5, np.int8)
    chosen = ChosenWeights(data, np.full(24, 0.125), DType.INT4)
    made = quantize_dynamic(model, DynamicWeights(DType.INT4, chosen={weights: chosen}))
    np.testing.assert_array_equal(real(weights_of(made.graph.last)), np.full(weights.shape, -0.625))


def test_the_graph_says_what_blocks_there_are() -> None:
    """In printed IR."""
    made = quantize_dynamic(wide_dense(), DynamicWeights(DType.INT4, block_size=64))
    assert str(weights_of(made.graph.last).type) == "int4[24,128] blocks of 64 scales 48"


def test_the_same_model_gives_the_same_bytes() -> None:
    """The search for scales and the packing depend on nothing but the weights."""
    ranges = calibrated(dense())
    forms: list[Callable[[], Model]] = [
        lambda: quantize_int8(dense(), ranges, weights=DType.INT4),
        lambda: quantize_int16x8(dense(), ranges, weights=DType.INT4),
        lambda: quantize_dynamic(wide_dense(), DynamicWeights(DType.INT4, block_size=32)),
    ]
    for form in forms:
        assert emit(form()).to_bytes() == emit(form()).to_bytes()
