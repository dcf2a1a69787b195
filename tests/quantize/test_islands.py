"""Nodes that a recipe keeps in float or in int16, by name, inside an int8 model."""

from __future__ import annotations

import numpy as np
import pytest

from edgec.diagnostics import CompileError
from edgec.emit import emit
from edgec.ir import DType, Model, Quantization
from edgec.kernels import KernelSet
from edgec.ops.movement import ReshapeAttributes
from edgec.quantize import check_quantized, int8_problems, observed_values, quantize_int8
from edgec.quantize.roles import Choices
from tests.quantize.small_graphs import (
    Sketch,
    calibrated,
    encode,
    kinds,
    output_sqnr,
    run_stored,
    samples,
)

MIN_SQNR_DB = 30
"""As for plain int8 in `test_int8`: islands may not cost anything."""


def chain() -> Model:
    """Two convolutions, a reshape and a dense layer."""
    sketch = Sketch(7)
    first = sketch.conv(sketch.input(1, 8, 8, 3), 8, name="first")
    second = sketch.conv(first, 4, stride=2, name="second")
    shape = sketch.build.constant(np.array([1, 64], np.int32))
    flat = sketch.build.op("reshape", [second, shape], ReshapeAttributes((1, 64)), "flat")
    return sketch.model(sketch.dense(flat, 5, name="y"))


def test_a_named_node_stays_float_between_bridges() -> None:
    """The recipe asked, so no flag is needed; the reshape behind the island belongs to it."""
    model = chain()
    made = quantize_int8(model, calibrated(model, 400), float_nodes=["second"])
    expected = ["conv_2d", "dequantize", "conv_2d", "reshape", "quantize", "fully_connected"]
    assert kinds(made) == expected
    assert check_quantized(made, float_nodes=["second"]) == []
    assert output_sqnr(model, made)[0] > MIN_SQNR_DB


def test_the_verifier_accepts_exactly_the_named_islands() -> None:
    """Without its name, the island, its follower and both bridges are faults; other names change nothing."""
    model = chain()
    made = quantize_int8(model, calibrated(model), float_nodes=["second"])
    nodes = {item.where for item in check_quantized(made)}
    assert nodes == {
        "node 'first' (dequantize)",
        "node 'second' (conv_2d)",
        "node 'flat' (reshape)",
        "node 'flat' (quantize)",
    }
    assert {item.where for item in check_quantized(made, float_nodes=["first"])} == nodes


def test_an_output_node_may_be_an_island() -> None:
    """Its name is on the bridge that the user sees as the output."""
    model = chain()
    made = quantize_int8(model, calibrated(model), float_nodes=["y"])
    assert [port.name for port in made.outputs] == ["y"]
    assert made.graph.outputs[0].name == "y"
    assert kinds(made)[-3:] == ["dequantize", "fully_connected", "quantize"]
    assert check_quantized(made, float_nodes=["y"]) == []


def test_a_result_s_name_means_one_node_a_source_name_all_it_became() -> None:
    """Two nodes from one source node: the source name takes both, the second's result only that one."""
    sketch = Sketch(8)
    first = sketch.conv(sketch.input(1, 4, 4, 3), 4, name="a")
    second = sketch.conv(first, 4, name="b")
    model = sketch.model(second)
    for node in model.graph:
        node.source = "block"
    ranges = calibrated(model)
    both = quantize_int8(model, ranges, float_nodes=["block"])
    assert kinds(both) == ["dequantize", "conv_2d", "conv_2d", "quantize"]
    last = quantize_int8(model, ranges, float_nodes=["b"])
    assert kinds(last) == ["conv_2d", "dequantize", "conv_2d", "quantize"]
    assert check_quantized(last, float_nodes=["b"]) == []


def test_a_name_that_no_node_has_is_an_error_with_the_nearest() -> None:
    """A recipe that misses its node would otherwise do nothing, silently."""
    model = chain()
    (found,) = int8_problems(model, float_nodes=["secnd"])
    assert str(found) == (
        "E0425 node 'secnd': is not the name of a node or of its result. Nearest names: second."
    )
    with pytest.raises(CompileError, match="E0425 node 'wrong'"):
        quantize_int8(model, {}, int16_nodes=["wrong"])


def test_a_named_node_has_int16_activations_between_bridges() -> None:
    """Requantized from and to int8; its bias is int64, and the reshape behind it stays in int16."""
    model = chain()
    made = quantize_int8(model, calibrated(model, 400), int16_nodes=["second"])
    assert kinds(made) == ["conv_2d", "quantize", "conv_2d", "reshape", "quantize", "fully_connected"]
    types = [node.result.dtype for node in made.graph]
    assert types == [DType.INT8, *[DType.INT16] * 3, DType.INT8, DType.INT8]
    island = list(made.graph)[2]
    assert [island.operand(index).dtype for index in (1, 2)] == [DType.INT8, DType.INT64]
    assert check_quantized(made) == []
    for kernels in KernelSet:
        assert output_sqnr(model, made, kernels)[0] > MIN_SQNR_DB, kernels


def difference() -> Model:
    """Two dense layers that nearly cancel: what is left is a hundredth of either. Weights exact in int8."""
    sketch = Sketch(9)
    x = sketch.input(1, 16)
    steps = sketch.rng.integers(-126, 126, (8, 16)).astype(np.float32)
    steps[:, 0] = 127  # the largest of each row decides its scale: 1/32
    near = steps.copy()
    near[:, 3] += 1
    bias = sketch.build.constant(np.zeros(8, np.float32))
    sides = [
        sketch.build.op("fully_connected", [x, sketch.build.constant(w / 32), bias], name=name)
        for w, name in ((steps, "a"), (near, "b"))
    ]
    return sketch.model(sketch.build.op("sub", sides, name="y"))


def test_int16_nodes_save_what_int8_cannot_hold() -> None:
    """y = x[3] / 32 is at most 0.1; a and b reach 40, so that one int8 step of them is 0.3 and y is lost.

    In int16 a step is 0.0012: 20 log10(0.03 / 0.0012 * sqrt(12 / 2)) = 36 dB, less what peaks cost.
    """
    model = difference()
    ranges = calibrated(model, 400)
    assert output_sqnr(model, quantize_int8(model, ranges))[0] < 5
    real = {"input_type": DType.FLOAT32, "output_type": DType.FLOAT32}
    made = quantize_int8(model, ranges, int16_nodes=["a", "b", "y"], **real)
    assert kinds(made) == ["quantize", "fully_connected", "fully_connected", "sub", "dequantize"]
    assert check_quantized(made) == []
    assert output_sqnr(model, made, KernelSet.REFERENCE)[0] > 25


def test_int16_islands_run_on_micro_kernels() -> None:
    """TFLM has the requantize between int8 and int16, both ways, and equals the reference kernels."""
    micro = pytest.importorskip("tflite_micro.python.tflite_micro.runtime", reason="tflite-micro is an extra")
    model = chain()
    made = quantize_int8(model, calibrated(model, 100), int16_nodes=["second"])
    interpreter = micro.Interpreter.from_bytes(emit(made).to_bytes(), arena_size=1 << 20)
    for sample in samples(model, 4, seed=5):
        interpreter.set_input(encode(made.graph.inputs[0], sample["x"]), 0)
        interpreter.invoke()
        (expected,) = run_stored(made, sample, KernelSet.REFERENCE)
        np.testing.assert_array_equal(interpreter.get_output(0), expected)


def test_a_softmax_island_s_range_is_known_without_calibration() -> None:
    """An int8 softmax read by an int16 node spans [0, 1): the kernel's int16 parameters hold all of it."""
    sketch = Sketch(2)
    y = sketch.build.op("softmax", [sketch.dense(sketch.input(1, 6), 4, name="d")], name="s")
    model = sketch.model(sketch.dense(y, 3, name="y"))
    made = quantize_int8(model, calibrated(model), int16_nodes=["y"])
    bridge = next(node for node in made.graph if node.kind == "quantize")
    assert bridge.result.type.quantization == Quantization.per_tensor(1 / 32768)


def test_every_choice_of_islands_finds_its_ranges() -> None:
    """Watching every value once is enough for a search over islands."""
    model = chain()
    watched = [value.name for value in observed_values(model.graph, None)]
    assert watched == ["x", "first", "second", "flat", "y"]
    assert [value.name for value in observed_values(model.graph)] == ["x", "first", "flat", "y"]
    choices = Choices(float_nodes=frozenset(["flat"]))
    assert [value.name for value in observed_values(model.graph, choices)] == watched


def test_islands_need_no_second_calibration() -> None:
    """What plain int8 watches is enough: an unwatched tensor takes its same-scale reader's range.

    `second` feeds a reshape alone, so nobody watched it; as float islands, softmax and reshape need it.
    """
    model = chain()
    ranges = calibrated(model, 400)
    assert "second" not in ranges
    made = quantize_int8(model, ranges, float_nodes=["flat"])
    assert kinds(made) == ["conv_2d", "conv_2d", "dequantize", "reshape", "quantize", "fully_connected"]
    second, flat = (node.result.type.quantization for node in list(made.graph)[1:5:3])
    assert second == flat
    assert output_sqnr(model, made)[0] > MIN_SQNR_DB


def test_a_float_softmax_takes_its_kernel_s_range_where_nobody_watched_it() -> None:
    """[0, 255/256], as its int8 form has; a calibrated range is finer and comes first."""
    sketch = Sketch(2)
    y = sketch.build.op("softmax", [sketch.dense(sketch.input(1, 6), 4, name="d")], name="s")
    model = sketch.model(sketch.dense(y, 3, name="y"))
    ranges = dict(calibrated(model, 100))
    assert "s" not in ranges

    def form() -> Quantization | None:
        made = quantize_int8(model, ranges, float_nodes=["s"])
        return next(node for node in made.graph if node.kind == "quantize").result.type.quantization

    assert form() == Quantization.per_tensor(1 / 256, -128)
    ranges["s"] = (0.0, 0.51)
    assert form() == Quantization.per_tensor(0.002, -128)
