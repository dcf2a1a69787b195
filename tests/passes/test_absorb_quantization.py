"""Quantized source models become int8 graphs on their own scales: values within one step of onnxruntime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from edgec.diagnostics import Diagnostic
from edgec.emit import emit
from edgec.ir import Array, DType, Model, Node, Quantization
from edgec.kernels import KernelSet, Runner
from edgec.legalize.profile import find_profile
from edgec.ops.verify_ir import verify_ir
from edgec.passes.absorb_quantization import AbsorbQuantization, is_integer_only
from edgec.passes.contract import Pass
from edgec.passes.quantized_interface import QuantizeInterface
from edgec.passes.restore_output_types import RestoreOutputTypes
from edgec.pipeline import float_pipeline, run_passes
from edgec.quantize import check_quantized
from tests.support.onnx_models import graph_model, import_model, node_model, run_onnxruntime

X = np.random.default_rng(0).normal(0, 1, (1, 4, 8, 8)).astype(np.float32)


def absorbed(proto: onnx.ModelProto, *more: Pass) -> tuple[Model, list[Diagnostic]]:
    """Run the float pipeline with the pass in its place: after the last folding."""
    reports: list[Diagnostic] = []
    passes: list[Pass] = []
    for item in float_pipeline(find_profile("litert_xnnpack"), channels_last_io=False):
        if item.name == "absorb_quantization":
            continue
        if item.name == "share_constants":
            passes += [AbsorbQuantization(reports.append), *more]
        passes.append(item)
    model = run_passes(import_model(proto), passes, verify_each=True)
    verify_ir(model)
    return model, reports


def kinds(model: Model) -> list[str]:
    return [node.kind for node in model.graph]


def the(model: Model, kind: str) -> Node:
    (node,) = [node for node in model.graph if node.kind == kind]
    return node


def with_bridges(
    nodes: Sequence[onnx.NodeProto],
    edges: Mapping[str, tuple[float, int]],
    inputs: Mapping[str, Array],
    outputs: Sequence[str],
    constants: Mapping[str, Array] | None = None,
    dtype: str = "int8",
) -> onnx.ModelProto:
    """Return the nodes with Quantize- and DequantizeLinear on the named edges; readers name `edge/real`."""
    made: list[onnx.NodeProto] = []
    parameters: dict[str, Array] = dict(constants or {})

    def bridge(name: str) -> None:
        scale, point = edges[name]
        parameters[f"{name}/s"] = np.asarray(scale, np.float32)
        parameters[f"{name}/z"] = np.asarray(point, dtype)
        settings = [f"{name}/s", f"{name}/z"]
        made.append(helper.make_node("QuantizeLinear", [name, *settings], [f"{name}/q"]))
        made.append(helper.make_node("DequantizeLinear", [f"{name}/q", *settings], [f"{name}/real"]))

    for name in inputs:
        if name in edges:
            bridge(name)
    for node in nodes:
        made.append(node)
        for name in node.output:
            if name in edges:
                bridge(name)
    return graph_model(made, inputs, outputs, constants=parameters)


def check_within_a_step(
    proto: onnx.ModelProto, model: Model, feeds: Mapping[str, Array], steps: float = 1.0
) -> None:
    """Compare real outputs in the delegate's and the builtin kernels with onnxruntime's, in output steps."""
    expected = run_onnxruntime(proto, feeds)
    for kernels in (KernelSet.XNNPACK, KernelSet.BUILTIN):
        results = Runner(emit(model).to_bytes(), kernels=kernels).run(list(feeds.values()))
        for value, ours, oracle in zip(model.graph.outputs, results, expected, strict=True):
            assert value.producer is not None
            quantization = value.producer.operand(0).type.quantization
            assert quantization is not None
            error = np.abs(ours - oracle).max() / quantization.scale[0]
            assert error <= steps + 1e-4, f"{kernels}: {error} steps"


class Samples(CalibrationDataReader):
    def __init__(self) -> None:
        generator = np.random.default_rng(1)
        self._left = [{"x": generator.random(X.shape, np.float32)} for _ in range(8)]

    def get_next(self) -> dict[str, Array] | None:
        return self._left.pop() if self._left else None


def small_network() -> onnx.ModelProto:
    """Conv, relu, depthwise, residual add, max and average pool, flatten, gemm."""
    generator = np.random.default_rng(2)

    def weights(*shape: int) -> Array:
        return generator.normal(0, 0.4, shape).astype(np.float32)

    nodes = [
        helper.make_node("Conv", ["x", "w0", "b0"], ["c0"], name="c0", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c0"], ["r0"], name="r0"),
        helper.make_node("Conv", ["r0", "w1", "b1"], ["c1"], name="c1", pads=[1, 1, 1, 1], group=8),
        helper.make_node("Add", ["r0", "c1"], ["sum"], name="sum"),
        helper.make_node("MaxPool", ["sum"], ["p"], name="p", kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("GlobalAveragePool", ["p"], ["g"], name="g"),
        helper.make_node("Flatten", ["g"], ["f"], name="f"),
        helper.make_node("Gemm", ["f", "w2", "b2"], ["y"], name="y", transB=1),
    ]
    constants = {
        "w0": weights(8, 4, 3, 3),
        "b0": weights(8),
        "w1": weights(8, 1, 3, 3),
        "b1": weights(8),
        "w2": weights(5, 8),
        "b2": weights(5),
    }
    return graph_model(nodes, {"x": X}, ["y"], constants=constants)


def quantized_network(
    folder: Path, activations: QuantType, weights: QuantType, per_axis: bool
) -> onnx.ModelProto:
    source, made = folder / "float.onnx", folder / "quantized.onnx"
    onnx.save(small_network(), source)
    quantize_static(
        source,
        made,
        Samples(),
        quant_format=QuantFormat.QDQ,
        activation_type=activations,
        weight_type=weights,
        per_channel=per_axis,
    )
    return onnx.load(made)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("per_axis", [False, True])
@pytest.mark.parametrize("activations", [QuantType.QInt8, QuantType.QUInt8])
def test_exported_network_is_integer_only(tmp_path: Path, activations: QuantType, per_axis: bool) -> None:
    """An exporter's QDQ network: no float inside, sound int8, one step from onnxruntime at most."""
    proto = quantized_network(tmp_path, activations, QuantType.QInt8, per_axis)
    model, reports = absorbed(proto)
    assert reports == []
    assert check_quantized(model) == [] and is_integer_only(model.graph)
    assert kinds(model).count("quantize") == kinds(model).count("dequantize") == 1
    for seed in range(4):
        feeds = {"x": np.random.default_rng(seed).random(X.shape, np.float32)}
        check_within_a_step(proto, model, feeds)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_weights_with_a_zero_point_stay_float_and_are_reported(tmp_path: Path) -> None:
    """Kernels take the zero point of weights for 0: such nodes run between bridges, still right."""
    proto = quantized_network(tmp_path, QuantType.QUInt8, QuantType.QUInt8, per_axis=False)
    model, reports = absorbed(proto)
    assert any("its weights have a zero point, which the kernels take for 0" in str(item) for item in reports)
    assert {item.code for item in reports} == {"W0442"} and not is_integer_only(model.graph)
    check_within_a_step(proto, model, {"x": np.random.default_rng(5).random(X.shape, np.float32)})


def conv_model(dtype: str = "int8", points: tuple[int, int] = (3, -128)) -> onnx.ModelProto:
    generator = np.random.default_rng(3)
    constants = {
        "w": generator.integers(-127, 128, (2, 4, 3, 3)).astype(np.int8),
        "w/s": np.array([0.01, 0.02], np.float32),
        "w/z": np.zeros(2, np.int8),
        "b": np.array([500, -700], np.int32),
        "b/s": np.array([0.01, 0.02], np.float32) * np.float32(0.04),
    }
    nodes = [
        helper.make_node("DequantizeLinear", ["w", "w/s", "w/z"], ["w/real"], axis=0),
        helper.make_node("DequantizeLinear", ["b", "b/s"], ["b/real"], axis=0),
        helper.make_node("Conv", ["x/real", "w/real", "b/real"], ["c"]),
        helper.make_node("Relu", ["c"], ["y"]),
    ]
    edges = {"x": (0.04, points[0]), "y": (0.07, points[1])}
    return with_bridges(nodes, edges, {"x": X}, ["y/real"], constants, dtype)


@pytest.mark.parametrize(("dtype", "points"), [("int8", (3, -128)), ("uint8", (131, 0))])
def test_parameters_are_the_models_own(dtype: str, points: tuple[int, int]) -> None:
    """Scales, zero points, weights and bias integers arrive unchanged; uint8 is int8 shifted by 128."""
    model, reports = absorbed(conv_model(dtype, points))
    conv = the(model, "conv_2d")
    assert reports == []
    assert conv.operand(0).type.quantization == Quantization.per_tensor(0.04, 3)
    assert conv.result.type.quantization == Quantization.per_tensor(0.07, -128)
    scales = tuple(float(np.float32(scale)) for scale in (0.01, 0.02))
    assert conv.operand(1).type.quantization == Quantization(scales, (0, 0), 0)
    w = np.random.default_rng(3).integers(-127, 128, (2, 4, 3, 3))
    np.testing.assert_array_equal(conv.operand(1).constant(), w.transpose(0, 2, 3, 1))
    np.testing.assert_array_equal(conv.operand(2).constant(), [500, -700])
    assert kinds(model).count("relu") == 0  # fused: the kernel clamps at the zero point
    check_within_a_step(conv_model(dtype, points), model, {"x": X})


def test_gemm_behind_flatten_keeps_its_grid_when_columns_move() -> None:
    """The weights' columns follow the channels-last data; their scale is still the model's."""
    generator = np.random.default_rng(4)
    constants = {
        "w": generator.integers(-127, 128, (16, 5)).astype(np.int8),
        "w/s": np.linspace(0.01, 0.02, 5).astype(np.float32),
        "k": np.asarray([1, 16], np.int64),
    }
    nodes = [
        helper.make_node("MaxPool", ["x/real"], ["p"], kernel_shape=[4, 4], strides=[4, 4]),
        helper.make_node("Reshape", ["p", "k"], ["f"]),
        helper.make_node("DequantizeLinear", ["w", "w/s"], ["w/real"], axis=1),
        helper.make_node("Gemm", ["f", "w/real"], ["y"]),
    ]
    proto = with_bridges(nodes, {"x": (0.04, 3), "y": (0.2, 5)}, {"x": X}, ["y/real"], constants)
    model, reports = absorbed(proto)
    assert reports == [] and check_quantized(model) == []
    quantization = the(model, "fully_connected").operand(1).type.quantization
    assert quantization is not None and quantization.scale == tuple(map(float, constants["w/s"]))
    check_within_a_step(proto, model, {"x": X})


@pytest.mark.parametrize(
    ("op", "output", "settings"),
    [
        ("Sigmoid", (1 / 256, -128), {}),
        ("Sigmoid", (0.0038, -126), {}),
        ("Tanh", (0.008, 1), {}),
        ("LeakyRelu", (0.03, -100), {"alpha": 0.1}),
        ("HardSwish", (0.03, -110), {}),
        ("AveragePool", (0.02, -5), {"kernel_shape": [2, 2], "strides": [2, 2]}),
        ("GlobalAveragePool", (0.005, -5), {}),
    ],
)
def test_one_node_between_bridges(op: str, output: tuple[float, int], settings: Mapping[str, Any]) -> None:
    """Kernels with free, prescribed or shared parameters: the output is on the model's grid, one step off."""
    node = helper.make_node(op, ["x/real"], ["y"], **settings)
    proto = with_bridges([node], {"x": (0.03, 3), "y": output}, {"x": X}, ["y/real"])
    model, reports = absorbed(proto)
    assert reports == [] and check_quantized(model) == []
    bridge = model.graph.outputs[0].producer
    assert bridge is not None
    assert bridge.operand(0).type.quantization == Quantization.per_tensor(*output)
    check_within_a_step(proto, model, {"x": X})


def test_a_much_finer_grid_than_the_kernels_stays_float() -> None:
    """logistic writes steps of 1/256; steps of 1/1000 would be lost."""
    node = helper.make_node("Sigmoid", ["x/real"], ["y"])
    proto = with_bridges([node], {"x": (0.03, 3), "y": (0.001, -128)}, {"x": X}, ["y/real"])
    model, reports = absorbed(proto)
    (report,) = reports
    assert "the kernel's result has scale 0.00391, coarser than the model's 0.001" in str(report)
    assert the(model, "logistic").result.dtype is DType.FLOAT32
    check_within_a_step(proto, model, {"x": X})


def test_concatenation_requantizes_what_differs() -> None:
    """Its kernel copies integers, so both operands come on the result's grid."""
    node = helper.make_node("Concat", ["x/real", "z/real"], ["y"], axis=1)
    edges = {"x": (0.03, 3), "z": (0.05, -7), "y": (0.05, -7)}
    feeds = {"x": X, "z": X[:, ::-1] * np.float32(1.5)}
    proto = with_bridges([node], edges, feeds, ["y/real"])
    model, reports = absorbed(proto)
    join = the(model, "concatenation")
    assert reports == [] and check_quantized(model) == []
    assert {value.type.quantization for value in (*join.operands, join.result) if value} == {
        Quantization.per_tensor(0.05, -7)
    }
    check_within_a_step(proto, model, feeds)


def test_data_movement_without_bridges_is_integer() -> None:
    """Exporters leave transposes and reshapes between bridges of their neighbours; they move integers."""
    nodes = [
        helper.make_node("Transpose", ["x/real"], ["t"], perm=[0, 3, 1, 2]),
        helper.make_node("Slice", ["t", "from", "to"], ["s"]),
        helper.make_node("Relu", ["s"], ["y"]),
    ]
    constants = {"from": np.array([0, 1, 0, 0]), "to": np.array([1, 5, 4, 8])}
    proto = with_bridges(nodes, {"x": (0.03, 3), "y": (0.02, -128)}, {"x": X}, ["y/real"], constants)
    model, reports = absorbed(proto)
    assert reports == [] and check_quantized(model) == []
    check_within_a_step(proto, model, {"x": X})


def test_padding_before_a_max_pool_saturates_below_every_value() -> None:
    """-inf has no int8; the lowest integer loses against every real cell just as well."""
    node = helper.make_node(
        "MaxPool", ["x/real"], ["y"], kernel_shape=[3, 3], pads=[1, 0, 0, 1], strides=[2, 2]
    )
    proto = with_bridges([node], {"x": (0.03, 3), "y": (0.03, 3)}, {"x": X}, ["y/real"])
    model, reports = absorbed(proto)
    assert reports == [] and check_quantized(model) == []
    check_within_a_step(proto, model, {"x": X}, steps=0)


def test_a_value_read_in_float_too_is_not_made_int8() -> None:
    """The float output would lose its digits."""
    nodes = [helper.make_node("Mul", ["x/real", "x/real"], ["y"])]
    proto = with_bridges(nodes, {"x": (0.03, 3), "y": (0.1, -128)}, {"x": X}, ["y", "y/real"])
    model, (report,) = absorbed(proto)
    assert "stays float in a quantized model: its result is not quantized, or in several ways" in str(report)
    assert the(model, "mul").result.dtype is DType.FLOAT32


def test_a_float_model_is_left_alone() -> None:
    proto = node_model("Relu", {"x": X})
    model = import_model(proto)
    result = AbsorbQuantization().run(model)
    assert not result.modified and kinds(result.model) == ["relu"]


def test_qlinear_operators_in_a_row_are_int8() -> None:
    """No bridge between them: the integers of one are those of the next."""
    generator = np.random.default_rng(6)
    constants: dict[str, Array] = {
        "w": generator.integers(-127, 128, (4, 4, 1, 1)).astype(np.int8),
        "ws": np.asarray(0.01, np.float32),
        "wz": np.asarray(0, np.int8),
        "s": np.asarray(0.03, np.float32),
        "z": np.asarray(130, np.uint8),
        # Small, so that a step of difference in the convolution does not grow in the product.
        "v": generator.integers(-12, 13, (8, 3)).astype(np.int8),
    }
    conv = ["q", "s", "z", "w", "ws", "wz", "s", "z"]
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("QLinearConv", conv, ["c"]),
        helper.make_node("QLinearMatMul", ["c", "s", "z", "v", "ws", "wz", "s", "z"], ["m"]),
        helper.make_node("DequantizeLinear", ["m", "s", "z"], ["y"]),
    ]
    proto = graph_model(nodes, {"x": X}, ["y"], constants=constants)
    model, reports = absorbed(proto)
    assert reports == [] and check_quantized(model) == []
    assert kinds(model).count("quantize") == kinds(model).count("dequantize") == 1
    check_within_a_step(proto, model, {"x": X})


@pytest.mark.parametrize(("dtype", "point"), [("int8", 3), ("uint8", 130)])
def test_integer_inputs_and_outputs_stay(dtype: str, point: int) -> None:
    """Integers of the source stay what they are, also where transposes move them before a bridge is met."""
    generator = np.random.default_rng(7)
    constants: dict[str, Array] = {
        "w": generator.integers(-127, 128, (4, 4, 1, 1)).astype(np.int8),
        "ws": np.asarray(0.005, np.float32),
        "wz": np.asarray(0, np.int8),
        "s": np.asarray(0.03, np.float32),
        "z": np.asarray(point, dtype),
    }
    limits = np.iinfo(dtype)
    x = generator.integers(limits.min, limits.max + 1, X.shape).astype(dtype)
    node = helper.make_node("QLinearConv", ["x", "s", "z", "w", "ws", "wz", "s", "z"], ["y"])
    proto = graph_model([node], {"x": x}, ["y"], constants=constants)
    model, reports = absorbed(proto)
    assert reports == [] and check_quantized(model) == []
    (expected,) = run_onnxruntime(proto, {"x": x})
    for kernels in (KernelSet.XNNPACK, KernelSet.BUILTIN):
        (ours,) = Runner(emit(model).to_bytes(), kernels=kernels).run([x])
        assert ours.dtype == expected.dtype
        assert np.abs(ours.astype(int) - expected.astype(int)).max() <= 1


@pytest.mark.parametrize("dtype", [DType.INT8, DType.UINT8])
def test_interface_becomes_integer(dtype: DType) -> None:
    """Inputs and outputs take the model's own parameters (uint8: shifted by 128) and keep their names."""
    model, _ = absorbed(conv_model(), QuantizeInterface(dtype, dtype))
    assert [port.dtype for port in (*model.inputs, *model.outputs)] == [dtype, dtype]
    shift = 128 if dtype is DType.UINT8 else 0
    (x,), (y,) = model.graph.inputs, model.graph.outputs
    assert x.type.quantization == Quantization.per_tensor(0.04, 3 + shift)
    assert y.type.quantization == Quantization.per_tensor(0.07, -128 + shift)
    assert (x.name, y.name) == ("x", "y/real")
    assert check_quantized(model) == [] and "dequantize" not in kinds(model)
    limits = np.iinfo(dtype.value)
    q = np.clip(np.rint(X / np.float32(0.04)) + 3 + shift, limits.min, limits.max).astype(dtype.numpy)
    (ours,) = Runner(emit(model).to_bytes()).run([q])
    real = (ours.astype(np.float32) + 128 - shift) * np.float32(0.07)
    (expected,) = run_onnxruntime(conv_model(), {"x": X})
    assert np.abs(real - expected).max() <= 0.07 * 1.0001


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_output_types_are_restored(dtype: str) -> None:
    """A float16 model computes in float32 and still returns float16."""
    proto = node_model("Relu", {"x": X.astype(dtype)})
    model = import_model(proto)
    model = RestoreOutputTypes({"y0": DType(dtype)}).run(model).model
    verify_ir(model)
    assert model.outputs[0].dtype is DType(dtype)
    (ours,) = Runner(emit(model).to_bytes()).run([X.astype(dtype).astype(np.float32)])
    assert ours.dtype == dtype
    np.testing.assert_array_equal(ours, np.maximum(X.astype(dtype), 0))


def test_other_output_types_stay() -> None:
    model = import_model(node_model("Relu", {"x": X}))
    assert not RestoreOutputTypes({"y0": DType.FLOAT32}).run(model).modified
