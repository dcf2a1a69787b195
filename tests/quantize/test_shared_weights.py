"""Weights that several nodes read: one constant with scales that every reader can hold."""

from __future__ import annotations

import numpy as np

from edgec.ir import Model, Value
from edgec.quantize import check_quantized, quantize_int8
from tests.quantize.small_graphs import Sketch, calibrated


def two_readers(gain: float, bias: float = 0.0) -> Model:
    """Two products with the same weights, whose first channel is dead, from inputs of unlike size."""
    sketch = Sketch()
    data = sketch.rng.normal(size=(4, 6)).astype(np.float32)
    data[0] = 0
    weights = sketch.build.constant(data)
    shift = np.zeros(4, np.float32)
    shift[0] = bias
    results: list[Value] = []
    for index, factor in enumerate((1.0, gain)):
        x = sketch.build.op("mul", [sketch.input(1, 6, name=f"x{index}"), sketch.build.constant(factor)])
        operands = [x, weights, sketch.build.constant(shift)]
        results.append(sketch.build.op("fully_connected", operands, name=f"y{index}"))
    return sketch.model(*results)


def weight_constants(model: Model) -> list[Value]:
    return [value for value in model.graph.constants() if value.shape == (4, 6)]


def test_readers_with_other_scales_around_them_share_one_constant() -> None:
    """A dead channel's scale depends on what stands around its reader; the widest serves both."""
    model = two_readers(gain=1e-3, bias=0.5)
    made = quantize_int8(model, calibrated(model))
    assert len(weight_constants(made)) == 1
    assert not check_quantized(made)


def test_a_reader_beyond_whose_limits_the_shared_scales_are_has_its_own() -> None:
    """Scales around the readers are 2^40 apart: what one needs for its dead channel overflows the other."""
    model = two_readers(gain=2.0**-40)
    ranges = dict(calibrated(model))
    ranges["y0"], ranges["y1"] = (-1.0, 1.0), (-1.0, 1.0)
    made = quantize_int8(model, ranges)
    assert len(weight_constants(made)) == 2
    assert not check_quantized(made)
