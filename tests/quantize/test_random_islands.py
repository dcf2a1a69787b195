"""Random graphs with random islands: whatever a recipe names, the model is sound and near the float one.

Thresholds are far below what one layer costs (int8 30 dB, int16 with int8 weights 40): they find wrong forms,
bridges and scales, which cost everything, not a decibel.
"""

from __future__ import annotations

import numpy as np
import pytest

from edgec.ir import Model, Value
from edgec.kernels import KernelSet
from edgec.ops import Padding
from edgec.ops.movement import ConcatenationAttributes
from edgec.ops.pool import Pool2DAttributes
from edgec.ops.verify_ir import verify_ir
from edgec.quantize import check_quantized, quantize_int8, quantize_int16x8
from tests.quantize.small_graphs import RELU6, Sketch, calibrated, run_float, run_real, samples, sqnr

INT8_DB, INT16_DB = 18, 30
_PADS = np.array([[0, 0], [1, 0], [0, 1], [0, 0]], np.int32)
_POOL = Pool2DAttributes(Padding.SAME, stride_w=1, stride_h=1, filter_width=2, filter_height=2)


def random_graph(rng: np.random.Generator) -> Model:
    """A dozen nodes, each reading what came shortly before; every loose end is an output."""
    sketch = Sketch(int(rng.integers(1 << 30)))
    values = [sketch.input(1, 8, 8, 4)]
    for index in range(int(rng.integers(4, 12))):
        x = values[int(rng.integers(max(0, len(values) - 4), len(values)))]
        values.append(random_node(sketch, rng, x, values, f"n{index}"))
    return sketch.model(*[value for value in values[1:] if not value.uses])


def random_node(sketch: Sketch, rng: np.random.Generator, x: Value, known: list[Value], name: str) -> Value:
    build = sketch.build
    alike = [value for value in known if value.shape == x.shape and value is not x] or [x]
    other = alike[int(rng.integers(len(alike)))]
    match int(rng.integers(12)):
        case 0 | 1:
            return sketch.conv(x, int(rng.integers(2, 9)), fused=RELU6, name=name)
        case 2:
            return sketch.depthwise(x, name=name)
        case 3:
            return build.op("add", [x, other], name=name)
        case 4:
            return build.op("concatenation", [x, other], ConcatenationAttributes(axis=3), name)
        case 5:
            return build.op("pad", [x, build.constant(_PADS)], name=name)
        case 6 | 7 as kind:
            return build.op(("max_pool_2d", "average_pool_2d")[kind - 6], [x], _POOL, name)
        case 8 | 9 as kind:
            return build.op(("logistic", "softmax")[kind - 8], [x], name=name)
        case 10:
            return build.op("maximum", [x, build.constant(0.1)], name=name)
        case _:
            return build.op("mul", [x, build.constant(float(rng.uniform(0.05, 20)))], name=name)


@pytest.mark.parametrize("seed", range(12))
def test_any_choice_of_islands_is_sound(seed: int) -> None:
    """int8 with float and int16 islands, int16 with float islands, on every set of kernels."""
    rng = np.random.default_rng(seed)
    model = random_graph(rng)
    names = [node.results[0].name for node in model.graph]
    floats = [name for name in names if rng.random() < 0.2]
    wide = [name for name in names if name not in floats and rng.random() < 0.25]
    ranges = calibrated(model, 40)
    made = {
        INT8_DB: quantize_int8(model, ranges, float_nodes=floats, int16_nodes=wide),
        INT16_DB: quantize_int16x8(model, ranges, float_nodes=floats),
    }
    seen = samples(model, 4)
    truth = [run_float(model, sample) for sample in seen]
    for least, quantized in made.items():
        verify_ir(quantized)
        assert [item for item in check_quantized(quantized, float_nodes=floats) if item.code[0] == "E"] == []
        for kernels in KernelSet:
            found = [run_real(quantized, sample, kernels) for sample in seen]
            for index in range(len(model.outputs)):
                quality = sqnr([item[index] for item in truth], [item[index] for item in found])
                assert quality > least, (kernels, model.outputs[index].name, floats, wide)
