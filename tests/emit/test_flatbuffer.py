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
