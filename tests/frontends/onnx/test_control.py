"""If: the known branch alone, or both as subgraphs; names, captures and types follow ONNX."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from edgec.diagnostics import CompileError
from edgec.kernels import KernelSet, Runner
from edgec.options import CompileOptions
from tests.support.control_flow import check, compiled, constant, inner, model, node

X = np.arange(6, dtype=np.float32).reshape(2, 3)
CONDITIONS = [{"c": np.array(value), "x": X} for value in (True, False)]


def test_a_known_condition_leaves_one_branch() -> None:
    """Also where the condition is computed from constants; nothing of `if` remains."""
    branches = {
        "then_branch": inner([node("Neg", ["x"], ["a"])], ["a"]),
        "else_branch": inner([node("Exp", ["x"], ["b"])], ["b"]),
    }
    nodes = [
        node("Shape", ["x"], ["s"]),
        constant("two", np.array([2, 3])),
        node("Equal", ["s", "two"], ["e"]),
        node("Cast", ["e"], ["i"], to=6),
        node("ReduceMin", ["i"], ["m"], keepdims=0),
        node("Cast", ["m"], ["c"], to=9),
        node("If", ["c"], ["y"], **branches),
    ]
    assert check(model(nodes, {"x": X}, ["y"]), {"x": X}).report.ops == {"NEG": 1}


def test_branches_capture_what_they_read_from_outside() -> None:
    """Computed values become operands of both branches, weights are constants in each."""
    branches = {
        "then_branch": inner([node("Mul", ["x", "w"], ["a"]), node("Add", ["a", "h"], ["r"])], ["r"]),
        "else_branch": inner([node("Sub", ["x", "w"], ["r"])], ["r"]),
    }
    nodes = [node("Exp", ["x"], ["h"]), node("If", ["c"], ["y"], **branches)]
    proto = model(nodes, dict(CONDITIONS[0]), ["y"], constants={"w": np.float32([2, 3, 4])})
    ops = check(proto, *CONDITIONS).report.ops
    assert ops["IF"] == 1


def test_branches_return_inputs_constants_and_one_value_twice() -> None:
    """Kernels fill one output a tensor, so what is returned twice is copied."""
    branches = {
        "then_branch": inner(
            [node("Identity", ["x"], ["a"]), node("Identity", ["w"], ["b"])], ["a", "b", "x"]
        ),
        "else_branch": inner(
            [node("Neg", ["x"], ["a"]), constant("k", np.float32([7, 8, 9]))], ["a", "k", "a"]
        ),
    }
    # onnxruntime does not fill an output that a branch returns twice: the numbers are known anyway.
    proto = model(
        [node("If", ["c"], ["p", "q", "r"], **branches)],
        dict(CONDITIONS[0]),
        ["p", "q", "r"],
        constants={"w": np.float32([1, 2, 3])},
    )
    file = compiled(proto).tflite
    for kernels in KernelSet:
        runner = Runner(file, kernels=kernels)
        for got, expected in zip(runner.run([np.array(True), X]), (X, [1, 2, 3], X), strict=True):
            np.testing.assert_array_equal(got, np.asarray(expected, np.float32))
        for got, expected in zip(runner.run([np.array(False), X]), (-X, [7, 8, 9], -X), strict=True):
            np.testing.assert_array_equal(got, np.asarray(expected, np.float32))


def test_branches_without_captures_and_of_two_sizes() -> None:
    """Where sizes differ the result has whichever size the branch that ran has."""
    branches = {
        "then_branch": inner([constant("k", np.float32([1, 2, 3]))], ["k"]),
        "else_branch": inner([constant("k", np.float32([1, 2, 3, 4]))], ["k"]),
    }
    samples = [{"c": np.array([value])} for value in (True, False)]
    result = check(model([node("If", ["c"], ["y"], **branches)], dict(samples[0]), ["y"]), *samples)
    assert result.report.outputs[0].shape == (-1,)
    assert result.report.macs is None
    assert result.report.arena_bytes is None


def shadowed(inner_w: float) -> onnx.ModelProto:
    then_branch = inner([node("Add", ["x", "w"], ["r"])], ["r"])
    then_branch.initializer.append(numpy_helper.from_array(np.float32(inner_w), "w"))
    branches = {"then_branch": then_branch, "else_branch": inner([node("Sub", ["x", "w"], ["r"])], ["r"])}
    nodes = [node("If", ["c"], ["y"], **branches)]
    return model(nodes, dict(CONDITIONS[0]), ["y"], constants={"w": np.float32(1)})


def test_an_initializer_that_hides_another_is_refused() -> None:
    """ONNX forbids it, and onnxruntime takes the outer one; the same number twice has one meaning."""
    check(shadowed(1), *CONDITIONS)
    with pytest.raises(
        CompileError, match="E0124 initializer 'w' of an inner graph: has the name of another"
    ):
        compiled(shadowed(100))


def test_results_of_inner_nodes_hide_outer_values() -> None:
    """Each branch may use the names of the other, and of what comes later."""
    branches = {
        "then_branch": inner([node("Neg", ["x"], ["t"]), node("Exp", ["t"], ["r"])], ["r"]),
        "else_branch": inner([node("Abs", ["x"], ["t"]), node("Sqrt", ["t"], ["r"])], ["r"]),
    }
    nodes = [node("If", ["c"], ["u"], **branches), node("Mul", ["u", "x"], ["t2"])]
    check(model(nodes, dict(CONDITIONS[0]), ["t2"]), *CONDITIONS)


def test_nested_branches_capture_through_the_one_around_them() -> None:
    """A value of the main graph reaches a branch within a branch."""
    innermost = {
        "then_branch": inner([node("Mul", ["h", "x"], ["r"])], ["r"]),
        "else_branch": inner([node("Sub", ["h", "x"], ["r"])], ["r"]),
    }
    branches = {
        "then_branch": inner([node("If", ["d"], ["r2"], **innermost)], ["r2"]),
        "else_branch": inner([node("Neg", ["x"], ["r2"])], ["r2"]),
    }
    nodes = [node("Exp", ["x"], ["h"]), node("If", ["c"], ["y"], **branches)]
    samples = [{"c": np.array(c), "d": np.array(d), "x": X} for c in (True, False) for d in (True, False)]
    check(model(nodes, dict(samples[0]), ["y"]), *samples)


def test_branches_of_different_kinds_are_refused() -> None:
    """A tensor has one rank, whatever branch computes it."""
    branches = {
        "then_branch": inner([constant("k", np.float32([1]))], ["k"]),
        "else_branch": inner([constant("k", np.float32(1))], ["k"]),
    }
    proto = model([node("If", ["c"], ["y"], **branches)], {"c": np.array(True)}, ["y"])
    with pytest.raises(CompileError, match=r"has branches whose results float32\[1\] and float32\[\] differ"):
        compiled(proto)


def test_a_refused_inner_node_is_reported_once() -> None:
    """The diagnostic names the node in the branch; the If needs none of its own."""
    branches = {
        "then_branch": inner([node("StringNormalizer", ["x"], ["r"], name="inside")], ["r"]),
        "else_branch": inner([node("Neg", ["x"], ["r"])], ["r"]),
    }
    proto = model([node("If", ["c"], ["y"], **branches)], dict(CONDITIONS[0]), ["y"])
    with pytest.raises(CompileError) as refused:
        compiled(proto)
    assert [item.where.split()[1] for item in refused.value.diagnostics] == ["'inside'"]


def test_int8_refuses_control_flow() -> None:
    """Ranges inside of branches are not observed."""
    branches = {
        "then_branch": inner([node("Neg", ["x"], ["r"])], ["r"]),
        "else_branch": inner([node("Exp", ["x"], ["r"])], ["r"]),
    }
    proto = model([node("If", ["c"], ["y"], **branches)], dict(CONDITIONS[0]), ["y"])
    options = CompileOptions(precision="int8", calibration="random", verify=False)
    with pytest.raises(CompileError, match="control flow"):
        compiled(proto, precision=options.precision, calibration=options.calibration)
