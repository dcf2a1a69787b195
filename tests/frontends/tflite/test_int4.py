"""Files with int4 weights: scales on the tensor, or in blocks in a tensor of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flatbuffers
import numpy as np
import pytest

import edgec
from edgec.diagnostics import CompileError
from edgec.emit import emit
from edgec.emit.options import schema
from edgec.ir import Array, DType, Graph, Model, Port, Quantization, TensorType, Value
from edgec.kernels import Runner
from edgec.ops import Builder
from edgec.ops.matmul import FullyConnectedAttributes
from tests.support.tflite_files import imported

BLOCK_SCALES = (0.5, 0.25, 1.0, 2.0, 0.125, 0.0625)
STORED = np.resize(np.arange(-7, 8, dtype=np.int8), (3, 64))


def int4_file(block_size: int = 0) -> bytes:
    """A fully_connected with int4 weights `[3, 64]`, as edgec writes it."""
    graph = Graph()
    x = graph.add_input("x", TensorType((1, 64)))
    scales = BLOCK_SCALES[: 3 * 64 // block_size if block_size else 3]
    form = Quantization(scales, (0,) * len(scales), block_size=block_size)
    stored = Value("w", TensorType((3, 64), DType.INT4, form), STORED)
    bias = graph.constant(np.zeros(3, np.float32))
    attributes = FullyConnectedAttributes(asymmetric_quantize_inputs=True)
    node = Builder(graph).node("fully_connected", [x, stored, bias], attributes)
    graph.set_outputs(node.results)
    ports = [[Port(v.name, v.shape, v.dtype) for v in values] for values in (graph.inputs, graph.outputs)]
    return emit(Model(graph, *ports)).to_bytes()


def test_int4_weights_are_unpacked() -> None:
    """One number an element, the type and the parameters kept."""
    weights = imported(int4_file()).graph.last.operand(1)
    assert weights.type == TensorType((3, 64), DType.INT4, Quantization((0.5, 0.25, 1.0), (0, 0, 0)))
    np.testing.assert_array_equal(weights.constant(), STORED)


def test_blocks_are_read_with_their_scales() -> None:
    """32 neighbours of a row share a scale; row by row, as float16 in the file."""
    weights = imported(int4_file(block_size=32)).graph.last.operand(1)
    form = Quantization(BLOCK_SCALES, (0,) * 6, block_size=32)
    assert weights.type == TensorType((3, 64), DType.INT4, form)
    np.testing.assert_array_equal(weights.constant(), STORED)


@pytest.mark.parametrize("block_size", [0, 32, 64])
def test_a_file_of_int4_weights_comes_out_as_it_went_in(block_size: int) -> None:
    """Compiled again it is the same bytes, so the same numbers: for blocks, those of scale * integer.

    XNNPACK rounds a row of activations to 8 bits: 1 % of the largest result covers that.
    """
    content = int4_file(block_size)
    made = edgec.compile(content, verify=False)
    assert made.tflite == content
    scales = np.repeat(np.asarray(BLOCK_SCALES[: 3 * 64 // (block_size or 64)]), block_size or 64)
    x = np.random.default_rng(0).normal(size=(1, 64)).astype(np.float32)
    wanted = x @ (STORED * scales.reshape(3, 64)).T
    (found,) = Runner(made.tflite).run([x])
    np.testing.assert_allclose(found, wanted, atol=0.01 * np.abs(wanted).max())


def _no_scales(weights: Any, scales: Any) -> None:
    weights.quantization.details.scales = 99


def _zero_points(weights: Any, scales: Any) -> None:
    weights.quantization.details.zeroPoints = weights.quantization.details.scales


def _odd_size(weights: Any, scales: Any) -> None:
    weights.quantization.details.blockSize = 48


def _other_size(weights: Any, scales: Any) -> None:
    weights.quantization.details.blockSize = 16


def _float32_scales(weights: Any, scales: Any) -> None:
    scales.type = schema().TensorType.FLOAT32


def _computed_scales(weights: Any, scales: Any) -> None:
    scales.buffer = 0


def _custom(weights: Any, scales: Any) -> None:
    weights.quantization.details = schema().CustomQuantizationT()
    weights.quantization.detailsType = schema().QuantizationDetails.CustomQuantization


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (_no_scales, "is quantized in blocks whose scales are tensor 99 of 5"),
        (_zero_points, "is quantized in blocks with zero points, which this compiler does not take"),
        (_odd_size, r"has shape \(3, 64\), which does not divide into blocks of 48"),
        (_other_size, r"is quantized in blocks of 16 with scales \[3, 2\], not \(3, 4\)"),
        (_float32_scales, "is quantized in blocks whose scales are no float16 constant"),
        (_computed_scales, "is quantized in blocks whose scales are no float16 constant"),
        (_custom, "is quantized by CustomQuantization, which this compiler does not take"),
    ],
)
def test_blocks_that_do_not_fit_are_refused_in_words(damage: Callable[..., None], said: str) -> None:
    """A damaged or unknown form is named; it never becomes plain integers without their scales."""
    with pytest.raises(CompileError, match=f"tensor 'w' {said}|'w' {said}"):
        imported(_edited(int4_file(block_size=32), damage))


def test_a_scale_that_is_no_number_is_refused() -> None:
    """0 or NaN would make every result 0 or NaN."""
    content = int4_file(block_size=32)
    scales = np.asarray(BLOCK_SCALES, np.float16)
    for wrong in (0.0, np.nan):
        broken: Array = scales.copy()
        broken[2] = wrong
        edited = content.replace(scales.tobytes(), broken.tobytes())
        assert edited != content
        with pytest.raises(CompileError, match="with a scale that is no positive number"):
            imported(edited)


def _edited(content: bytes, damage: Callable[..., None]) -> bytes:
    """Return the file with its weights' tensor and the scales' tensor damaged."""
    model = schema().ModelT.InitFromPackedBuf(content, 0)
    tensors = model.subgraphs[0].tensors
    weights = next(tensor for tensor in tensors if tensor.type == schema().TensorType.INT4)
    damage(weights, tensors[weights.quantization.details.scales])
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())
