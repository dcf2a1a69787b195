"""Classifier heads in int16: log_softmax and arg_max from kernels that LiteRT has; TFLM lacks them."""

from __future__ import annotations

import numpy as np
import pytest

from edgec.ir import DType, Model
from edgec.kernels import KernelSet
from edgec.ops.reduce import ArgMaxAttributes, ArgMinAttributes
from edgec.passes.contract import RulePass
from edgec.quantize import check_quantized, int16x8_problems, quantize_int16x8
from edgec.quantize.int16_forms import LOG_CLASSES, int16_rules
from tests.quantize.small_graphs import (
    Sketch,
    calibrated,
    kinds,
    output_sqnr,
    run_float,
    run_stored,
    samples,
    sqnr,
)


def log_softmax(classes: int) -> Model:
    sketch = Sketch()
    logits = sketch.build.op("mul", [sketch.input(4, classes), sketch.build.constant(3.0)], name="logits")
    return sketch.model(sketch.build.op("log_softmax", [logits], name="y"))


def arg(kind: str) -> Model:
    sketch = Sketch()
    options = ArgMaxAttributes(DType.INT32) if kind == "arg_max" else ArgMinAttributes(DType.INT32)
    x = sketch.input(64, 10)
    return sketch.model(sketch.build.op(kind, [x, sketch.build.constant([1])], options, "y"))


def formed(model: Model, *, exp: bool = True) -> Model:
    return RulePass("prepare_int16", int16_rules(exp=exp)).run(model).model


@pytest.mark.parametrize("classes", [2, 10, LOG_CLASSES])
def test_log_softmax_is_a_difference_of_two(classes: int) -> None:
    """The same in float (90 dB: exp, log and a sum in another order), and 64 dB near it in int16.

    Scales that are powers of two, which LiteRT and TFLM divide alike, cost up to 6 of the 70 dB that free
    scales reach."""
    model, form = log_softmax(classes), formed(log_softmax(classes))
    assert "log_softmax" not in kinds(form)
    for sample in samples(model, 4, seed=2):
        assert sqnr(run_float(model, sample), run_float(form, sample)) > 90
    assert int16x8_problems(form) == []
    made = quantize_int16x8(form, calibrated(form, 100))
    assert check_quantized(made) == []
    for kernels in (KernelSet.BUILTIN, KernelSet.REFERENCE):
        assert output_sqnr(form, made, kernels)[0] > 64, kernels


def test_log_softmax_over_many_classes_is_refused() -> None:
    """A table of the logarithm between -1000 and 1000 says nothing near 1."""
    form = formed(log_softmax(LOG_CLASSES + 1))
    assert "log_softmax" in kinds(form)
    (problem,) = int16x8_problems(form)
    assert "log_softmax" in problem.where and "kernel has no int16 form" in problem.why


@pytest.mark.parametrize("kind", ["arg_max", "arg_min"])
def test_the_place_of_the_extreme_is_asked_of_flags(kind: str) -> None:
    """Equal in float, first of equal elements included; in int16 for 63 of 64 rows of normal numbers."""
    model, form = arg(kind), formed(arg(kind))
    assert kinds(form)[-2:] == ["equal", "arg_max"]
    (sample,) = samples(model, 1)
    twice = {name: np.repeat(array[:, :5], 2, axis=1) for name, array in sample.items()}
    for given in (sample, twice):
        np.testing.assert_array_equal(run_float(form, given), run_float(model, given))
    assert int16x8_problems(form) == []
    made = quantize_int16x8(form, calibrated(form, 50))
    assert check_quantized(made) == []
    same = np.asarray(run_stored(made, sample, KernelSet.BUILTIN)[0]) == np.asarray(
        run_float(model, sample)[0]
    )
    assert same.mean() >= 63 / 64


def test_a_library_without_exp_keeps_them() -> None:
    """TFLM has none of exp, log and reduce_max for int16: the nodes stay, and are named as unquantizable."""
    for model in (formed(log_softmax(4), exp=False), formed(arg("arg_max"), exp=False)):
        (problem,) = int16x8_problems(model)
        assert "kernel has no int16 form" in problem.why
