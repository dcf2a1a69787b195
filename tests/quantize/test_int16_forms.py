"""Ops without an int16 kernel, from ops that have one: the same values in float, and then in int16."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from edgec.ir import DType, Model, Value
from edgec.kernels import KernelSet
from edgec.ops.elementwise import DivAttributes
from edgec.ops.normalization import SoftmaxAttributes
from edgec.ops.resize import DepthToSpaceAttributes, SpaceToDepthAttributes
from edgec.ops.verify_ir import verify_ir
from edgec.passes.contract import RulePass
from edgec.quantize import check_quantized, int16x8_problems, quantize_int16x8
from edgec.quantize.int16_forms import CompareWithZero, int16_rules
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

FLOAT_DB = 120
INT16_DB = 60
"""A few int16 nodes in a row: 85 dB for one (`test_int16x8`), tables of exp and relu6 cost more."""


def unary(kind: str) -> Callable[[], Model]:
    def make() -> Model:
        sketch = Sketch()
        x = sketch.build.op("mul", [sketch.input(2, 4, 6, 8), sketch.build.constant(2.0)], name="scaled")
        return sketch.model(sketch.build.op(kind, [x], name="y"))

    make.__name__ = kind
    return make


def depth_to_space() -> Model:
    sketch = Sketch()
    attributes = DepthToSpaceAttributes(2)
    return sketch.model(sketch.build.op("depth_to_space", [sketch.input(2, 3, 5, 12)], attributes, "y"))


def space_to_depth() -> Model:
    sketch = Sketch()
    attributes = SpaceToDepthAttributes(3)
    return sketch.model(sketch.build.op("space_to_depth", [sketch.input(2, 6, 9, 2)], attributes, "y"))


def squared_difference() -> Model:
    sketch = Sketch()
    operands = [sketch.input(2, 3, 4), sketch.input(4, name="mean")]
    return sketch.model(sketch.build.op("squared_difference", operands, name="y"))


def prelu() -> Model:
    """Slopes below 0 and above 1, where max(x, a x) would be wrong."""
    sketch = Sketch()
    slopes = sketch.build.constant(np.array([0.25, -0.5, 1.5, 0.0], np.float32))
    return sketch.model(sketch.build.op("prelu", [sketch.input(1, 3, 5, 4), slopes], name="y"))


def division() -> Model:
    sketch = Sketch()
    divisor = sketch.build.constant(np.array([3.0, -0.5, 7.0], np.float32))
    return sketch.model(sketch.build.op("div", [sketch.input(2, 3), divisor], DivAttributes(), "y"))


MODELS = (
    depth_to_space,
    space_to_depth,
    squared_difference,
    unary("relu_n1_to_1"),
    unary("elu"),
    unary("hard_swish"),
    unary("square"),
    prelu,
    division,
)


def rewritten(model: Model) -> Model:
    made = RulePass("prepare_int16", int16_rules()).run(model).model
    verify_ir(made)
    return made


@pytest.mark.parametrize("make", MODELS)
def test_a_form_computes_the_same_in_float_and_in_int16(make: Callable[[], Model]) -> None:
    """The float kernels agree; every node of the form has an int16 kernel, which is near it."""
    model, form = make(), rewritten(make())
    assert set(kinds(model)) - {"mul"} and not (set(kinds(model)) - {"mul"}) & set(kinds(form))
    for sample in samples(model, 4, seed=2):
        assert sqnr(run_float(model, sample), run_float(form, sample)) > FLOAT_DB
    assert int16x8_problems(form) == []
    made = quantize_int16x8(form, calibrated(form, 100))
    assert check_quantized(made) == []
    for kernels in (KernelSet.BUILTIN, KernelSet.REFERENCE):
        assert output_sqnr(form, made, kernels)[0] > INT16_DB, kernels


def classes(count: int, beta: float = 1.0) -> Model:
    """Logits as a trained classifier has them: one far above, most far below."""
    sketch = Sketch()
    logits = sketch.build.op(
        "mul", [sketch.input(2, count), sketch.build.constant(8.0 / beta)], name="logits"
    )
    return sketch.model(sketch.build.op("softmax", [logits], SoftmaxAttributes(beta), "y"))


@pytest.mark.parametrize("beta", (1.0, 0.5))
def test_softmax_over_a_thousand_classes_is_no_kernel_s_business(beta: float) -> None:
    """The kernel alone is 26 dB near float, the form 67: in all kernels, whatever beta.

    In float, cutting off at -20 adds 1000 * exp(-20) = 2e-6 to a sum of 1 and more: 114 dB.
    """
    model, form = classes(1000, beta), rewritten(classes(1000, beta))
    assert "softmax" not in kinds(form)
    (sample,) = samples(model, 1)
    assert sqnr(run_float(model, sample), run_float(form, sample)) > 100
    wide = quantize_int16x8(form, calibrated(form, 300))
    assert check_quantized(wide) == []
    for kernels in (KernelSet.BUILTIN, KernelSet.REFERENCE):
        assert output_sqnr(model, wide, kernels)[0] > INT16_DB, kernels
    assert output_sqnr(model, quantize_int16x8(model, calibrated(model)), KernelSet.BUILTIN)[0] < 30


def test_softmax_over_few_classes_and_for_targets_without_exp_stays() -> None:
    """A keyword spotter's dozen; TFLM, which has no int16 exp."""
    assert "softmax" in kinds(rewritten(classes(12)))
    model = RulePass("prepare_int16", int16_rules(exp=False)).run(classes(1000)).model
    assert "softmax" in kinds(model)


@pytest.mark.parametrize("kind", CompareWithZero().kinds)
def test_comparisons_hold_whatever_the_scales(kind: str) -> None:
    """Ranges of 1 and 50 have different scales, and the kernel alone would compare the integers.

    Differences are whole steps of the difference's scale; both operands together are off by less than half.
    """
    sketch = Sketch()
    x, y = sketch.input(64), sketch.input(64, name="other")
    model = sketch.model(sketch.build.op(kind, [x, y], name="y"))
    form = rewritten(model)
    assert kinds(form) == ["sub", kind]
    ranges = {"x": (-1.0, 1.0), "other": (-50.0, 50.0), form.graph.last.operand(0).name: (-51.0, 51.0)}
    made = quantize_int16x8(form, ranges)
    assert check_quantized(made) == []
    step = 51 / 32767
    x_steps = np.random.default_rng(0).integers(-600, 600, 64)
    difference = np.resize([0, 3, -3, 40], 64)
    sample = {
        "x": (x_steps * step).astype(np.float32),
        "other": ((x_steps - difference) * step).astype(np.float32),
    }
    expected = {
        "equal": difference == 0,
        "not_equal": difference != 0,
        "less": difference < 0,
        "less_equal": difference <= 0,
        "greater": difference > 0,
        "greater_equal": difference >= 0,
    }[kind]
    for kernels in (KernelSet.BUILTIN, KernelSet.REFERENCE):
        (found,) = run_stored(made, sample, kernels)
        np.testing.assert_array_equal(found, expected)


def test_what_compares_with_zero_is_left_alone() -> None:
    """A mask of positive numbers needs no difference, and is no fault of any scale."""
    sketch = Sketch()
    mask = sketch.build.op("greater", [sketch.input(8), sketch.build.constant(0.0)], name="y")
    model = sketch.model(mask)
    assert kinds(rewritten(model)) == ["greater"]
    assert int16x8_problems(model) == []


def integer_difference(sketch: Sketch) -> Value:
    operands = [sketch.input(3, name=name, dtype=DType.INT32) for name in "ab"]
    return sketch.build.op("squared_difference", operands, name="y")


def test_integers_keep_their_kernels() -> None:
    """They are not quantized, so nothing is missing for them."""
    sketch = Sketch()
    model = sketch.model(integer_difference(sketch))
    assert kinds(rewritten(model)) == ["squared_difference"]
