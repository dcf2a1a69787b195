"""What every compile says of its samples at first sight."""

from __future__ import annotations

import numpy as np
import pytest

from edgec.calibrate.data import open_samples
from edgec.calibrate.glance import glance
from edgec.calibrate.other_scale import suspicions_that_matter
from edgec.calibrate.ranges import collect_histograms
from edgec.calibrate.samples import Array, InputSpec
from edgec.ir import DType, Graph, Model, Port, TensorType
from edgec.ops import Builder
from edgec.ops.conv import Conv2DAttributes

SPEC = InputSpec("image", (1, 16, 16, 3), np.dtype(np.float32), "nhwc")


def scenes(count: int) -> Array:
    return np.random.default_rng(0).uniform(0, 1, (count, 16, 16, 3)).astype(np.float32)


def network(bias: float) -> Model:
    """conv → relu → conv; the bias of the first is as large as said, against answers of about one."""
    random = np.random.default_rng(1)
    graph = Graph()
    build = Builder(graph)
    value = graph.add_input("image", TensorType(SPEC.shape))
    for index, size in enumerate((bias, 0.0)):
        weights = build.constant(random.normal(0, 0.4, (8, 3, 3, 8 if index else 3)).astype(np.float32))
        offsets = build.constant(random.normal(0, 1, 8).astype(np.float32) * np.float32(size))
        value = build.op("conv_2d", [value, weights, offsets], Conv2DAttributes(), name=f"conv{index}")
        value = build.op("relu", [value])
    graph.set_outputs([value])
    return Model(graph, [Port("image", SPEC.shape, DType.FLOAT32)], [Port("y", value.shape, value.dtype)])


def said(data: Array) -> list[str]:
    return [item.code for item in glance(network(1.0), open_samples(data, [SPEC]))]


@pytest.mark.parametrize(
    ("data", "codes"),
    [
        (scenes(16), []),
        (scenes(15), ["W0314"]),
        (np.full((20, 16, 16, 3), 0.5, np.float32), ["W0315"]),
        (np.tile(scenes(2), (10, 1, 1, 1)), ["W0316"]),
        (scenes(16) * 255, ["W0312"]),
    ],
    ids=["good", "few", "one value all over", "two scenes ten times", "not divided by 255"],
)
def test_what_is_plainly_wrong_is_said(data: Array, codes: list[str]) -> None:
    assert said(data) == codes


def test_a_model_that_answers_alike_in_both_scales_is_not_suspected() -> None:
    """Without biases the outputs are those of 0..1 times 255: no class changes, so the scale is no fault."""
    pixels = [{"image": image[None] * 255} for image in scenes(8)]
    with_bias, without = network(1.0), network(0.0)
    assert len(suspicions_that_matter(with_bias, collect_histograms(with_bias, pixels), pixels)) == 1
    assert suspicions_that_matter(without, collect_histograms(without, pixels), pixels) == []
