"""Forms whose integer kernels agree: LiteRT's reference kernels and TFLM give the same integers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgec.emit import emit
from edgec.ir import Array, Model
from edgec.kernels import KernelSet, Runner
from edgec.legalize.agreement import DecomposeSum, FullyConnectedToConv2D
from edgec.legalize.profile import find_profile
from edgec.ops.matmul import FullyConnectedAttributes
from edgec.ops.reduce import ReducerAttributes
from edgec.ops.spec import ActivationFunctionType
from edgec.passes.contract import RulePass
from edgec.quantize import check_quantized, quantize_int8
from edgec.rewrite import Rule
from tests.legalize.graphs import Net, rewritten
from tests.legalize.micro import needs_tflm, run_micro
from tests.quantize.small_graphs import Sketch, calibrated, kinds

ROWS = 64


def dense(*, keep: bool = False, bias: bool = True) -> Model:
    """One fully_connected of 200 numbers a row: a shift of 8 bits and more."""
    sketch, random = Sketch(), np.random.default_rng(3)
    x = sketch.input(4, ROWS // 4, 200) if keep else sketch.input(ROWS, 200)
    weights = sketch.build.constant(random.normal(size=(48, 200)).astype(np.float32))
    shift = sketch.build.constant(random.normal(size=48).astype(np.float32)) if bias else None
    options = FullyConnectedAttributes(ActivationFunctionType.RELU, keep_num_dims=keep)
    return sketch.model(sketch.build.op("fully_connected", [x, weights, shift], options, "y"))


def total() -> Model:
    sketch = Sketch()
    axes = sketch.build.constant([1, 2])
    return sketch.model(sketch.build.op("sum", [sketch.input(2, 9, 7, 5), axes], ReducerAttributes(), "y"))


def formed(model: Model, *rules: Rule) -> Model:
    return RulePass("agree", rules).run(model).model


def both(model: Model, folder: Path) -> tuple[Array, Array]:
    """Quantize; return the integers of LiteRT's reference kernels and those of TFLM."""
    made = quantize_int8(model, calibrated(model))
    assert check_quantized(made) == []
    content = emit(made).to_bytes()
    (value,) = made.graph.inputs
    feed = np.random.default_rng(5).integers(-128, 128, value.shape, np.int8)
    run = run_micro(content, [feed], 1, folder)
    assert run is not None
    return Runner(content, kernels=KernelSet.REFERENCE).run([feed])[0], run.outputs[0]


@pytest.mark.parametrize("keep", [False, True], ids=["rows", "keep_num_dims"])
@pytest.mark.parametrize("bias", [False, True], ids=["no_bias", "bias"])
def test_a_dense_layer_is_a_convolution_over_one_pixel(keep: bool, bias: bool) -> None:
    """The same numbers in float (a sum in another order), the same shape, the activation kept."""
    model, form = dense(keep=keep, bias=bias), formed(dense(keep=keep, bias=bias), FullyConnectedToConv2D())
    assert kinds(form) == ["reshape", "conv_2d", "reshape"]
    assert form.graph.outputs[0].shape == model.graph.outputs[0].shape
    x = np.random.default_rng(0).normal(size=model.graph.inputs[0].shape).astype(np.float32)
    wanted, found = (Runner(emit(item).to_bytes()).run([x])[0] for item in (model, form))
    assert wanted.min() == 0.0
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-4)


@needs_tflm
def test_the_convolution_is_equal_where_the_dense_layer_is_not(tmp_path: Path) -> None:
    """One result in a few hundred is a step off in FULLY_CONNECTED, none of 3072 in CONV_2D."""
    wanted, found = both(dense(), tmp_path / "dense")
    apart = np.abs(wanted.astype(int) - found)
    assert apart.max() == 1
    wanted, found = both(formed(dense(), FullyConnectedToConv2D()), tmp_path / "convolution")
    assert wanted.std() > 10
    np.testing.assert_array_equal(found, wanted)


@needs_tflm
def test_a_sum_is_a_mean_times_a_count(tmp_path: Path) -> None:
    """LiteRT's reference SUM does not rescale: all results differ. The form's are equal, and right."""
    wanted, found = both(total(), tmp_path / "sum")
    assert (wanted != found).all()
    form = formed(total(), DecomposeSum())
    assert kinds(form) == ["mean", "mul"]
    x = np.random.default_rng(0).normal(size=(2, 9, 7, 5)).astype(np.float32)
    (result,) = Runner(emit(form).to_bytes()).run([x])
    np.testing.assert_allclose(result, x.sum((1, 2)), rtol=1e-5, atol=1e-4)
    wanted, found = both(form, tmp_path / "mean")
    np.testing.assert_array_equal(found, wanted)


def test_weights_that_are_computed_stay() -> None:
    """A convolution needs constant weights; integers have their form already."""
    net = Net()
    weights = net.op("abs", [net.input(3, 6, name="w")])
    net.returns(net.op("fully_connected", [net.input(2, 6), weights]))
    assert rewritten(net, FullyConnectedToConv2D()) == ["the weights are computed at run time, or not float"]
    given = Net(int8=True)
    given.returns(given.op("sum", [given.input(2, 6), given.ints([1])], ReducerAttributes()))
    assert rewritten(given, DecomposeSum())[0].startswith("the operand is int8[2,6]")


def test_the_rules_belong_to_tflm_alone() -> None:
    """XNNPACK has kernels of its own for both; a float model keeps its nodes."""
    rules = [rule.name for item in find_profile("tflm").integer_passes for rule in item.rules]
    assert rules == ["fully_connected_to_conv_2d", "decompose_sum"]
    assert find_profile("litert_xnnpack").integer_passes == ()
    before_float = [rule.name for item in find_profile("tflm").float_passes for rule in item.rules]
    assert not set(rules) & set(before_float)
