"""Operators of quantized models, alone: onnxruntime's integers, for constant and run-time parameters."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import helper

from edgec.diagnostics import CompileError
from edgec.emit import emit
from edgec.ir import Array, DType, Model, Quantization
from edgec.kernels import KernelSet, Runner
from edgec.passes.absorb_quantization import AbsorbQuantization
from tests.support.onnx_models import import_model, node_model, run_onnxruntime

TIES = np.array([-3.5, -2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 3.5, 400.0, -400.0], np.float32)


def integers(generator: np.random.Generator, dtype: str, shape: tuple[int, ...]) -> Array:
    limits = np.iinfo(dtype)
    return generator.integers(limits.min, limits.max + 1, shape).astype(dtype)


def settled(model: Model) -> Model:
    """Bridges get the form kernels take in the pass; everything else is done by the lowering."""
    return AbsorbQuantization().run(model).model


def check_exactly(op: str, operands: Mapping[str, Array], runtime: int, **settings: object) -> Model:
    """Assert equal results in both kernel sets, the first `runtime` operands fed and the others constant."""
    names = list(operands)
    fed = {name: np.asarray(operands[name]) for name in names[:runtime]}
    constants = {name: operands[name] for name in names[runtime:]}
    proto = node_model(op, fed, constants=constants, order=names, **settings)  # pyright: ignore[reportArgumentType]
    model = settled(import_model(proto))
    for kernels in (KernelSet.XNNPACK, KernelSet.BUILTIN):
        results = Runner(emit(model).to_bytes(), kernels=kernels).run(list(fed.values()))
        for ours, oracle in zip(results, run_onnxruntime(proto, fed), strict=True):
            assert ours.dtype == oracle.dtype
            # Integers are equal. A kernel may compute q * s - z * s, three roundings in place of one.
            steps = 2.0**-22 * np.abs(oracle).max() if oracle.dtype.kind == "f" else 0
            np.testing.assert_allclose(ours, oracle, rtol=0, atol=steps)
    return model


@pytest.mark.parametrize("runtime", [1, 3])
@pytest.mark.parametrize(("dtype", "point"), [("int8", -3), ("uint8", 7), ("int16", 11), ("uint16", 300)])
def test_quantize_rounds_half_to_even_and_saturates(dtype: str, point: int, runtime: int) -> None:
    """Ties go to the even integer, before the zero point is added; what lies outside saturates."""
    operands = {"x": TIES * np.float32(0.3), "s": np.float32(0.3), "z": np.asarray(point, dtype)}
    check_exactly("QuantizeLinear", operands, runtime, opset=21)


@pytest.mark.parametrize("runtime", [1, 3])
def test_quantize_per_axis(runtime: int) -> None:
    """Each slice along `axis` has its own scale and zero point."""
    x = np.random.default_rng(0).normal(0, 50, (2, 3, 4)).astype(np.float32)
    operands = {"x": x, "s": np.array([0.5, 1.25, 2.0], np.float32), "z": np.array([0, 5, 250], np.uint8)}
    check_exactly("QuantizeLinear", operands, runtime, axis=-2)


def test_quantize_by_blocks_that_do_not_divide_the_axis() -> None:
    """Blocks of 2 along an axis of 5: the last block has one element."""
    x = np.random.default_rng(1).normal(0, 50, (3, 5)).astype(np.float32)
    scale = np.random.default_rng(2).uniform(0.5, 2, (3, 3)).astype(np.float32)
    points = np.arange(9, dtype=np.int8).reshape(3, 3)
    check_exactly("QuantizeLinear", {"x": x, "s": scale, "z": points}, 1, opset=21, axis=1, block_size=2)


def test_quantize_without_zero_point_makes_the_type_asked_for() -> None:
    """uint8 by default, `output_dtype` where it is set."""
    check_exactly("QuantizeLinear", {"x": TIES, "s": np.float32(0.5)}, 1, opset=17)
    check_exactly("QuantizeLinear", {"x": TIES, "s": np.float32(0.5)}, 1, opset=21, output_dtype=3)


@pytest.mark.parametrize("runtime", [1, 3])
@pytest.mark.parametrize(("dtype", "point"), [("int8", -3), ("uint8", 7), ("int16", 11), ("uint16", 300)])
def test_dequantize(dtype: str, point: int, runtime: int) -> None:
    """(q - zero_point) * scale within float32 rounding."""
    x = integers(np.random.default_rng(3), dtype, (4, 9))
    operands = {"x": x, "s": np.float32(0.0173), "z": np.asarray(point, dtype)}
    check_exactly("DequantizeLinear", operands, runtime, opset=21)


def test_dequantize_int32_without_zero_point() -> None:
    """Sums above 2^24 are rounded to float32 once, as onnxruntime does."""
    x = np.array([0, 1, -5, 2**24 + 1, 2**31 - 1, -(2**31)], np.int32)
    check_exactly("DequantizeLinear", {"x": x, "s": np.float32(0.01)}, 1)


def test_dequantize_per_axis_and_by_blocks() -> None:
    """Scales of one axis, and of blocks along it."""
    x = integers(np.random.default_rng(4), "int8", (2, 4, 3))
    scale, points = np.array([0.5, 1.5, 2.5, 3.5], np.float32), np.array([1, -2, 3, -4], np.int8)
    check_exactly("DequantizeLinear", {"x": x, "s": scale, "z": points}, 1, axis=1)
    blocks = np.random.default_rng(5).uniform(0.5, 2, (2, 2, 3)).astype(np.float32)
    check_exactly("DequantizeLinear", {"x": x, "s": blocks}, 1, opset=21, axis=1, block_size=2)


def test_dequantized_constant_keeps_its_grid() -> None:
    """Weights become real at import and remember their integers; uint8 is shifted to int8."""
    w = np.array([[0, 128, 255], [1, 2, 3]], np.uint8)
    constants = {"w": w, "s": np.array([0.5, 0.25], np.float32), "z": np.array([128, 128], np.uint8)}
    proto = node_model("DequantizeLinear", {}, constants=constants, axis=0)
    (value,) = import_model(proto).graph.outputs
    assert value.type.quantization == Quantization((0.5, 0.25), (0, 0), 0)
    expected = (w.astype(np.float32) - 128) * np.array([[0.5], [0.25]], np.float32)
    np.testing.assert_array_equal(value.constant(), expected)


@pytest.mark.parametrize("x", [[0, 2, -3, -2.5, 1.34, 0.5], [-1, -2.1, -1.3], [1, 2.1, 3.4], [0, 0]])
def test_dynamic_quantize(x: list[float]) -> None:
    """The range always includes 0; all zeros get scale 1, by which onnxruntime divides too."""
    check_exactly("DynamicQuantizeLinear", {"x": np.array(x, np.float32)}, 1, outputs=3)


@pytest.mark.parametrize("runtime", [1, 4])
def test_matmul_integer(runtime: int) -> None:
    """Sums of uint8 times int8 with zero points, exact in int32."""
    generator = np.random.default_rng(6)
    operands = {
        "a": integers(generator, "uint8", (3, 40)),
        "b": integers(generator, "int8", (40, 5)),
        "a0": np.asarray(131, np.uint8),
        "b0": np.asarray(3, np.int8),
    }
    check_exactly("MatMulInteger", operands, runtime)


@pytest.mark.parametrize("runtime", [1, 2])
def test_matmul_integer_beyond_exact_float_sums(runtime: int) -> None:
    """1200 products of 255 * 127 reach 3.9e7, above 2^24: they are summed in runs that stay below."""
    a = np.full((2, 1200), 255, np.uint8)
    b = np.full((1200, 3), 127, np.int8)
    b[1, 1] = 126  # the true sum is odd, which no float32 above 2^24 can be
    model = check_exactly("MatMulInteger", {"a": a, "b": b}, runtime)
    assert sum(node.kind in ("fully_connected", "batch_matmul") for node in model.graph) > 1


@pytest.mark.parametrize("runtime", [1, 4])
def test_conv_integer_pads_with_the_zero_point(runtime: int) -> None:
    """A padded cell is a real 0, so it adds nothing."""
    generator = np.random.default_rng(7)
    operands = {
        "x": integers(generator, "uint8", (1, 4, 6, 6)),
        "w": integers(generator, "uint8", (3, 4, 3, 3)),
        "x0": np.asarray(120, np.uint8),
        "w0": np.asarray(119, np.uint8),
    }
    check_exactly("ConvInteger", operands, runtime, pads=[1, 1, 1, 1], strides=[2, 2])


def test_conv_integer_over_many_channels() -> None:
    """64 channels of 3x3 taps: runs of channels, each exact."""
    generator = np.random.default_rng(8)
    operands = {
        "x": integers(generator, "uint8", (1, 64, 4, 4)),
        "w": integers(generator, "uint8", (2, 64, 3, 3)),
    }
    check_exactly("ConvInteger", operands, 2)


def test_conv_integer_refuses_a_window_that_no_float_sums_exactly() -> None:
    """17 x 17 products of 8-bit integers can pass 2^24 in one channel."""
    operands = {"x": np.zeros((1, 1, 20, 20), np.uint8), "w": np.zeros((1, 1, 17, 17), np.uint8)}
    with pytest.raises(CompileError, match="sums 289 products of 8-bit integers at once"):
        import_model(node_model("ConvInteger", operands))


def qlinear_conv(generator: np.random.Generator) -> dict[str, Array]:
    return {
        "x": integers(generator, "uint8", (1, 4, 6, 6)),
        "xs": np.asarray(0.02, np.float32),
        "xz": np.asarray(128, np.uint8),
        "w": integers(generator, "uint8", (6, 4, 3, 3)),
        "ws": np.asarray(0.01, np.float32),
        "wz": np.asarray(100, np.uint8),
        "ys": np.asarray(0.1, np.float32),
        "yz": np.asarray(120, np.uint8),
        "b": generator.integers(-9000, 9000, 6).astype(np.int32),
    }


@pytest.mark.parametrize("runtime", [1, 9])
def test_qlinear_conv_with_a_weight_zero_point(runtime: int) -> None:
    """int8 kernels take the zero point of weights for 0, so this one is computed exactly in float32."""
    model = check_exactly("QLinearConv", qlinear_conv(np.random.default_rng(9)), runtime, pads=[1, 1, 1, 1])
    assert all(v.type.quantization is None for node in model.graph for v in node.results)


def test_qlinear_conv_with_symmetric_weights_is_a_native_node() -> None:
    """Per-axis uint8 weights around 128 are int8 around 0; the kernel rounds within one step."""
    operands = qlinear_conv(np.random.default_rng(10))
    operands["ws"] = np.linspace(0.005, 0.02, 6).astype(np.float32)
    operands["wz"] = np.full(6, 128, np.uint8)
    x = operands.pop("x")
    proto = node_model("QLinearConv", {"x": x}, constants=operands, order=["x", *operands])
    model = settled(import_model(proto))
    (conv,) = [node for node in model.graph if node.kind == "conv_2d"]
    assert conv.operand(1).type.quantization == Quantization(tuple(map(float, operands["ws"])), (0,) * 6, 0)
    assert conv.result.type.quantization == Quantization.per_tensor(0.1, 120 - 128)
    np.testing.assert_array_equal(conv.operand(2).constant(), operands["b"])
    ours = Runner(emit(model).to_bytes()).run([x])[0].astype(int)
    oracle: NDArray[np.int_] = run_onnxruntime(proto, {"x": x})[0].astype(int)
    assert ours.shape == oracle.shape and np.abs(ours - oracle).max() <= 1


@pytest.mark.parametrize("runtime", [1, 8])
@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_qlinear_matmul(dtype: str, runtime: int) -> None:
    """Batches, a zero point in the right operand: onnxruntime's float requantization, exactly."""
    generator = np.random.default_rng(11)
    operands = {
        "a": integers(generator, dtype, (2, 3, 8)),
        "as": np.asarray(0.0066, np.float32),
        "az": np.asarray(113, dtype),
        "b": integers(generator, dtype, (2, 8, 5)),
        "bs": np.asarray(0.00705, np.float32),
        "bz": np.asarray(14, dtype),
        "ys": np.asarray(0.0107, np.float32),
        "yz": np.asarray(18, dtype),
    }
    check_exactly("QLinearMatMul", operands, runtime, opset=21)


def test_an_axis_out_of_range_is_refused() -> None:
    operands = {"x": np.zeros((2, 3), np.float32), "s": np.ones(3, np.float32)}
    with pytest.raises(CompileError, match=r"axis 4 is out of range for \[2, 3\]"):
        import_model(node_model("QuantizeLinear", operands, axis=4))


def test_integer_type_follows_the_zero_point() -> None:
    """The output port has the source's own type."""
    operands = {"x": TIES, "s": np.float32(1), "z": np.asarray(0, np.int8)}
    model = import_model(node_model("QuantizeLinear", {"x": operands.pop("x")}, constants=operands))
    assert model.outputs[0].dtype is DType.INT8


def packed(dtype: int, values: Array) -> onnx.TensorProto:
    return helper.make_tensor("packed", dtype, values.shape, values.reshape(-1))


def test_int4_weights_become_real_on_a_grid_of_bytes() -> None:
    """int4 has no kernel of its own here: the integers are kept, each in a byte."""
    w = np.array([[-8, 7, 0], [1, -1, 3]], np.int8)
    proto = node_model(
        "DequantizeLinear", {}, constants={"s": np.float32(0.5)}, order=["packed", "s"], opset=21
    )
    proto.graph.initializer.append(packed(onnx.TensorProto.INT4, w))
    (value,) = import_model(proto).graph.outputs
    np.testing.assert_array_equal(value.constant(), w * np.float32(0.5))
    assert value.type.quantization == Quantization((0.5,), (0,), 0)


def test_quantizing_to_int4_is_refused() -> None:
    """Its range is narrower than that of the byte which would hold it."""
    order = ["x", "s", "packed"]
    proto = node_model("QuantizeLinear", {"x": TIES}, constants={"s": np.float32(1)}, order=order, opset=21)
    proto.graph.initializer.append(packed(onnx.TensorProto.INT4, np.asarray(1, np.int8)))
    with pytest.raises(CompileError, match=r"quantizes to int4\. Kernels have no such element type"):
        import_model(proto)
