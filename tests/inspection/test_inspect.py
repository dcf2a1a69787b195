"""`inspect_model`: the facts are right, and trouble on the way becomes a message beside them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgec.compile import compile
from edgec.diagnostics import CompileError, Diagnostics, Severity
from edgec.frontends.outline import SourceTensor
from edgec.frontends.source import import_source, load_source
from edgec.inspection import Inspection, inspect_model
from edgec.inspection.drawing import draw
from edgec.inspection.outlines import outline_ir
from edgec.targets import list_targets, load_target
from tests.support.onnx_models import graph_model
from tests.support.tflite_files import FileBuilder, quantization, table

CORPUS = Path(__file__).resolve().parents[3] / "shared" / "corpus"
SAMPLE = Path(__file__).resolve().parents[2] / "samples" / "digits_cnn.onnx"


@pytest.fixture(scope="module")
def digits() -> Inspection:
    return inspect_model(SAMPLE)


def model_of(*nodes: onnx.NodeProto, shape: tuple[int | str, ...] = (1, 3, 8, 8)) -> onnx.ModelProto:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, list(shape))
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("acme", 1)]
    model = helper.make_model(helper.make_graph(list(nodes), "g", [x], [y]), opset_imports=opsets)
    model.ir_version = 10
    return model


def reasons(found: Inspection, target: str, precision: str) -> list[str]:
    (board,) = [b for b in found.boards if (b.target, b.precision) == (target, precision)]
    return [str(reason) for reason in board.reasons]


def test_ports_are_those_of_the_source(digits: Inspection) -> None:
    """Names, open dimensions by name, and the layout that the graph shows."""
    (image,) = digits.inputs
    assert (image.tensor.name, image.tensor.shape, image.tensor.dtype) == (
        "image",
        ("batch", 1, 8, 8),
        "float32",
    )
    assert image.layout == "nchw"
    assert [item.tensor.shape for item in digits.outputs] == [("batch", 10)]


def test_costs_agree_with_a_compile(digits: Inspection) -> None:
    """Multiply-accumulates, file size and arena are those of the report of the same compile."""
    for precision in ("float32", "float16", "dynamic"):
        report = compile(SAMPLE, precision=precision, verify=False).report
        (board,) = [b for b in digits.boards if (b.target, b.precision) == ("generic", precision)]
        assert (board.size_bytes, board.arena_bytes) == (report.size_bytes, report.arena_bytes)
        assert digits.macs == report.macs
    stored = onnx.load(SAMPLE).graph.initializer
    assert digits.parameters == sum(int(np.prod(t.dims)) for t in stored if t.data_type == TensorProto.FLOAT)


def test_int8_needs_no_data_and_gives_the_size_of_a_calibrated_compile(digits: Inspection) -> None:
    """Placeholder ranges change numbers, not kernels: the arena is that of a compile with samples."""
    report = compile(SAMPLE, precision="int8", calibration="random", verify=False).report
    (board,) = [b for b in digits.boards if (b.target, b.precision) == ("generic", "int8")]
    assert board.runs
    assert board.arena_bytes == report.arena_bytes


def test_operators_are_counted_in_both_vocabularies(digits: Inspection) -> None:
    counted = {node.op_type for node in onnx.load(SAMPLE).graph.node}
    assert digits.outline.histogram.keys() == counted
    assert sum(digits.outline.histogram.values()) == len(onnx.load(SAMPLE).graph.node)
    assert digits.kinds == compile(SAMPLE, verify=False).report.ops


def test_every_board_and_precision_has_a_verdict(digits: Inspection) -> None:
    expected = [(name, p) for name in list_targets() for p in load_target(name).precisions]
    assert [(board.target, board.precision) for board in digits.boards] == expected


def test_an_operator_without_kernel_blocks_only_the_boards_without_it() -> None:
    """LiteRT has REDUCE_PROD, TFLM has not. Two nodes that break one rule are one reason."""
    x = np.zeros((2, 8), np.float32)
    nodes = [
        helper.make_node("ReduceProd", ["x"], ["a"], axes=[1], keepdims=1),
        helper.make_node("Sigmoid", ["a"], ["b"]),
        helper.make_node("ReduceProd", ["b"], ["y"], axes=[0], keepdims=1),
    ]
    found = inspect_model(graph_model(nodes, {"x": x}, ["y"]))
    assert reasons(found, "generic", "float32") == []
    (blocked,) = [r for r in reasons(found, "cortex-m7", "float32") if "reduce_prod" in r]
    assert blocked.endswith("reduce_prod: TFLM has no kernel for this operator (2×)")


def test_unknown_operators_do_not_stop_it() -> None:
    """What the file says is shown, the messages name the node, and no board runs it."""
    found = inspect_model(
        model_of(
            helper.make_node("Relu", ["x"], ["a"]),
            helper.make_node("Magic", ["a"], ["y"], name="spell", domain="acme"),
        )
    )
    assert found.outline.histogram == {"Relu": 1, "acme.Magic": 1}
    assert (found.macs, found.activation_peak, found.kinds) == (None, None, {})
    assert "E0201" in {item.code for item in found.diagnostics}
    assert not any(board.runs for board in found.boards)
    assert "acme.Magic" not in reasons(found, "rpi4", "int8")[0]
    assert reasons(found, "rpi4", "int8") == ["E0201 Magic, opset 17: is not a standard ONNX operator"]


def test_open_dimensions_stay_open_and_block_what_needs_fixed_ones() -> None:
    """Sizes and names are shown; float runs where the runtime resizes; int8 and TFLM ask for numbers."""
    found = inspect_model(model_of(helper.make_node("Relu", ["x"], ["y"]), shape=("n", 3, "h", "w")))
    assert found.inputs[0].tensor.shape == ("n", 3, "h", "w")
    assert found.macs is None
    assert [item.severity for item in found.diagnostics] == [Severity.WARNING]
    assert "--input-shape" in found.diagnostics[0].next_step
    assert reasons(found, "generic", "float32") == []
    assert reasons(found, "generic", "int8") == ["E0604 inputs: int8 needs fixed shapes"]
    assert any("needs fixed shapes" in text for text in reasons(found, "cortex-m7", "float32"))


def test_pinned_dimensions_are_no_obstacle() -> None:
    model = model_of(helper.make_node("Relu", ["x"], ["y"]), shape=("n", 3, "h", "w"))
    found = inspect_model(model, input_shapes={"x": [1, 3, 4, 4]})
    assert not found.diagnostics
    assert found.activation_peak is not None
    assert found.activation_peak.bytes == 2 * 3 * 4 * 4 * 4  # input and output, float32
    assert reasons(found, "cortex-m7", "float32") == []


def test_an_arena_above_the_boards_is_a_reason() -> None:
    """512 KiB is what the Cortex-M7 board has; 1x3x512x512 floats are 3 MiB, twice."""
    found = inspect_model(model_of(helper.make_node("Relu", ["x"], ["y"]), shape=(1, 3, 512, 512)))
    (text,) = reasons(found, "cortex-m7", "float32")
    assert text.startswith("E0406 tensor arena: needs ")
    assert text.endswith("KiB, the board has 512 KiB")
    assert reasons(found, "rpi4", "float32") == []


def test_tflite_files_show_scales_and_signatures() -> None:
    builder = FileBuilder()
    x = builder.tensor((1, 4), "int8", quantization=quantization([0.5], [-3]))
    y = builder.tensor((1, 4), "int8", quantization=quantization([0.5], [-3]))
    builder.operator("ADD", [x, x], [y], table("AddOptions"))
    found = inspect_model(builder.to_bytes([x], [y]))
    tensor = found.inputs[0].tensor
    assert (tensor.dtype, tensor.scale, tensor.zero_point) == ("int8", 0.5, -3)
    assert found.outline.histogram == {"ADD": 1}
    assert ("signatures", "none") in found.outline.facts
    assert reasons(found, "cortex-m7", "int8") == []


def test_custom_operators_are_named() -> None:
    builder = FileBuilder()
    x, y = builder.tensor((1, 4)), builder.tensor((1, 4))
    builder.operator("CUSTOM", [x], [y], customCode="FlexErf")
    found = inspect_model(builder.to_bytes([x], [y]))
    assert found.outline.histogram == {"CUSTOM FlexErf": 1}
    assert not any(board.runs for board in found.boards)


def test_json_is_complete_and_plain(digits: Inspection) -> None:
    found = json.loads(digits.to_json())
    assert found["schema_version"] == 1
    assert found["inputs"][0]["shape"] == ["batch", 1, 8, 8]
    assert found["operators"] == dict(digits.outline.histogram)
    assert len(found["boards"]) == len(digits.boards)
    assert found["boards"][0]["runs"] is True
    assert found["facts"]["opset"] == "17"


def test_repeated_tensor_names_of_a_file_stay_apart() -> None:
    """Two tensors may share a name in a file; arrows of the picture go by names that are unique."""
    builder = FileBuilder()
    tensors = [builder.tensor((1, 4), name="t") for _ in range(3)]
    builder.operator("ABS", tensors[:1], tensors[1:2])
    builder.operator("NEG", tensors[1:2], tensors[2:])
    outline = inspect_model(builder.to_bytes(tensors[:1], tensors[2:])).outline
    assert [item.inputs + item.outputs for item in outline.operators] == [("t", "t #1"), ("t #1", "t #2")]


def test_a_model_without_a_graph_of_its_own_shows_its_ir() -> None:
    """Keras models have operators only once they are traced; declared inputs come from the source."""
    ir = import_source(load_source(SAMPLE), {}, Diagnostics())
    declared = (SourceTensor("image", ("?", 1, 8, 8), "float32"),)
    outline = outline_ir(ir, declared)
    assert outline.inputs == declared
    assert outline.input_tensors == ("image",)
    assert outline.histogram["CONV_2D"] == 3
    assert len(outline.operators) == len(ir.graph)


@pytest.mark.corpus
def test_a_real_detector_is_drawn_whole() -> None:
    """YOLOX nano: 369 operators stay single boxes; it runs everywhere but in a microcontroller's memory."""
    found = inspect_model(CORPUS / "onnx" / "det_yolox_nano.onnx")
    assert len(draw(found.outline).boxes) == 369 + 2
    blocked = {board.target for board in found.boards if board.precision == "int8" and not board.runs}
    assert blocked == {"cortex-m7"}


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "notes.onnx"
    path.write_text("not a model")
    with pytest.raises(CompileError, match="E0102"):
        inspect_model(path)


def test_the_source_is_left_alone() -> None:
    """Each board's passes edit a copy: a second look says the same."""
    assert inspect_model(SAMPLE).to_json() == inspect_model(SAMPLE).to_json()
