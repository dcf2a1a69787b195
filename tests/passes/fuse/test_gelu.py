"""Exporters spell GELU in several orders; all of them become one op where the kernels have it."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper

import edgec
from tests.support.onnx_models import graph_model

CONSTANTS = {
    "root": np.array(np.sqrt(2), np.float32),
    "one": np.array(1, np.float32),
    "half": np.array(0.5, np.float32),
}


def gelu(order: str, half: float = 0.5) -> onnx.ModelProto:
    """Return x·½·(1+erf(x/√2)) with its product in one of the orders that exporters use."""
    n = helper.make_node
    nodes = [n("Div", ["x", "root"], ["d"]), n("Erf", ["d"], ["e"]), n("Add", ["e", "one"], ["s"])]
    nodes += {
        "x·s·half": [n("Mul", ["x", "s"], ["p"]), n("Mul", ["p", "half"], ["y"])],
        "(x·half)·s": [n("Mul", ["x", "half"], ["p"]), n("Mul", ["p", "s"], ["y"])],
        "x·(half·s)": [n("Mul", ["half", "s"], ["p"]), n("Mul", ["x", "p"], ["y"])],
    }[order]
    constants = CONSTANTS | {"half": np.array(half, np.float32)}
    return graph_model(nodes, {"x": np.zeros((2, 7), np.float32)}, ["y"], constants=constants)


@pytest.mark.parametrize("order", ["x·s·half", "(x·half)·s", "x·(half·s)"])
def test_gelu_becomes_one_op(order: str) -> None:
    """The compile itself verifies the numbers against onnxruntime at the float tolerance."""
    report = edgec.compile(gelu(order), verify_each=True).report
    assert dict(report.ops) == {"GELU": 1}
    assert report.passed


def test_another_factor_is_no_gelu() -> None:
    """0.25 in place of one half: right numbers, no GELU."""
    report = edgec.compile(gelu("x·s·half", half=0.25), verify_each=True).report
    assert "GELU" not in report.ops
    assert report.passed


def test_targets_without_the_kernel_keep_the_arithmetic() -> None:
    """TFLite Micro has no GELU."""
    report = edgec.compile(gelu("x·s·half"), target="cortex-m7", verify_each=True).report
    assert "GELU" not in report.ops
    assert report.passed
