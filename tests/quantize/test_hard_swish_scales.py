"""HARD_SWISH cuts ratios of scales to 16 bits: with scales of 8 bits every kernel library cuts them alike."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edgec.ir import Quantization
from edgec.quantize.parameters import from_range
from edgec.quantize.roles import assign_roles
from edgec.quantize.scales import solve_scales
from tests.quantize.small_graphs import Sketch

RANGES = [(-3.7, 5.1), (-0.4, 0.9), (-11.0, 1e3), (0.0, 6.0), (-1e-3, 2e-3)]


def solved(x_range: tuple[float, float], y_range: tuple[float, float]) -> dict[str, Quantization]:
    """Scales in x → hard_swish → y → square → z → tanh, by name."""
    sketch = Sketch()
    x = sketch.input(1, 8)
    y = sketch.build.op("hard_swish", [x], name="y")
    z = sketch.build.op("mul", [y, y], name="z")
    model = sketch.model(sketch.build.op("tanh", [z], name="last"))
    ranges = {"x": x_range, "y": y_range, "z": y_range, "last": (-1.0, 1.0)}
    scales = solve_scales(model.graph, assign_roles(model.graph), ranges)
    found = {value.name: scales.of(value) for value in (x, y, z)}
    return {name: quantization for name, quantization in found.items() if quantization is not None}


@pytest.mark.parametrize("found", RANGES)
def test_scales_around_it_have_eight_significant_bits(found: tuple[float, float]) -> None:
    """Rounded up, by less than 1 part in 128, so that nothing saturates; zero stays exact where it was."""
    made = solved(found, found)
    exact = from_range(*found)
    for name in ("x", "y"):
        (scale,), (plain,) = made[name].scale, exact.scale
        mantissa, _ = math.frexp(scale)
        assert (mantissa * 256).is_integer(), name
        assert plain <= scale < plain * (1 + 1 / 128), name
        assert made[name].zero_point == exact.zero_point, name


def test_other_tensors_keep_their_scale() -> None:
    """The product behind it is made by another kernel, whose multipliers have 31 bits."""
    made = solved((-3.7, 5.1), (-0.4, 5.1))
    assert made["z"] == from_range(-0.4, 5.1)


def test_a_scale_of_eight_bits_stays() -> None:
    """1/32 is its own next number of eight bits."""
    made = solved((0.0, 255 / 32), (0.0, 255 / 32))
    assert made["x"].scale == made["y"].scale == (1 / 32,)


def cut(ratio: float) -> tuple[int, int]:
    """A ratio as HARD_SWISH's kernels keep it: 31 bits and an exponent, then rounded to 16 bits.

    QuantizeMultiplier and DownScaleInt32ToInt16Multiplier of tensorflow/lite/kernels.
    """
    mantissa, exponent = math.frexp(ratio)
    wide = round(mantissa * (1 << 31))
    return min((wide + (1 << 15)) >> 16, 32767), exponent


def in_single(x: float, y: float) -> tuple[tuple[int, int], tuple[int, int]]:
    """Both ratios as LiteRT computes them: the input's scale / 128 over the output's, and over 3 / 32768."""
    fine = np.float32(1 / 128) * np.float32(x)
    return cut(float(fine / np.float32(y))), cut(float(fine / np.float32(3 / 32768)))


def in_double(x: float, y: float) -> tuple[tuple[int, int], tuple[int, int]]:
    """The same as TFLM computes them, from the float32 scales of the file."""
    fine = float(np.float32(x)) / 128
    return cut(fine / float(np.float32(y))), cut(fine / (3 / 32768))


def test_single_and_double_precision_cut_alike() -> None:
    """All 128 * 128 pairs of mantissas; of scales as ranges give them, some pairs are cut apart.

    The exponents play no part: both kinds of float are exact under powers of two.
    """
    scales = [mantissa / 256 for mantissa in range(128, 256)]
    assert all(in_single(x, y) == in_double(x, y) for x in scales for y in scales)
    random = np.random.default_rng(0)
    exact = random.uniform(0.5, 1, (100_000, 2)).astype(np.float32).astype(float)
    assert any(in_single(x, y) != in_double(x, y) for x, y in exact)
