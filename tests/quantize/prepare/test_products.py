"""Unrolled recurrent layers: one product for the inputs of all steps, its bias inside; values stay."""

from __future__ import annotations

import numpy as np
import pytest

from edgec.ir import Model, Node, Value
from edgec.legalize.profile import find_profile
from edgec.ops.matmul import FullyConnectedAttributes
from edgec.pipeline import integer_pipeline, run_passes
from edgec.quantize import quantize_int8
from edgec.quantize.prepare import products
from edgec.quantize.prepare.products import JoinProducts, Rows, rows_read
from edgec.quantize.prepare.sums import MoveBiasBeforeSum, SkipReshapeBeforeSum
from edgec.rewrite import apply_rules
from tests.quantize.prepare.cases import NONE, refusals
from tests.quantize.small_graphs import Sketch, calibrated, kinds, output_sqnr, run_float, samples

STEPS, DEPTH, UNITS = 4, 6, 8
RULES = (SkipReshapeBeforeSum(), MoveBiasBeforeSum(), JoinProducts())


def row(sketch: Sketch, x: Value, step: int) -> Value:
    """One step's input, as TensorFlow's converter takes it."""
    build = sketch.build
    cut = build.op("slice", [x, build.constant([step, 0, 0]), build.constant([1, 1, x.shape[2]])])
    return build.reshape(cut, (1, x.shape[2]))


def recurrent(
    steps: int = STEPS, *, length: int = STEPS, recurrent_first: bool = False, backwards: bool = False
) -> Model:
    """h = tanh(x W + h R + b), written out like a Keras cell, squeeze and all; `steps` of `length` rows."""
    sketch = Sketch()
    build, x = sketch.build, sketch.input(length, 1, DEPTH)
    w, r = sketch.weights(UNITS, DEPTH, fan_in=DEPTH), sketch.weights(UNITS, UNITS, fan_in=UNITS)
    bias, h = sketch.bias(UNITS), sketch.bias(UNITS)
    h = build.op("tanh", [build.reshape(row(sketch, x, 0), (1, DEPTH))])
    h = build.op("fully_connected", [h, sketch.weights(UNITS, DEPTH, fan_in=DEPTH)])
    for step in reversed(range(steps)) if backwards else range(steps):
        new = build.op("fully_connected", [row(sketch, x, step), w])
        old = build.reshape(build.op("fully_connected", [h, r]), (UNITS,))
        total = build.op("add", [old, new] if recurrent_first else [new, old])
        h = build.op("tanh", [build.op("add", [total, bias])])
    return sketch.model(h)


def weights_read(model: Model, shape: tuple[int, ...]) -> int:
    """How many constants of a shape the nodes of a model read."""
    return len([value for value in model.graph.constants() if value.shape == shape])


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("recurrent_first", [False, True])
def test_a_loop_has_one_product_for_its_inputs(recurrent_first: bool, backwards: bool) -> None:
    """Within a few roundings of float32: one product of all steps with the bias, one for each state."""
    model = recurrent(recurrent_first=recurrent_first, backwards=backwards)
    (sample,) = samples(model, 1)
    before = run_float(model, sample)[0]
    assert apply_rules(model.graph, RULES)
    assert kinds(model).count("fully_connected") == 1 + 1 + STEPS
    assert kinds(model).count("add") == STEPS
    joint = [node for node in model.graph if node.kind == "fully_connected" and node.result.shape[0] == STEPS]
    assert len(joint) == 1 and joint[0].optional_operand(2) is not None
    np.testing.assert_allclose(run_float(model, sample)[0], before, rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("missing", [0, 1], ids=["joined", "not_joined"])
def test_the_work_grows_with_the_steps_alone(missing: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twice as many new steps look at twice as many products, whether or not these want every row."""

    def looks(length: int) -> int:
        model, count = recurrent(length - missing, length=length), 0

        def counting(node: Node) -> Rows | None:
            nonlocal count
            count += 1
            return rows_read(node)

        monkeypatch.setattr(products, "rows_read", counting)
        apply_rules(model.graph, RULES)
        joined = kinds(model).count("fully_connected") == 1 + 1 + length
        assert joined is not bool(missing)
        return count

    assert looks(64) - looks(32) == 2 * (looks(32) - looks(16))


def test_shared_weights_are_one_int8_constant_each() -> None:
    """However many steps read them; no step has a bias or a depthwise convolution of its own."""
    model = run_passes(recurrent(), integer_pipeline(find_profile("litert_xnnpack")), verify_each=True)
    made = quantize_int8(model, calibrated(model))
    assert weights_read(made, (UNITS, UNITS)) == 1
    assert weights_read(made, (UNITS,)) == 1
    assert "depthwise_conv_2d" not in kinds(made)
    (db,) = output_sqnr(recurrent(), made)
    assert db > 28  # as the form with a sum of its own


def test_rows_that_nobody_wants_are_not_computed() -> None:
    """Three of four steps: joining them would compute the fourth for nothing."""
    model = recurrent(steps=STEPS - 1)
    apply_rules(model.graph, RULES)
    rows = [node.result.shape[0] for node in model.graph if node.kind == "fully_connected"]
    assert set(rows) == {1}
    assert "the products with these weights do not read every row" in refusals(model, JoinProducts())


def test_rows_of_another_width_stay_apart() -> None:
    """fully_connected flattens: with weights of two rows' width a slice is no row of the source."""
    sketch = Sketch()
    build, x = sketch.build, sketch.input(2, 2, DEPTH)
    weights = sketch.weights(UNITS, 2 * DEPTH, fan_in=DEPTH)
    parts = [
        build.op("slice", [x, build.constant([i, 0, 0]), build.constant([1, 2, DEPTH])]) for i in range(2)
    ]
    model = sketch.model(*[build.op("fully_connected", [part, weights]) for part in parts])
    reason = "the operand is not made of rows of another value, or the weights are computed"
    assert set(refusals(model, JoinProducts())) == {reason}


def test_products_with_other_biases_stay_apart() -> None:
    """Equal weights are not enough."""
    sketch = Sketch()
    x, weights = sketch.input(2, 1, DEPTH), sketch.weights(UNITS, DEPTH, fan_in=DEPTH)
    made = [
        sketch.build.op("fully_connected", [row(sketch, x, step), weights, sketch.bias(UNITS)])
        for step in range(2)
    ]
    model = sketch.model(*made)
    assert set(refusals(model, JoinProducts())) == {"the products with these weights do not read every row"}


def test_several_rows_a_step_keep_their_shape() -> None:
    """A batch of two with kept dimensions: rows come back as [1, 2, units]."""
    sketch = Sketch()
    build, x = sketch.build, sketch.input(3, 2, DEPTH)
    operands, keep = (
        [sketch.weights(UNITS, DEPTH, fan_in=DEPTH), sketch.bias(UNITS)],
        FullyConnectedAttributes(keep_num_dims=True),
    )
    parts = [
        build.op("slice", [x, build.constant([i, 0, 0]), build.constant([1, 2, DEPTH])]) for i in range(3)
    ]
    model = sketch.model(*[build.op("fully_connected", [part, *operands], keep) for part in parts])
    (sample,) = samples(model, 1)
    before = run_float(model, sample)
    assert apply_rules(model.graph, (JoinProducts(),))
    assert kinds(model).count("fully_connected") == 1
    for old, new in zip(before, run_float(model, sample), strict=True):
        np.testing.assert_allclose(new, old, rtol=1e-6, atol=1e-6)


def test_a_bias_behind_a_residual_sum_moves_into_its_convolution() -> None:
    """add(add(x, conv), c) is add(x, conv with c): one node and one rounding less."""
    sketch = Sketch()
    x = sketch.input(1, 5, 5, 4)
    total = sketch.build.op("add", [x, sketch.conv(x, 4, fused=NONE)])
    model = sketch.model(sketch.build.op("add", [total, sketch.bias(4)]))
    (sample,) = samples(model, 1)
    before = run_float(model, sample)[0]
    assert apply_rules(model.graph, (MoveBiasBeforeSum(),))
    assert kinds(model) == ["conv_2d", "add"]
    np.testing.assert_allclose(run_float(model, sample)[0], before, rtol=1e-5, atol=1e-6)


def test_a_bias_stays_behind_a_sum_that_others_read() -> None:
    """They want it without the bias."""
    sketch = Sketch()
    x = sketch.input(1, 5, 5, 4)
    total = sketch.build.op("add", [x, sketch.conv(x, 4, fused=NONE)])
    model = sketch.model(sketch.build.op("add", [total, sketch.bias(4)]), total)
    reasons = refusals(model, MoveBiasBeforeSum())
    assert set(reasons) == {"not the sum of an unshared sum and a constant for each channel"}


def test_a_bias_stays_behind_a_sum_without_weights() -> None:
    """There is nothing that could take it."""
    sketch = Sketch()
    x, y = sketch.input(1, 5, 5, 4), sketch.input(1, 5, 5, 4, name="y")
    total = sketch.build.op("add", [x, y])
    model = sketch.model(sketch.build.op("add", [total, sketch.bias(4)]))
    assert "no addend is an unshared product with weights" in refusals(model, MoveBiasBeforeSum())


def test_a_reshape_that_broadcasting_needs_stays() -> None:
    """[4, 1] read as [4] stands along the last axis; as [4, 1] it would stand along the first."""
    sketch = Sketch()
    x, y = sketch.input(4, 4), sketch.input(4, 1, name="y")
    model = sketch.model(sketch.build.op("add", [x, sketch.build.reshape(y, (4,))]))
    reason = "no operand is a reshape of the result's shape without leading axes of 1"
    assert refusals(model, SkipReshapeBeforeSum()) == [reason]
