"""The file we write is a sound TFLite flatbuffer: aligned, minimal, deterministic, readable by LiteRT."""

from __future__ import annotations

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from edgec.emit import emit
from edgec.emit.flatbuffer import ALIGNMENT
from edgec.ir import DType, Graph, Model, Port, Quantization, TensorType, Value
from edgec.kernels import Runner
from edgec.ops import Builder
from edgec.ops.matmul import FullyConnectedAttributes


def dense_model(layers: int = 3, units: int = 5) -> Model:
    """Return a chain of fully_connected layers whose weights have sizes that are no multiple of 16."""
    graph = Graph()
    build = Builder(graph)
    generator = np.random.default_rng(0)
    value = graph.add_input("pixels", TensorType((1, units)))
    for _ in range(layers):
        weights = build.constant(generator.standard_normal((units, units)).astype(np.float32))
        bias = build.constant(generator.standard_normal(units).astype(np.float32))
        value = build.op("fully_connected", [value, weights, bias], FullyConnectedAttributes())
    graph.set_outputs([value])
    ports = [Port("pixels", (1, units), DType.FLOAT32)], [Port("scores", (1, units), DType.FLOAT32)]
    return Model(graph, *ports)


def parse(file: bytes) -> schema.ModelT:
    return schema.ModelT.InitFromObj(schema.Model.GetRootAs(file, 0))


def data_positions(file: bytes) -> list[int]:
    """Return where in the file the data of each non-empty buffer starts."""
    model = schema.Model.GetRootAs(file, 0)
    tables = [model.Buffers(index)._tab for index in range(model.BuffersLength())]
    return [table.Vector(offset) for table in tables if (offset := table.Offset(4))]


def test_data_is_aligned_and_intact() -> None:
    """The schema demands 16-byte alignment (force_align); the bytes are the constants' own."""
    model = dense_model()
    file = emit(model).to_bytes()
    positions = data_positions(file)
    constants = model.graph.constants()
    assert len(positions) == len(constants)
    assert all(position % ALIGNMENT == 0 for position in positions)
    for position, value in zip(positions, constants, strict=True):
        assert file[position : position + value.constant().nbytes] == value.constant().tobytes()


def test_first_buffer_is_empty_and_no_tensor_is_orphaned() -> None:
    """Buffer 0 means "no data"; TFLite Micro allocates tensors that nothing uses, so there are none."""
    parsed = parse(emit(dense_model()).to_bytes())
    assert parsed.buffers[0].data is None
    graph = parsed.subgraphs[0]
    used = {int(i) for op in graph.operators for i in (*op.inputs, *op.outputs)} | {
        int(i) for i in graph.inputs
    }
    assert used == set(range(len(graph.tensors)))


def test_same_model_gives_the_same_bytes() -> None:
    assert emit(dense_model()).to_bytes() == emit(dense_model()).to_bytes()


def test_size_is_the_length_of_the_chunks() -> None:
    flat = emit(dense_model())
    assert flat.size == len(flat.to_bytes()) == sum(len(chunk) for chunk in flat.chunks())


def test_one_array_is_stored_once() -> None:
    """Two constants with the same data object share a buffer, so tied weights cost their size once."""
    graph = Graph()
    build = Builder(graph)
    x = graph.add_input("x", TensorType((1, 4)))
    shared = np.ones((4, 4), np.float32)
    y = build.op("fully_connected", [x, build.constant(shared), None])
    z = build.op("fully_connected", [y, build.constant(shared), None])
    graph.set_outputs([z])
    assert len(data_positions(emit(Model(graph)).to_bytes())) == 1


def test_signature_has_the_source_names() -> None:
    interpreter = Interpreter(model_content=emit(dense_model()).to_bytes())
    assert interpreter.get_signature_list() == {
        "serving_default": {"inputs": ["pixels"], "outputs": ["scores"]}
    }


@pytest.mark.parametrize("external", [False, True])
def test_both_forms_run_alike(external: bool) -> None:
    """The form of files over 2 GB (data named by offset) computes what the inline form computes."""
    model = dense_model()
    x = np.linspace(-1, 1, 5, dtype=np.float32).reshape(1, 5)
    expected = x
    for weights, bias in zip(*[iter(model.graph.constants())] * 2, strict=True):
        expected = expected @ weights.constant().T + bias.constant()
    (result,) = Runner(emit(model, external=external).to_bytes()).run([x])
    np.testing.assert_allclose(result, expected, rtol=1e-5)


def test_external_data_lies_where_the_offsets_say() -> None:
    file = emit(dense_model(), external=True).to_bytes()
    model = dense_model()
    parsed = parse(file)
    for buffer, value in zip(parsed.buffers[1:], model.graph.constants(), strict=True):
        assert buffer.offset % ALIGNMENT == 0
        assert file[buffer.offset : buffer.offset + buffer.size] == value.constant().tobytes()


def test_quantization_parameters_are_written_as_float32() -> None:
    """1/256 and a per-axis scale come back bit by bit."""
    graph = Graph()
    x = graph.add_input("x", TensorType((1, 4), DType.INT8, Quantization.per_tensor(1 / 256, -128)))
    weights = Value(
        "w",
        TensorType((2, 4), DType.INT8, Quantization((0.5, 0.25), (0, 0), 0)),
        np.ones((2, 4), np.int8),
    )
    y = Builder(graph).op("fully_connected", [x, weights, None])
    graph.set_outputs([y])
    tensors = {t.name.decode(): t for t in parse(emit(Model(graph)).to_bytes()).subgraphs[0].tensors}
    assert tensors["x"].quantization.scale.tolist() == [1 / 256]
    assert tensors["x"].quantization.zeroPoint.tolist() == [-128]
    assert tensors["w"].quantization.scale.tolist() == [0.5, 0.25]
    assert tensors["w"].quantization.quantizedDimension == 0


def int4_model(form: Quantization, weights: np.ndarray) -> Model:
    """A fully_connected with float activations and int4 weights."""
    graph = Graph()
    x = graph.add_input("x", TensorType((1, weights.shape[1])))
    stored = Value("w", TensorType(weights.shape, DType.INT4, form), weights)
    (y,) = Builder(graph).node("fully_connected", [x, stored, None], FullyConnectedAttributes()).results
    graph.set_outputs([y])
    return Model(graph, [Port("x", x.shape, x.dtype)], [Port("y", y.shape, y.dtype)])


def test_int4_data_is_packed_two_a_byte() -> None:
    """The first of a pair in the low half; the tensor keeps its shape, the operator asks for version 12."""
    weights = np.array([[1, -2, 3], [-4, 5, -6]], np.int8)
    parsed = parse(emit(int4_model(Quantization((0.5, 0.25), (0, 0)), weights)).to_bytes())
    tensor = next(tensor for tensor in parsed.subgraphs[0].tensors if tensor.name == b"w")
    assert tensor.type == schema.TensorType.INT4
    assert tensor.shape.tolist() == [2, 3]
    assert bytes(parsed.buffers[tensor.buffer].data) == bytes([0xE1, 0xC3, 0xA5])
    assert parsed.operatorCodes[0].version == 12


def test_one_array_may_be_stored_in_both_widths() -> None:
    """The same integers as int4 and as int8 are different bytes, so different buffers."""
    weights = np.full((2, 4), 3, np.int8)
    model = int4_model(Quantization((0.5, 0.25), (0, 0)), weights)
    wide = Value("wide", TensorType((2, 4), DType.INT8, Quantization((0.5, 0.25), (0, 0))), weights)
    x = model.graph.inputs[0]
    (z,) = Builder(model.graph).node("fully_connected", [x, wide, None], FullyConnectedAttributes()).results
    model.graph.set_outputs([*model.graph.outputs, z])
    parsed = parse(emit(model).to_bytes())
    sizes = {t.name: len(parsed.buffers[t.buffer].data) for t in parsed.subgraphs[0].tensors if t.buffer}
    assert sizes == {b"w": 4, b"wide": 8}


def test_weights_in_blocks_name_a_tensor_of_float16_scales() -> None:
    """`[rows, blocks]`; no scale of the tensor's own; the highest version, which older runtimes refuse."""
    scales = (0.5, 0.25, 1.0, 2.0)
    form = Quantization(scales, (0,) * 4, block_size=32)
    parsed = parse(emit(int4_model(form, np.ones((2, 64), np.int8))).to_bytes())
    tensors = parsed.subgraphs[0].tensors
    quantization = next(tensor for tensor in tensors if tensor.name == b"w").quantization
    details = quantization.details
    assert quantization.scale is None
    assert (details.blockSize, details.zeroPoints) == (32, -1)
    found = tensors[details.scales]
    assert (found.name, found.type, found.shape.tolist()) == (b"w/scales", schema.TensorType.FLOAT16, [2, 2])
    data = np.asarray(parsed.buffers[found.buffer].data, np.uint8).view(np.float16)
    assert data.tolist() == list(scales)
    assert parsed.operatorCodes[0].version == 14
