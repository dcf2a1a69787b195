"""Activations that shrink from block to block: nothing leaves XNNPACK, no kernel library gives up."""

from __future__ import annotations

import numpy as np
import pytest

from edgec.emit import emit
from edgec.ir import Array, DType, Graph, Model, Port, Quantization, TensorType, Value
from edgec.kernels import KernelSet, Runner
from edgec.legalize.profile import find_profile
from edgec.ops import ActivationFunctionType, Builder
from edgec.ops.elementwise import AddAttributes
from edgec.ops.movement import ConcatenationAttributes
from edgec.ops.normalization import SoftmaxAttributes
from edgec.ops.reduce import ReducerAttributes
from edgec.pipeline import final_pipeline, integer_pipeline, run_passes
from edgec.quantize import check_quantized, quantize_int8
from edgec.quantize.negligible import settle_negligible
from tests.quantize.small_graphs import (
    RELU6,
    Sketch,
    calibrated,
    kinds,
    output_sqnr,
    run_float,
    run_stored,
    samples,
)

NONE = ActivationFunctionType.NONE
GAIN = 0.05
"""What a block leaves of its operand: eight blocks leave 1e-10."""


def weak_conv(sketch: Sketch, x: Value, channels: int, kernel: int = 1) -> Value:
    y = sketch.conv(x, channels, kernel, fused=NONE)
    assert y.producer is not None
    for index, factor in ((1, GAIN), (2, 0.0)):
        constant = y.producer.operand(index)
        smaller = sketch.build.constant((constant.constant() * factor).astype(np.float32))
        sketch.graph.set_operand(y.producer, index, smaller)
    return y


def block(sketch: Sketch, x: Value) -> Value:
    """Convolution, hard swish, a squeeze-and-excite gate and a residual sum, as in MobileNetV3."""
    build, channels = sketch.build, x.shape[3]
    y = build.op("hard_swish", [weak_conv(sketch, x, channels, 3)])
    pooled = build.op("mean", [y, build.constant([1, 2])], ReducerAttributes(True))
    gate = build.op("add", [weak_conv(sketch, pooled, channels), build.constant(3.0)], AddAttributes(RELU6))
    y = build.op("mul", [y, build.op("mul", [gate, build.constant(1 / 6)])])
    return build.op("add", [weak_conv(sketch, y, channels), build.op("mul", [x, build.constant(GAIN)])])


def shrinking(blocks: int, *, softmax: bool) -> Model:
    sketch = Sketch(5)
    x = sketch.conv(sketch.input(1, 6, 6, 3), 8)
    for _ in range(blocks):
        x = block(sketch, x)
    pooled = sketch.build.op("mean", [x, sketch.build.constant([1, 2])], ReducerAttributes(False))
    scores = sketch.build.op("fully_connected", [pooled, sketch.weights(7, 8, fan_in=8)])
    return sketch.model(sketch.build.op("softmax", [scores], SoftmaxAttributes()) if softmax else scores)


def compiled(model: Model) -> Model:
    """int8 as a target with XNNPACK gets it."""
    profile = find_profile("litert_xnnpack")
    model = run_passes(model, integer_pipeline(profile), verify_each=True)
    made = quantize_int8(model, calibrated(model))
    assert not check_quantized(made)
    return run_passes(made, final_pipeline(profile), verify_each=True)


@pytest.mark.parametrize("softmax", [False, True])
def test_vanishing_activations_stay_inside_the_delegate(softmax: bool) -> None:
    """All of it but the SOFTMAX at its end, which XNNPACK has for no int8 model."""
    found = Runner(emit(compiled(shrinking(8, softmax=softmax))).to_bytes()).partitions()
    assert (found.delegated, found.outside) == (1, ("SOFTMAX",) if softmax else ())


@pytest.mark.parametrize("softmax", [False, True])
@pytest.mark.parametrize("kernels", list(KernelSet))
def test_every_kernel_set_computes_vanishing_activations(kernels: KernelSet, softmax: bool) -> None:
    """The process goes on, and outputs lie within three steps of the float model's, in
    a scale that shows them."""
    model, made = shrinking(8, softmax=softmax), compiled(shrinking(8, softmax=softmax))
    form = made.graph.outputs[0].type.quantization
    assert form is not None
    held_out = samples(model, 4, seed=2)
    real = np.concatenate([run_float(model, sample)[0] for sample in held_out])
    stored = np.concatenate([run_stored(made, sample, kernels)[0] for sample in held_out])
    expected = np.clip(np.rint(real / form.scale[0]) + form.zero_point[0], -128, 127)
    assert np.abs(stored - expected).max() <= 3
    assert softmax or np.ptp(stored.astype(int)) > 100


def test_a_hard_swish_of_almost_nothing_is_a_product() -> None:
    """relu6(x + 3) / 6 is 0.5 to a part of a step, so that x/2 is all that is left."""
    sketch = Sketch()
    x = sketch.build.op("mul", [sketch.input(1, 4, 4, 8), sketch.build.constant(1e-5)])
    made = compiled(sketch.model(sketch.build.op("hard_swish", [x])))
    assert kinds(made) == ["mul", "mul"]


def sum_of(
    kind: str, small: float, *, shape: tuple[int, ...] = (1, 4, 4, 3), constant: bool = False
) -> Model:
    """y = x (shape or a constant) with another operand in a scale this small; y has scale 0.02."""
    graph = Graph()
    build = Builder(graph)

    def typed(value: Value, scale: float) -> Value:
        value.type = TensorType(value.shape, DType.INT8, Quantization.per_tensor(scale, 4))
        return value

    if constant:
        ramp = (np.arange(3, dtype=np.int8) * 20).reshape(3)
        first = typed(build.constant(ramp), 0.02)
    else:
        first = typed(graph.add_input("x", TensorType(shape)), 0.02)
    second = typed(graph.add_input("s", TensorType((1, 4, 4, 3))), small)
    graph.set_outputs([typed(build.op(kind, [second, first] if constant else [first, second]), 0.02)])
    ports = [Port(value.name, value.shape, value.dtype) for value in (*graph.inputs, *graph.outputs)]
    return Model(graph, ports[:-1], ports[-1:])


def run(model: Model, kernels: KernelSet) -> Array:
    rng = np.random.default_rng(0)
    feeds = [rng.integers(-128, 128, value.shape).astype(np.int8) for value in model.graph.inputs]
    return Runner(emit(model).to_bytes(), kernels=kernels).run(feeds)[0].astype(int)


CASES = {
    "of_equal_shape": {"small": 1e-6},
    "that_gives_the_shape": {"small": 1e-6, "shape": (1, 1, 1, 3)},
    "beside_a_constant": {"small": 1e-6, "constant": True},
}


@pytest.mark.parametrize("kernels", [KernelSet.XNNPACK, KernelSet.REFERENCE])
@pytest.mark.parametrize("kind", ["add", "sub", "mul"])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_results_stay_within_a_step(case: dict[str, object], kind: str, kernels: KernelSet) -> None:
    """Of what the plain kernels make of the node as it was, and the delegate takes what comes out."""
    model = sum_of(kind, **case)  # pyright: ignore[reportArgumentType]
    before = run(model, KernelSet.REFERENCE)
    assert settle_negligible(model.graph)
    assert Runner(emit(model).to_bytes()).partitions().outside == ()
    assert np.abs(run(model, kernels) - before).max() <= 1


def joined(small: float) -> Model:
    """Two parts of unlike size in one tensor; the small one is an output as well, in a scale of its own."""
    sketch = Sketch()
    x = sketch.input(1, 4, 4, 8)
    little = sketch.build.op("mul", [sketch.conv(x, 4, fused=NONE), sketch.build.constant(small)])
    parts = [little, sketch.conv(x, 4, fused=NONE)]
    both = sketch.build.op("concatenation", parts, ConcatenationAttributes(axis=3))
    return sketch.model(sketch.conv(both, 3, kernel=1, fused=NONE), little)


@pytest.mark.parametrize(("small", "requantized"), [(2.0**-5, True), (2.0**-20, False)])
def test_a_part_that_its_join_cannot_show_is_zero(small: float, requantized: bool) -> None:
    """XNNPACK has no QUANTIZE that makes less than a step of everything; the part keeps its shape alone."""
    made = compiled(joined(small))
    assert ("quantize" in kinds(made)) is requantized
    assert Runner(emit(made).to_bytes()).partitions().outside == ()
    assert min(output_sqnr(joined(small), made)) > 25


def test_operands_that_count_stay() -> None:
    """At 2^-9 of a step an operand's largest value moves the result."""
    model = sum_of("add", 0.02 * 2.0**-9)
    assert not settle_negligible(model.graph)
    assert kinds(model) == ["add"]
