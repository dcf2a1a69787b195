"""int16 activations with int8 weights: whole models, and every op that has an int16 kernel.

Why 40 dB with weights: int8 weights of a channel are off by 1/127 of its largest, uniformly. With normal
weights (largest ≈ 3 sigma) that is 20 log10(127 / 3 * sqrt(12)) = 43 dB for one layer, less a few dB for
the layers before it. Why 70 dB without: 32767 steps for the largest value; signals here peak at up to six
times their mean power, so 20 log10(32767 / 6 * sqrt(12)) = 85 dB, twice for two operands and the result.
"""

from __future__ import annotations

import numpy as np
import pytest

from edgec.calibrate.ranges import collect_ranges
from edgec.diagnostics import CompileError
from edgec.emit import emit
from edgec.ir import Array, DType, Model, Quantization
from edgec.kernels import KernelSet
from edgec.ops import all_ops
from edgec.ops.spec import Case, OpSpec
from edgec.quantize import check_quantized, int16x8_problems, quantize_int8, quantize_int16x8
from tests.quantize.small_graphs import (
    RELU,
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
from tests.quantize.test_kernels import node_model, run_int8

WITH_WEIGHTS_DB = 40
WITHOUT_WEIGHTS_DB = 70
INTERPOLATED = {"log", "rsqrt"}
"""Their kernels interpolate in a table of 513 values: near 0, where they are steep, that costs precision."""

REFERENCE_LACKS = {"strided_slice", "tile"}
REFERENCE_WRONG = {"sum"}  # ignores that scales differ, in int8 too
CASES = [
    pytest.param(spec, case, id=f"{spec.name}-{case.name}")
    for spec in all_ops().values()
    if spec.quant.supports(DType.INT16) and DType.INT16 in spec.support.litert and not spec.quant.int16_reason
    for case in spec.cases
]


def network() -> Model:
    """Convolution, depthwise, residual sum, pool, mean, dense, softmax: what audio models are made of."""
    sketch = Sketch(3)
    stem = sketch.conv(sketch.input(1, 12, 12, 3), 8, stride=2, fused=RELU, name="stem")
    branch = sketch.depthwise(stem, fused=RELU)
    total = sketch.build.op("add", [stem, branch], name="total")
    axes = sketch.build.constant(np.array([1, 2], np.int32))
    pooled = sketch.build.op("mean", [total, axes], name="pooled")
    return sketch.model(sketch.build.op("softmax", [sketch.dense(pooled, 6)], name="y"))


def test_a_network_is_far_nearer_to_float_than_int8() -> None:
    """On every set of kernels; the verifier has nothing to say; activations have no zero point."""
    model = network()
    ranges = calibrated(model, 200)
    wide, narrow = quantize_int16x8(model, ranges), quantize_int8(model, ranges)
    assert check_quantized(wide) == []
    (worst,) = output_sqnr(model, narrow)
    for kernels in KernelSet:
        (found,) = output_sqnr(model, wide, kernels)
        assert found > max(WITH_WEIGHTS_DB, worst + 5), kernels
    results = [value for node in wide.graph for value in node.results]
    assert {value.dtype for value in (*wide.graph.inputs, *results)} == {DType.INT16}
    assert all(value.type.quantization and value.type.quantization.zero_point == (0,) for value in results)


def test_weights_are_int8_and_bias_int64() -> None:
    """The bias of scale s_in * s_w has 64 bits, as every int16 kernel reads it; softmax has 1/32768."""
    model = network()
    made = quantize_int16x8(model, calibrated(model))
    for node in made.graph:
        if node.kind in ("conv_2d", "depthwise_conv_2d", "fully_connected"):
            x, weights, bias = (node.operand(index) for index in range(3))
            assert (weights.dtype, bias.dtype) == (DType.INT8, DType.INT64)
            s_in, s_w, s_b = (value.type.quantization for value in (x, weights, bias))
            assert s_in and s_w and s_b
            np.testing.assert_allclose(s_b.scale, np.array(s_w.scale) * s_in.scale[0], rtol=1e-6)
    assert made.graph.outputs[0].type.quantization == Quantization.per_tensor(1 / 32768)


def test_runtimes_agree() -> None:
    """Builtin and reference kernels, and TFLM: the same integers from the same bytes."""
    micro = pytest.importorskip("tflite_micro.python.tflite_micro.runtime", reason="tflite-micro is an extra")
    model = network()
    made = quantize_int16x8(model, calibrated(model))
    interpreter = micro.Interpreter.from_bytes(emit(made).to_bytes(), arena_size=1 << 20)
    for sample in samples(model, 4, seed=5):
        builtin, reference = (
            run_stored(made, sample, kernels)[0] for kernels in (KernelSet.BUILTIN, KernelSet.REFERENCE)
        )
        np.testing.assert_array_equal(builtin, reference)
        interpreter.set_input(encode(made.graph.inputs[0], sample["x"]), 0)
        interpreter.invoke()
        assert np.abs(interpreter.get_output(0).astype(np.int32) - reference).max() <= 1


@pytest.mark.parametrize(("spec", "case"), CASES)
def test_the_int16_node_computes_what_the_float_node_does(spec: OpSpec, case: Case) -> None:
    """Builtin and reference kernels; the verifier has nothing to say."""
    model, sample = node_model(spec, case)
    made = quantize_int16x8(model, collect_ranges(model, [sample], threads=1))
    assert check_quantized(made) == []
    facts = spec.quant.weights
    weighted = facts is not None and facts.per_axis
    least = WITH_WEIGHTS_DB if weighted or spec.name in INTERPOLATED else WITHOUT_WEIGHTS_DB
    for kernels in (KernelSet.BUILTIN, KernelSet.REFERENCE):
        if kernels is KernelSet.REFERENCE and spec.name in REFERENCE_LACKS | REFERENCE_WRONG:
            continue
        for truth, real in zip(run_float(model, sample), run_int8(made, sample, kernels), strict=True):
            if truth.dtype == np.float32:
                assert sqnr([truth], [real]) > least, kernels
            else:
                np.testing.assert_array_equal(real, truth)


MICRO = [parameter for parameter in CASES if DType.INT16 in parameter.values[0].support.tflm]


@pytest.mark.parametrize(("spec", "case"), MICRO)
def test_the_registry_knows_what_micro_kernels_run_in_int16(spec: OpSpec, case: Case) -> None:
    """Where it says that TFLM has an int16 kernel, that kernel computes the same values."""
    micro = pytest.importorskip("tflite_micro.python.tflite_micro.runtime", reason="tflite-micro is an extra")
    model, sample = node_model(spec, case)
    made = quantize_int16x8(model, collect_ranges(model, [sample], threads=1))
    interpreter = micro.Interpreter.from_bytes(emit(made).to_bytes(), arena_size=1 << 18)
    for index, (port, value) in enumerate(zip(made.inputs, made.graph.inputs, strict=True)):
        stored = encode(value, sample[port.name]) if value.type.quantization else sample[port.name]
        interpreter.set_input(stored, index)
    interpreter.invoke()
    for index, (truth, value) in enumerate(zip(run_float(model, sample), made.graph.outputs, strict=True)):
        assert sqnr([truth], [decode(value, interpreter.get_output(index))]) > WITH_WEIGHTS_DB


@pytest.mark.parametrize("kind", [spec.name for spec in all_ops().values() if spec.quant.int16_reason])
def test_int16_kernels_that_ignore_scales_are_not_used(kind: str) -> None:
    """Comparing or multiplying raw integers of different scales is a wrong answer without an error."""
    spec = all_ops()[kind]
    model, _ = node_model(spec, spec.cases[0])
    (found,) = int16x8_problems(model)
    assert str(found).startswith(f"E0421 node '{kind}' ({kind}): cannot be int16. Its int16 kernel")
    assert "whatever their scales. Allow float islands, use --int8, or replace the layer." in str(found)


def swish() -> Model:
    sketch = Sketch(4)
    x = sketch.build.op("hard_swish", [sketch.conv(sketch.input(1, 6, 6, 3), 4)], name="swish")
    return sketch.model(sketch.conv(x, 3, name="y"))


def test_an_op_without_int16_kernel_is_refused_or_an_island() -> None:
    """HARD_SWISH has no int16 form; where islands are allowed it computes in float between bridges."""
    model = swish()
    ranges = calibrated(model, 100)
    with pytest.raises(CompileError, match=r"E0421 node 'swish' \(hard_swish\): cannot be int16"):
        quantize_int16x8(model, ranges)
    made = quantize_int16x8(model, ranges, allow_float_islands=True)
    assert kinds(made) == ["conv_2d", "dequantize", "hard_swish", "quantize", "conv_2d"]
    assert check_quantized(made, allow_float_islands=True) == []
    assert output_sqnr(model, made, KernelSet.BUILTIN)[0] > WITH_WEIGHTS_DB
    named = quantize_int16x8(model, ranges, float_nodes=["swish"])
    assert emit(named).to_bytes() == emit(made).to_bytes()


def test_float_input_and_output() -> None:
    """Bridges at the border alone: the model's own numbers go in and out."""
    model = network()
    made = quantize_int16x8(model, calibrated(model), input_type=DType.FLOAT32, output_type=DType.FLOAT32)
    assert (kinds(made)[0], kinds(made)[-1]) == ("quantize", "dequantize")
    assert [port.dtype for port in (*made.inputs, *made.outputs)] == [DType.FLOAT32] * 2
    assert check_quantized(made) == []


@pytest.mark.parametrize("dtype", (DType.INT8, DType.UINT8))
def test_the_border_is_int16_or_float(dtype: DType) -> None:
    """A byte would throw away what int16 is for, so nobody gets one by mistake."""
    model = network()
    with pytest.raises(ValueError, match=f"{dtype} inputs or outputs around int16 activations"):
        quantize_int16x8(model, {}, input_type=dtype)


def test_a_bias_far_above_its_weights_stays_exact() -> None:
    """1e4 beside weights of 1e-3 is 1e4 / (s_in * s_w) = 1e13 units: above 2^39, so the scale is widened."""
    sketch = Sketch()
    x = sketch.input(1, 4)
    weights = sketch.build.constant(np.full((1, 4), 1e-3, np.float32))
    bias = sketch.build.constant(np.array([1e4], np.float32))
    model = sketch.model(sketch.build.op("fully_connected", [x, weights, bias], name="y"))
    made = quantize_int16x8(model, {"x": (-1.0, 1.0), "y": (0.0, 2e4)})
    assert check_quantized(made) == []
    stored: Array = made.graph.last.operand(2).constant()
    assert 2**38 < int(stored[0]) <= 2**39
    (found,) = run_stored(made, {"x": np.ones((1, 4), np.float32)}, KernelSet.REFERENCE)
    assert decode(made.graph.outputs[0], found)[0, 0] == pytest.approx(1e4, rel=1e-4)
