"""Values inside a form that stands for one layer keep their whole range, whatever the observer."""

from __future__ import annotations

from edgec.calibrate.inner import inner_values
from edgec.calibrate.ranges import choose_ranges, collect_histograms
from edgec.quantize.prepare.gated import GateWeights
from edgec.rewrite import apply_rules
from tests.quantize.prepare.cases import NONE, network
from tests.quantize.prepare.test_gated import squeezed
from tests.quantize.small_graphs import Sketch, samples


def test_no_observer_clips_inside_a_gated_convolution() -> None:
    """The matrix stands for weights, and its product with the image is in units of each channel."""
    model = network(squeezed(), size=24)
    apply_rules(model.graph, (GateWeights(),))
    (product,) = [node for node in model.graph if node.kind == "batch_matmul"]
    names = {product.operand(1).name, product.result.name}
    assert inner_values(model.graph) == names
    found = collect_histograms(model, samples(model))
    clipped, whole = choose_ranges(found, "percentile"), choose_ranges(found, "minmax")
    assert {name for name in names if clipped[name] != whole[name]} == set()
    assert any(clipped[name] != whole[name] for name in found)


def test_other_layers_are_left_to_observers() -> None:
    """A convolution's result, and a product of two tensors of the graph."""
    sketch = Sketch()
    x = sketch.conv(sketch.input(1, 4, 4, 3), 4, fused=NONE)
    model = sketch.model(sketch.build.op("batch_matmul", [x, x]))
    assert inner_values(model.graph) == frozenset()
