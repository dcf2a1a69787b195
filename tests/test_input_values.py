"""An input that is a setting becomes a constant, and what depends on it is decided at compile time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import TensorProto, helper

import edgec
from edgec.cli import main
from edgec.diagnostics import CompileError


def choosing_model() -> onnx.ModelProto:
    """Return `x + 1` where the run-time scalar `mode` is 1, else `x * 2`."""
    branches = {
        name: helper.make_graph(
            [
                helper.make_node("Constant", [], [f"{name}_c"], value_float=number),
                helper.make_node(op, ["x", f"{name}_c"], [f"{name}_y"]),
            ],
            name,
            [],
            [helper.make_tensor_value_info(f"{name}_y", TensorProto.FLOAT, [1, 3])],
        )
        for name, op, number in (("then", "Add", 1.0), ("other", "Mul", 2.0))
    }
    nodes = [
        helper.make_node("Constant", [], ["one"], value_int=1),
        helper.make_node("Equal", ["mode", "one"], ["chosen"]),
        helper.make_node(
            "If", ["chosen"], ["y"], then_branch=branches["then"], else_branch=branches["other"]
        ),
    ]
    inputs = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3]),
        helper.make_tensor_value_info("mode", TensorProto.INT64, []),
    ]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3])]
    graph = helper.make_graph(nodes, "choice", inputs, outputs)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)


@pytest.mark.parametrize(("mode", "kind"), [(1, "ADD"), (0, "MUL")])
def test_the_branch_is_decided(mode: int, kind: str) -> None:
    """One node is left, `mode` is no input any more, and the numbers are onnxruntime's for that value."""
    report = edgec.compile(choosing_model(), input_values={"mode": mode}, verify_each=True).report
    assert dict(report.ops) == {kind: 1}
    assert [item.name for item in report.inputs] == ["x"]
    assert report.passed


def test_without_a_value_both_branches_stay() -> None:
    report = edgec.compile(choosing_model(), verify_each=True).report
    assert report.ops["IF"] == 1
    assert report.passed


def test_unknown_names_are_refused() -> None:
    with pytest.raises(CompileError, match="E0605 --input-value: the model has no input 'sr'"):
        edgec.compile(choosing_model(), input_values={"sr": 16000})


def test_command_line(tmp_path: Path) -> None:
    path = tmp_path / "choice.onnx"
    onnx.save(choosing_model(), path)
    result = CliRunner().invoke(main, ["compile", str(path), "--input-value", "mode=1", "-q"])
    assert result.exit_code == 0, result.output
    assert CliRunner().invoke(main, ["compile", str(path), "--input-value", "mode=fast"]).exit_code == 2


def test_other_formats_have_no_such_option(tmp_path: Path) -> None:
    made = edgec.compile(choosing_model(), input_values={"mode": 1}).save(tmp_path / "m.tflite")
    with pytest.raises(CompileError, match="is for ONNX models"):
        edgec.compile(made, input_values={"mode": 1})
    assert np.isfinite(edgec.compile(made).report.size_bytes)
