"""Dimensions left to the run time: one file follows the shapes it is fed, or says why it cannot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import helper, numpy_helper

import edgec
from edgec.cli import main
from edgec.diagnostics import CompileError
from edgec.ir import Array
from edgec.kernels import KernelSet, Runner
from tests.support.onnx_models import run_onnxruntime

node = helper.make_node
RANDOM = np.random.default_rng(5)


def weights(**shapes: tuple[int, ...]) -> list[onnx.TensorProto]:
    return [
        numpy_helper.from_array((RANDOM.standard_normal(shape) / 3).astype(np.float32), name)
        for name, shape in shapes.items()
    ]


def model(
    nodes: Sequence[onnx.NodeProto],
    dims: Sequence[int | str],
    constants: Sequence[onnx.TensorProto] = (),
    outputs: Sequence[str] = ("y",),
) -> onnx.ModelProto:
    """Return a model of one float input with symbolic dimensions."""
    graph = helper.make_graph(
        list(nodes),
        "main",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, dims)],
        [onnx.ValueInfoProto(name=name) for name in outputs],
        list(constants),
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    proto.ir_version = 10
    return proto


def follows(
    proto: onnx.ModelProto, dims: Sequence[int | str], *shapes: tuple[int, ...], io_layout: str = "source"
) -> edgec.Compiled:
    """Compile with verification on, then compare with onnxruntime for every shape, in any order."""
    compiled = edgec.compile(
        proto.SerializeToString(), dynamic_shapes={"x": dims}, io_layout=io_layout, verify_each=True
    )
    assert compiled.report.verification is not None
    assert compiled.report.verification.passed
    for kernels in (KernelSet.XNNPACK, KernelSet.BUILTIN):
        runner = Runner(compiled.tflite, kernels=kernels)
        for shape in [*shapes, *shapes[::-1]]:
            x = np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)
            compare(runner.run([x]), proto, {"x": x})
    return compiled


def compare(ours: Sequence[Array], proto: onnx.ModelProto, feeds: Mapping[str, Array]) -> None:
    for got, oracle in zip(ours, run_onnxruntime(proto, feeds), strict=True):
        assert got.shape == oracle.shape
        np.testing.assert_allclose(got, oracle, rtol=1e-4, atol=1e-5)


CNN = [
    node("Conv", ["x", "w", "b"], ["c"], pads=[1, 1, 1, 1], strides=[2, 2]),
    node("Relu", ["c"], ["r"]),
    node("MaxPool", ["r"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
    node("GlobalAveragePool", ["p"], ["g"]),
    node("Flatten", ["g"], ["f"]),
    node("Gemm", ["f", "v"], ["h"], transB=1),
    node("Softmax", ["h"], ["y"]),
]
CNN_WEIGHTS = weights(w=(4, 3, 3, 3), b=(4,), v=(5, 4))


def test_batch_of_a_classifier() -> None:
    """The batch stays open through every layer, and the report says so."""
    compiled = follows(
        model(CNN, ["N", 3, 16, 16], CNN_WEIGHTS), ["N", 3, 16, 16], (1, 3, 16, 16), (5, 3, 16, 16)
    )
    assert compiled.report.inputs[0].shape == (-1, 3, 16, 16)
    assert compiled.report.outputs[0].shape == (-1, 5)
    assert compiled.report.macs is None
    assert compiled.report.arena_bytes is None


def test_height_and_width_of_a_convolutional_network() -> None:
    """Explicit pads round down as ONNX does, for odd and even sizes."""
    shapes = [(1, 3, 16, 16), (2, 3, 21, 34), (1, 3, 17, 19)]
    follows(model(CNN, ["N", 3, "H", "W"], CNN_WEIGHTS), ["N", 3, "?", "?"], *shapes)


def test_names_and_question_marks_stay_open_numbers_pin() -> None:
    """What is a number in the option is a number in the file."""
    compiled = follows(
        model(CNN, ["N", 3, "H", "W"], CNN_WEIGHTS), [2, 3, "H", 20], (2, 3, 16, 20), (2, 3, 9, 20)
    )
    assert compiled.report.inputs[0].shape == (2, 3, -1, 20)


@pytest.mark.parametrize("strides", [[1, 1], [2, 2]])
def test_same_upper_of_unknown_size(strides: list[int]) -> None:
    """TFLite's SAME is SAME_UPPER, for every size."""
    nodes = [
        node("Conv", ["x", "w"], ["c"], auto_pad="SAME_UPPER", strides=strides),
        node("MaxPool", ["c"], ["y"], kernel_shape=[3, 3], auto_pad="SAME_UPPER", strides=strides),
    ]
    proto = model(nodes, [1, 3, "H", "W"], weights(w=(4, 3, 3, 3)))
    follows(proto, [1, 3, "H", "W"], (1, 3, 8, 9), (1, 3, 11, 6))


def test_attention_over_a_sequence_of_any_length() -> None:
    """Exporters compute shapes: Shape, Gather, Concat, Reshape; what is known of them stays known."""
    nodes = [
        node("MatMul", ["x", "q"], ["h"]),
        node("Shape", ["h"], ["s"]),
        node("Gather", ["s", "zero"], ["n"]),
        node("Gather", ["s", "one"], ["t"]),
        node("Gather", ["s", "two"], ["d"]),
        node("Unsqueeze", ["n", "axis"], ["n1"]),
        node("Unsqueeze", ["t", "axis"], ["t1"]),
        node("Unsqueeze", ["d", "axis"], ["d1"]),
        node("Concat", ["n1", "t1", "heads", "minus"], ["split"], axis=0),
        node("Reshape", ["h", "split"], ["a"]),
        node("Transpose", ["a"], ["b"], perm=[0, 2, 1, 3]),
        node("Transpose", ["a"], ["c"], perm=[0, 2, 3, 1]),
        node("MatMul", ["b", "c"], ["e"]),
        node("Softmax", ["e"], ["p"]),
        node("MatMul", ["p", "b"], ["o"]),
        node("Transpose", ["o"], ["u"], perm=[0, 2, 1, 3]),
        node("Concat", ["n1", "t1", "d1"], ["join"], axis=0),
        node("Reshape", ["u", "join"], ["y"]),
    ]
    numbers = {"zero": 0, "one": 1, "two": 2, "axis": [0], "heads": [2], "minus": [-1]}
    constants = [numpy_helper.from_array(np.array(v, np.int64), k) for k, v in numbers.items()]
    proto = model(nodes, ["N", "T", 8], [*constants, *weights(q=(8, 8))])
    compiled = follows(proto, ["N", "T", 8], (1, 5, 8), (3, 7, 8))
    assert compiled.report.outputs[0].shape == (-1, -1, 8)


@pytest.mark.parametrize("mode", ["constant", "edge", "reflect"])
def test_pads_slices_and_resizes_of_unknown_size(mode: str) -> None:
    """Bounds count from both ends, whatever the size is."""
    nodes = [
        node("Pad", ["x", "pads"], ["p"], mode=mode),
        node("Slice", ["p", "from", "to", "axes", "steps"], ["s"]),
        node("Resize", ["s", "", "scales"], ["y"], mode="nearest", nearest_mode="floor"),
    ]
    vectors = {
        "pads": [0, 0, 1, 2, 0, 0, 0, 1],
        "from": [1, -2],
        "to": [-1, -99],
        "axes": [2, 3],
        "steps": [2, -1],
    }
    constants = [numpy_helper.from_array(np.array(v, np.int64), k) for k, v in vectors.items()]
    constants.append(numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), "scales"))
    proto = model(nodes, [1, 2, "H", "W"], constants)
    follows(proto, [1, 2, "H", "W"], (1, 2, 6, 8), (1, 2, 9, 5))


def test_channels_last_inputs_keep_their_open_dimensions() -> None:
    """The layout pass permutes what is open like what is known."""
    compiled = edgec.compile(
        model(CNN, ["N", 3, "H", "W"], CNN_WEIGHTS).SerializeToString(),
        dynamic_shapes={"": ["N", 3, "H", "W"]},
    )
    assert compiled.report.inputs[0].shape == (-1, -1, -1, 3)
    assert compiled.report.verification is not None
    assert compiled.report.verification.passed


def refusal(**choices: object) -> str:
    proto = model(CNN, ["N", 3, 16, 16], CNN_WEIGHTS)
    with pytest.raises(CompileError) as refused:
        edgec.compile(proto.SerializeToString(), **choices)
    return str(refused.value)


def test_choices_that_contradict_each_other() -> None:
    """Each is named before any work is done."""
    shapes = {"x": ["N", 3, 16, 16]}
    assert "has an input shape, too" in refusal(dynamic_shapes=shapes, input_shapes={"x": [1, 3, 16, 16]})
    assert "int8 needs fixed shapes" in refusal(dynamic_shapes=shapes, precision="int8", calibration="random")
    assert "cannot become [N,4,16,16]" in refusal(dynamic_shapes={"x": ["N", 4, 16, 16]})
    assert "has no input 'z'" in refusal(dynamic_shapes={"z": ["N"]})


def test_microcontrollers_refuse_open_dimensions() -> None:
    """TFLM plans its arena once; the message names the rule."""
    text = refusal(dynamic_shapes={"x": ["N", 3, 16, 16]}, target="cortex-m7")
    assert "TFLM plans the tensor arena once, so every dimension must be known at compile time" in text


def test_command_line(tmp_path: object) -> None:
    """`--dynamic-shape` pins numbers and leaves the rest open."""
    from pathlib import Path

    folder = Path(str(tmp_path))
    path, out = folder / "m.onnx", folder / "m.tflite"
    onnx.save(model(CNN, ["N", 3, "H", "W"], CNN_WEIGHTS), path)
    arguments = ["compile", str(path), "-o", str(out), "--io-layout", "source"]
    result = CliRunner().invoke(main, [*arguments, "--dynamic-shape", "x=N,3,?,24"])
    assert result.exit_code == 0, result.output
    (y,) = Runner(str(out)).run([np.zeros((4, 3, 10, 24), np.float32)])
    assert y.shape == (4, 5)
    bad = CliRunner().invoke(main, [*arguments, "--dynamic-shape", "x=N,,3"])
    assert bad.exit_code == 2
    assert "is not of the form NAME=batch,3,224,224" in bad.output
