"""Two models side by side, and copies with other constants."""

from __future__ import annotations

import numpy as np
import pytest

from edgec.emit import emit
from edgec.ir import Array, DType, Value, format_graph
from edgec.repair.compare import compare, twins
from edgec.repair.copying import copy_with
from edgec.repair.watch import Watch
from tests.quantize.small_graphs import run_float, run_real, samples, sqnr
from tests.repair.nets import mixed, quantizer


def test_differences_are_those_of_the_outputs() -> None:
    """Mean by channel, and the SQNR that the outputs themselves have; int8 tensors count as real numbers."""
    model = mixed()
    quantized = quantizer(model)(model)
    drawn = samples(model, 6, seed=4)
    found = compare(model, quantized, drawn, ["logits"])["logits"]
    expected = [run_float(model, sample)[0] for sample in drawn]
    actual = [run_real(quantized, sample)[0] for sample in drawn]
    assert found.sqnr == pytest.approx(sqnr(expected, actual), abs=0.01)
    apart = np.mean([e - a for e, a in zip(expected, actual, strict=True)], axis=0)[0]
    np.testing.assert_allclose(found.mean, apart, rtol=1e-3, atol=1e-6)


def test_a_model_is_equal_to_itself() -> None:
    """No difference, and inner values can be compared by name."""
    model = mixed()
    found = compare(model, model, samples(model, 2), ["stem", "x"])
    assert found["stem"].noise == 0 and np.all(found["stem"].mean == 0)
    assert 0 < found["stem"].passing.mean() < 1
    assert list(found) == ["stem", "x"]


def test_twins_are_found_behind_names_that_bridges_took() -> None:
    """Nodes of a kind keep their order; here the int8 model calls its convolutions by other names."""
    model = mixed()
    quantized = quantizer(model)(model)
    for node in quantized.graph:
        if node.kind == "conv_2d":
            quantized.graph.rename(node.result, f"{node.result.name}/renamed")
    pairs = twins(model, quantized, ["body", "stem", "x"])
    assert [(a.name, b.name) for a, b in pairs] == [
        ("body", "body/renamed"),
        ("stem", "stem/renamed"),
        ("x", "x"),
    ]


def test_a_copy_reads_other_constants_and_leaves_the_rest() -> None:
    """The node given reads new data; the model it came from does not notice."""
    model = mixed()
    before = emit(model).to_bytes()
    stem = next(iter(model.graph))
    copied = copy_with(model, {(stem, 2): np.full(8, 9.0, np.float32)})
    assert emit(model).to_bytes() == before
    assert next(iter(copied.graph)).operand(2).constant().tolist() == [9.0] * 8
    assert next(iter(copied.graph)).operand(1) is stem.operand(1)
    assert format_graph(copy_with(model).graph) == format_graph(model.graph)


@pytest.mark.parametrize("input_type", [DType.INT8, DType.UINT8, DType.FLOAT32])
def test_a_watch_feeds_real_numbers_to_any_input_type(input_type: DType) -> None:
    """And shows what the input tensor holds: within half a step of the sample."""
    model = mixed()
    quantized = quantizer(model, input_type=input_type)(model)
    (x,) = quantized.graph.inputs
    (sample,) = samples(model, 1)
    seen: dict[Value, Array] = {}
    Watch(quantized, [x]).show(sample, lambda value, array: seen.update({value: np.array(array)}))
    step = x.type.quantization.scale[0] if x.type.quantization is not None else 0.0
    inside = np.abs(sample["x"]) < 3.0
    assert np.abs(seen[x] - sample["x"])[inside].max() <= step / 2 * 1.001
