"""LiteRT beside TFLM: steps are counted right, and a kernel that aborts costs its own row only."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from edgec.diagnostics import CompileError, Diagnostic
from tests.legalize.graphs import Net
from tests.legalize.micro import needs_tflm

TOOLS = str(Path(__file__).resolve().parents[2] / "tools")
if TOOLS not in sys.path:
    sys.path.append(TOOLS)

from bench_micro import lacking  # noqa: E402
from bench_micro_kernels import agreement, steps_apart  # noqa: E402


def test_steps_are_units_of_the_last_place() -> None:
    """Integers do not wrap around; a float's step is to its neighbour."""
    low, high = np.array([-128, 5], np.int8), np.array([127, 5], np.int8)
    assert steps_apart(low, high) == 255
    one = np.array([1.0], np.float32)
    assert steps_apart(one, np.nextafter(one, np.float32(2))) == 1
    assert steps_apart(one, one) == 0
    with pytest.raises(ValueError, match=r"int8\(2,\) is not float32\(1,\)"):
        steps_apart(low, one)


@needs_tflm
def test_an_abort_is_told_and_survived() -> None:
    """SLICE at rank 6 ends TFLM's process with a signal; LiteRT runs it."""
    net = Net()
    x = net.input(*[2] * 6)
    net.returns(net.op("slice", [x, net.ints([0] * 6), net.ints([1] * 6)]))
    found = agreement(net.bytes(), [net.samples()])
    assert not found.ran and found.litert_error == ""
    assert found.micro_error.startswith("signal ")


@needs_tflm
def test_a_missing_operator_is_named() -> None:
    """TFLM says which; equal results are equal, however many samples."""
    net = Net()
    net.returns(net.op("gelu", [net.input(2, 3)]))
    assert agreement(net.bytes(), [net.samples()]).micro_error == "no GELU"
    same = Net(int8=True)
    same.returns(same.conv(same.input(1, 5, 5, 6), 9, 3))
    assert agreement(same.bytes(), [same.samples()] * 2).steps == (0,)


def test_refusals_are_counted_by_operator() -> None:
    """Three nodes of a kind are one line."""
    problems = [Diagnostic("E0414", f"node '{name}' (gelu)", "TFLM has no kernel") for name in "abc"]
    assert lacking(CompileError(problems)) == ("3 x gelu: TFLM has no kernel",)
