"""LSTMs become one int8 kernel with a 16-bit cell: near to float, the same on every runtime."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgec.emit import emit
from edgec.ir import DType, Model, Node, TensorType, Value
from edgec.kernels import KernelSet
from edgec.ops.infer import expect
from edgec.ops.recurrent import CellActivation, UnidirectionalSequenceLSTMAttributes, lstm_operands
from edgec.ops.verify_ir import verify_ir
from edgec.quantize import check_quantized, int8_problems, quantize_int8
from edgec.quantize.lstm import cell_quantization
from tests.quantize.small_graphs import Sketch, calibrated, encode, kinds, output_sqnr, run_stored, samples

STEPS, DEPTH, UNITS = 8, 6, 10


def lstm(clip: float = 0.0, peephole: bool = False, bias: float = 0.2, **settings: object) -> Model:
    sketch = Sketch(3)
    x = sketch.input(1, STEPS, DEPTH)
    states = (TensorType((1, UNITS)), TensorType((1, UNITS)))
    attributes = UnidirectionalSequenceLSTMAttributes(states=states, cell_clip=clip)
    weights = [sketch.weights(UNITS, DEPTH, fan_in=DEPTH) for _ in range(4)]
    recurrent = [sketch.weights(UNITS, UNITS, fan_in=UNITS) for _ in range(4)]
    peepholes = [sketch.bias(UNITS) if peephole else None for _ in range(3)]
    biases = [
        sketch.build.constant((bias * sketch.rng.normal(size=UNITS)).astype(np.float32)) for _ in range(4)
    ]
    operands: list[Value | None] = [x, *weights, *recurrent, *peepholes, *biases]
    y = sketch.build.op("unidirectional_sequence_lstm", operands, replace(attributes, **settings), "y")  # type: ignore[arg-type]
    return sketch.model(y)


def only(model: Model) -> Node:
    (node,) = model.graph
    return node


@pytest.mark.parametrize("kernels", list(KernelSet))
@pytest.mark.parametrize("clip", [0.0, 10.0, 1.0])
def test_int8_is_near_to_float(clip: float, kernels: KernelSet) -> None:
    """35 dB: the result alone has 8 bits (40.8 dB for a Gaussian of four sigma), gates and cell have more."""
    model = lstm(clip)
    made = quantize_int8(model, calibrated(model))
    verify_ir(made)
    assert check_quantized(made) == []
    assert kinds(made) == ["unidirectional_sequence_lstm"]
    (quality,) = output_sqnr(model, made, kernels)
    assert quality >= 35


def test_every_runtime_computes_the_same_integers() -> None:
    """LiteRT's kernels and TFLM's: all 24 operands and five intermediates are understood.

    TFLM rounds each of a gate's two products, LiteRT their sum: 1 step.
    """
    runtime = pytest.importorskip("tflite_micro.python.tflite_micro.runtime")
    model = lstm()
    made = quantize_int8(model, calibrated(model))
    for sample in samples(model, 4, seed=7):
        results = [run_stored(made, sample, kernels)[0] for kernels in KernelSet]
        interpreter = runtime.Interpreter.from_bytes(emit(made).to_bytes())
        interpreter.set_input(encode(made.graph.inputs[0], sample["x"]), 0)
        interpreter.invoke()
        for result in (*results, interpreter.get_output(0)):
            assert np.abs(result.astype(np.int32) - results[-1]).max() <= 1


def test_parameters_are_those_of_the_integer_kernel() -> None:
    """The state shares the result's scale, biases have s_x * s_W, the cell a power of two."""
    model = lstm(clip=10.0)
    node = only(quantize_int8(model, calibrated(model)))
    attributes = expect(node.attributes, UnidirectionalSequenceLSTMAttributes)
    hidden, cell = attributes.states
    assert (hidden.dtype, hidden.quantization) == (DType.INT8, node.result.type.quantization)
    assert cell.dtype is DType.INT16
    assert cell.quantization is not None
    assert cell.quantization.scale == (2.0**-11,)  # ±16 is the least power of two around ±10
    assert [type.dtype for type in attributes.intermediates] == [*[DType.FLOAT32] * 4, DType.INT8]
    for gate in range(4):
        weights, bias = node.operand(1 + gate), node.operand(12 + gate)
        assert weights.dtype is DType.INT8
        assert int(np.abs(weights.constant().astype(np.int32)).max()) == 127
        assert bias.dtype is DType.INT32
        scales = [
            v.type.quantization.scale[0] for v in (node.operand(0), weights, bias) if v.type.quantization
        ]
        np.testing.assert_allclose(scales[0] * scales[1], scales[2], rtol=1e-6)


def test_large_biases_and_gates_of_zeros_stay_within_the_accumulator() -> None:
    """A bias of 1e6 saturates its gate, and no shift of it overflows; an all-zero matrix has a scale."""
    model = lstm(bias=1e6)
    only(model).operand(6).data = np.zeros((UNITS, UNITS), np.float32)
    only(model).operand(3).data = np.full((UNITS, DEPTH), 1e-12, np.float32)
    made = quantize_int8(model, calibrated(model))
    assert check_quantized(made) == []
    (quality,) = output_sqnr(model, made)
    assert quality >= 35


@pytest.mark.parametrize(("clip", "limit"), [(0.0, 16), (1.0, 1), (10.0, 16), (16.0, 16), (20.0, 32)])
def test_the_cell_covers_its_clip(clip: float, limit: float) -> None:
    """A power of two, since the kernel scales the cell by shifts."""
    assert cell_quantization(clip).scale == (limit / 2**15,)


@pytest.mark.parametrize(
    "model",
    [lstm(peephole=True), lstm(fused_activation_function=CellActivation.RELU)],
    ids=["peephole", "relu"],
)
def test_cells_that_the_int8_kernel_does_not_have_are_refused(model: Model) -> None:
    """Peepholes and other activations have no form here; the message says what has."""
    assert lstm_operands(only(model)) == ()
    (problem,) = int8_problems(model)
    assert "the int8 kernel has plain cells with tanh and constant weights" in str(problem).lower()
