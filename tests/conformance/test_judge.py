"""The judge itself: what it lets pass, and what it must not."""

from __future__ import annotations

import sys

import numpy as np
import onnx
import pytest
from onnx import helper

from tests.conformance.cases import Array, Case
from tests.conformance.freeze import freeze
from tests.conformance.judge import difference, judge, refusal_text
from tests.conformance.pool import Worker


def case_of(op_type: str, inputs: dict[str, Array], expected: Array, **attributes: object) -> Case:
    """Return a case of one node."""
    node = helper.make_node(op_type, list(inputs), ["y"], **attributes)
    infos = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
        for name, array in inputs.items()
    ]
    result = helper.make_tensor_value_info(
        "y", helper.np_dtype_to_tensor_dtype(expected.dtype), expected.shape
    )
    model = helper.make_model(
        helper.make_graph([node], "g", infos, [result]), opset_imports=[helper.make_opsetid("", 17)]
    )
    model.ir_version = 8
    return Case("test_case", "node", op_type, model, ((list(inputs.values()), [expected]),), 1e-3, 1e-7)


def floats(*items: float) -> Array:
    return np.array(items, np.float32)


def test_right_numbers_pass() -> None:
    """A model that gives the expected outputs in both kernel sets passes."""
    assert judge(case_of("Neg", {"x": floats(1, -2)}, floats(-1, 2))).outcome == "pass"


def test_wrong_numbers_are_wrong() -> None:
    """The verdict says which kernels, which output, where, and both numbers."""
    verdict = judge(case_of("Neg", {"x": floats(1, -2)}, floats(-1, 3)))
    assert verdict.outcome == "wrong"
    assert verdict.reason == "xnnpack: output 'y': 1 of 2 values differ; at [1]: 2.0, expected 3.0"


def test_refusal_carries_code_and_reason_without_names() -> None:
    """A diagnostic is a refusal; what it says groups with the same refusal of another model."""
    verdict = judge(case_of("NoSuchOperator", {"x": floats(1)}, floats(1)))
    assert (verdict.outcome, verdict.code) == ("refused", "E0201")
    assert refusal_text("input 1 ('shape') is unknown.", "Why.") == "input 1 is unknown. Why"


def test_exception_that_is_no_diagnostic_is_a_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    """A traceback would reach the user: the verdict names the exception and its place."""

    def fail(*_: object, **__: object) -> None:
        raise KeyError("lost")

    monkeypatch.setattr("edgec.compile", fail)
    verdict = judge(case_of("Neg", {"x": floats(1)}, floats(-1)))
    assert verdict.outcome == "crash"
    assert verdict.reason.startswith("KeyError in test_judge.py:")


@pytest.mark.parametrize(
    ("ours", "wanted", "problem"),
    [
        (floats(1), np.array([1], np.float64), ""),  # float32 stands for double, as the compile says
        (floats(1), np.array([1], np.float16), ""),
        (np.array([1], np.int32), np.array([1], np.int64), "is int32, expected int64"),
        (floats(1), np.array([1], np.int32), "is float32, expected int32"),
        (floats(1, 2), floats(1, 2).reshape(2, 1), "has shape [2], expected [2, 1]"),
        (floats(np.nan, np.inf), floats(np.nan, np.inf), ""),
        (floats(np.inf), floats(-np.inf), "1 of 1 values differ; at [0]: inf, expected -inf"),
        (floats(1.0009), floats(1), ""),  # inside the suite's rtol of 1e-3
        (floats(1.002), floats(1), "1 of 1 values differ; at [0]: 1.00"),
        (np.array(10001), np.array(10000), "1 of 1 values differ; at []: 10001, expected 10000"),  # exact
        (np.empty((0, 2), np.float32), np.empty((0, 2), np.float32), ""),
    ],
)
def test_difference(ours: Array, wanted: Array, problem: str) -> None:
    """Element types and shapes equal, integers exact, floats within the suite's tolerance."""
    found = difference(ours, wanted, 1e-3, 1e-7)
    assert found.startswith(problem) if problem else found == ""


def test_freeze_keeps_data_and_makes_settings_initializers() -> None:
    """Clip's limits become constants; its first operand stays an input."""
    case = case_of("Clip", {"x": floats(1, 9), "lo": np.float32(2), "hi": np.float32(4)}, floats(2, 4))
    frozen = freeze(case, case.model.graph.node[0])
    assert frozen.frozen
    assert [info.name for info in frozen.inputs] == ["x"]
    assert {tensor.name for tensor in frozen.model.graph.initializer} == {"lo", "hi"}
    assert judge(frozen).outcome == "pass"
    assert len(case.inputs) == 3  # the case as shipped is untouched


def test_freeze_leaves_an_operand_that_is_also_data() -> None:
    """x ** x has one input, which is the base as well: nothing to freeze."""
    case = case_of("Pow", {"x": floats(2)}, floats(4))
    node = case.model.graph.node[0]
    node.input.append("x")
    assert freeze(case, node) is case


def test_freeze_does_not_touch_operators_without_settings() -> None:
    """Both operands of Add are data."""
    case = case_of("Add", {"a": floats(1), "b": floats(2)}, floats(3))
    assert freeze(case, case.model.graph.node[0]) is case


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("import os, sys; sys.stdin.readline(); os.abort()", "the process died (SIGABRT)"),
        ("import sys; sys.stdin.readline(); sys.exit('why')", "the process died (exit code 1): why"),
        ("import sys, time; sys.stdin.readline(); time.sleep(60)", "no answer within 1 s"),
    ],
)
def test_dead_or_silent_worker_is_a_crash(script: str, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever happens to the process, the run goes on and the verdict says what happened."""
    monkeypatch.setattr("tests.conformance.pool.COMMAND", (sys.executable, "-c", script))
    monkeypatch.setattr("tests.conformance.pool.START_TIMEOUT", 0.0)
    worker = Worker()
    verdict = worker.judge(case_of("Neg", {"x": floats(1)}, floats(-1)), timeout=1)
    worker.close()
    assert (verdict.outcome, verdict.reason) == ("crash", reason)


def test_onnx_is_what_the_cases_are_written_in() -> None:
    """The helper above makes valid models: a broken one would be refused for the wrong reason."""
    onnx.checker.check_model(case_of("Neg", {"x": floats(1)}, floats(-1)).model)
