"""`auto` shrinks the ranges whose far values the outputs do not need, and no others."""

from __future__ import annotations

import numpy as np
import pytest

from edgec.calibrate.ranges import collect_ranges
from edgec.ir import Array, Model
from edgec.recipes.alone import is_affordable, round_alone, shrink_ranges
from edgec.recipes.gains import noise_of
from edgec.recipes.recipe import Recipe
from edgec.recipes.workbench import Interface, Workbench
from tests.quantize.small_graphs import Sketch, run_float, samples

HIDDEN = "hidden"
LOUDER = 16.0


def _net(share: float, seed: int = 0) -> Model:
    """Two dense layers; one hidden channel is 16 times as loud, and the second layer reads a share of it."""
    sketch = Sketch(seed)
    hidden = sketch.dense(sketch.input(1, 16), 16, name=HIDDEN)
    model = sketch.model(sketch.dense(hidden, 4, name="logits"))
    first, last = model.graph
    loud, read = first.operand(1).constant().copy(), last.operand(1).constant().copy()
    loud[0] *= LOUDER
    read[:, 0] *= share
    model.graph.set_operand(first, 1, model.graph.constant(loud, "loud"))
    model.graph.set_operand(last, 1, model.graph.constant(read, "read"))
    return model


def _shrunk(model: Model, count: int = 48) -> float:
    """The part that is left of the hidden layer's range."""
    data = samples(model, count)
    ranges = collect_ranges(model, data).by_name
    found = shrink_ranges(model, ranges, data)
    assert {name: found[name] for name in found if name != HIDDEN} == {
        name: ranges[name] for name in ranges if name != HIDDEN
    }, "inputs and outputs keep their ranges"
    low, high = found[HIDDEN]
    assert low / ranges[HIDDEN][0] == pytest.approx(high / ranges[HIDDEN][1])
    return high / ranges[HIDDEN][1]


def test_what_nobody_reads_is_clipped() -> None:
    """The loud channel is as good as unread, so the range may end where the others do: a tenth or so."""
    assert _shrunk(_net(share=1e-4)) <= 0.2


def test_what_the_outputs_need_stays() -> None:
    """The loud channel decides the outputs: a range without its largest values loses more than it gains."""
    assert _shrunk(_net(share=1.0)) >= 0.9


def test_few_samples_clip_nothing() -> None:
    """Seven samples do not say what is rare."""
    assert _shrunk(_net(share=1e-4), count=7) == 1.0


def test_the_order_of_samples_does_not_matter() -> None:
    """Also of which samples are looked at, where there are more than that."""
    model = _net(share=1e-2)
    data = samples(model, 120)
    ranges = collect_ranges(model, data).by_name
    assert shrink_ranges(model, ranges, data) == shrink_ranges(model, ranges, data[::-1])


def test_one_tensor_alone_is_rounded() -> None:
    """What rounding the hidden layer to steps of 2/255 does to the output, NumPy says as well."""
    model = _net(share=1.0)
    (data,) = samples(model, 1)
    (expected,) = run_float(model, data)
    (found,) = run_float(round_alone(model, HIDDEN, (-1.0, 1.0)), data)
    first, last = model.graph
    hidden = data["x"] @ first.operand(1).constant().T + first.operand(2).constant()
    step = 2 / 255
    rounded = np.clip(np.rint(hidden / step), -128, 127) * step  # zero point 0, up to rounding of [-1, 1]
    by_hand = rounded @ last.operand(1).constant().T + last.operand(2).constant()
    assert np.abs(found - expected).max() > 0.5  # the loud channel is clipped
    np.testing.assert_allclose(found, by_hand, atol=2 * step)


def test_auto_beats_min_max_on_samples_not_seen() -> None:
    """By 4 dB and more where min/max is 16 times too wide; int16 has levels to spare and keeps it."""
    model = _net(share=1e-4)
    unseen = samples(model, 64, seed=7)

    def noise(recipe: Recipe) -> float:
        made = Workbench(model, samples(model, 64), Interface()).quantize(recipe)
        return float(noise_of(_run(made, unseen), _run(model, unseen)).mean())

    assert 10 * np.log10(noise(Recipe()) / noise(Recipe(calibrator="auto"))) > 4
    wide = Workbench(model, samples(model, 64), Interface())
    plain, auto = (wide.ranges(Recipe("int16x8", calibrator=name)).by_name for name in ("minmax", "auto"))
    assert plain == auto


def _run(model: Model, data: list[dict[str, Array]]) -> list[Array]:
    from edgec.recipes.evaluate import outputs_of

    return outputs_of(model, data)


def test_large_models_are_not_searched_unasked() -> None:
    """Work is multiply-accumulates by tensors by samples; 256 of them are nothing, a large batch is not."""
    sketch = Sketch(0)
    wide = sketch.conv(sketch.conv(sketch.input(1, 224, 224, 64), 64), 64)
    assert is_affordable(_net(share=1.0), 10_000)
    assert not is_affordable(sketch.model(wide), 100)
