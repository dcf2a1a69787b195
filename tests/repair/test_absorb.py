"""Absorption: constant parts of channels move into the next biases, and the function stays."""

from __future__ import annotations

import numpy as np
import pytest

from edgec.calibrate.ranges import collect_ranges
from edgec.emit import emit
from edgec.ir import Model
from edgec.ops import ActivationFunctionType, Padding
from edgec.ops.pool import Pool2DAttributes
from edgec.quantize import quantize_int8
from edgec.repair.absorb import LEAST_SAMPLES, absorb_high_biases
from edgec.repair.channels import collect_channel_statistics
from edgec.repair.outcome import RepairOutcome
from tests.quantize.small_graphs import RELU, RELU6, Sketch, output_sqnr, samples
from tests.repair.nets import NONE, largest_difference


def shifted(
    fused: ActivationFunctionType = RELU,
    padding: Padding = Padding.VALID,
    pooled: bool = False,
    offset: float = 20.0,
) -> Model:
    """A convolution, half of whose channels lie around `offset`, and what reads them."""
    sketch = Sketch()
    x = sketch.conv(sketch.input(1, 8, 8, 3), 8, fused=fused, name="first")
    assert x.producer is not None
    bias = x.producer.operand(2)
    bias.data = bias.constant() + np.array([0, offset] * 4, np.float32)
    if pooled:
        window = Pool2DAttributes(stride_w=2, stride_h=2, filter_width=2, filter_height=2)
        x = sketch.build.op("max_pool_2d", [x], window)
        return sketch.model(sketch.dense(sketch.build.reshape(x, (1, 128)), 4, name="last"))
    return sketch.model(sketch.conv(x, 4, fused=NONE, padding=padding, name="last"))


def absorbed(model: Model) -> RepairOutcome:
    return absorb_high_biases(model, collect_channel_statistics(model, samples(model, 64)))


def biases(model: Model) -> list[float]:
    return next(iter(model.graph)).operand(2).constant().tolist()


@pytest.mark.parametrize("fused", [RELU, NONE])
@pytest.mark.parametrize("pooled", [False, True])
def test_the_function_stays_and_int8_gains(fused: ActivationFunctionType, pooled: bool) -> None:
    """Channels around 20 that vary by ±3 cost most levels, of which a relu gives back somewhat fewer.

    Its channels keep a reserve below the least value seen. The model given stays as it is.
    """
    model = shifted(fused, pooled=pooled)
    before = emit(model).to_bytes()
    outcome = absorbed(model)
    assert emit(model).to_bytes() == before
    assert largest_difference(model, outcome.model, seed=99) < 1e-5
    drawn = samples(model, 64)
    quantized = [quantize_int8(m, collect_ranges(m, drawn)) for m in (model, outcome.model)]
    (plain,), (repaired,) = (output_sqnr(model, q) for q in quantized)
    least = 6 if fused is NONE else 4
    assert repaired > plain + least
    (gain,) = outcome.gains
    assert gain.node == "first" and gain.after > gain.before + least


def test_a_relu_gives_what_it_never_cuts() -> None:
    """Channels that reach zero keep their biases bit by bit; others give less than the least value seen."""
    model = shifted()
    old, new = biases(model), biases(absorbed(model).model)
    assert old[::2] == new[::2]
    assert all(n < o - 10 for o, n in zip(old[1::2], new[1::2], strict=True))
    low = collect_channel_statistics(model, samples(model, 64))["first"].low
    assert np.all(np.subtract(old, new) < np.where(low > 0, low, 1e-9))


def test_a_few_samples_prove_no_least_value() -> None:
    """A relu's channel may go far below what they show, so it keeps its offset; without relu all is exact."""
    for fused, expected in ((RELU, 0), (NONE, 1)):
        model = shifted(fused)
        few = collect_channel_statistics(model, samples(model, LEAST_SAMPLES - 1))
        assert len(absorb_high_biases(model, few).gains) == expected
        assert largest_difference(model, absorb_high_biases(model, few).model, seed=99) < 1e-5


@pytest.mark.parametrize(
    "model",
    [
        shifted(padding=Padding.SAME),  # zeros at the border would have to be -c
        shifted(RELU6, offset=3.0),  # the clamp would have to move, too
        shifted(offset=0.0),  # every channel reaches zero: nothing is constant
    ],
    ids=["padding", "relu6", "nothing"],
)
def test_nothing_moves_where_it_would_not_be_exact(model: Model) -> None:
    """The constants are the same objects."""
    outcome = absorbed(model)
    assert outcome.gains == ()
    for old, new in zip(model.graph, outcome.model.graph, strict=True):
        assert old.operand(2) is new.operand(2)


def test_another_reader_or_an_output_keeps_the_offset() -> None:
    """An add would need its other operand moved; the user reads the output's numbers."""
    sketch = Sketch()
    x = sketch.conv(sketch.input(1, 8, 8, 3), 8, fused=NONE, name="first")
    last = sketch.conv(x, 8, kernel=1, fused=NONE, padding=Padding.VALID, name="last")
    joined = sketch.model(sketch.build.op("add", [x, last]))
    assert absorbed(joined).gains == ()
    read = sketch.model(last, x)
    assert absorbed(read).gains == ()


def test_a_mean_over_channels_is_no_way_for_offsets() -> None:
    """It mixes channels; a mean over the picture keeps them."""
    found: list[int] = []
    for axes in ([1, 2], [3]):
        sketch = Sketch()
        x = sketch.conv(sketch.input(1, 8, 8, 3), 8, fused=NONE, name="first")
        assert x.producer is not None
        x.producer.operand(2).data = np.arange(8, dtype=np.float32) * 5
        mean = sketch.build.op("mean", [x, sketch.build.constant(np.array(axes, np.int32))])
        flat = sketch.build.reshape(mean, (1, mean.type.size))
        model = sketch.model(sketch.dense(flat, 4, name="last"))
        outcome = absorbed(model)
        found.append(len(outcome.gains))
        assert largest_difference(model, outcome.model, seed=99) < 1e-5
    assert found == [1, 0]
