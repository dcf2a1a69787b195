"""Tiny TFLite models, each written from the schema for one question, and the command as a child process."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

_TYPES = {
    "float32": schema.TensorType.FLOAT32,
    "int8": schema.TensorType.INT8,
    "uint8": schema.TensorType.UINT8,
    "int16": schema.TensorType.INT16,
    "int32": schema.TensorType.INT32,
    "bool": schema.TensorType.BOOL,
}


class ModelBuilder:
    """Writes one-subgraph models; tensors are numbered in the order they are added."""

    def __init__(self) -> None:
        self.model = schema.ModelT()
        self.model.version = 3
        self.model.description = "made by the tests"
        self.model.buffers = [schema.BufferT()]
        self.model.operatorCodes = []
        self.model.signatureDefs = []
        self.graph = schema.SubGraphT()
        self.graph.tensors, self.graph.operators = [], []
        self.graph.inputs, self.graph.outputs = [], []
        self.model.subgraphs = [self.graph]

    def tensor(
        self,
        name: str,
        shape: Sequence[int],
        dtype: str = "float32",
        quantization: tuple[float, int] | None = None,
        data: np.ndarray | None = None,
        signature: Sequence[int] | None = None,
    ) -> int:
        tensor = schema.TensorT()
        tensor.name, tensor.type, tensor.hasRank = name, _TYPES[dtype], True
        tensor.shape = np.array(shape, np.int32)
        if signature is not None:
            tensor.shapeSignature = np.array(signature, np.int32)
        if quantization is not None:
            tensor.quantization = schema.QuantizationParametersT()
            tensor.quantization.scale = np.array([quantization[0]], np.float32)
            tensor.quantization.zeroPoint = np.array([quantization[1]], np.int64)
        if data is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(data.tobytes(), np.uint8)
            self.model.buffers.append(buffer)
            tensor.buffer = len(self.model.buffers) - 1
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def constant(self, name: str, data: np.ndarray) -> int:
        return self.tensor(name, data.shape, str(data.dtype), data=data)

    def operator(
        self,
        name: str,
        inputs: Sequence[int],
        outputs: Sequence[int],
        options: object = None,
        version: int = 1,
    ) -> None:
        code = schema.OperatorCodeT()
        code.builtinCode = getattr(schema.BuiltinOperator, name)
        code.deprecatedBuiltinCode = min(code.builtinCode, 127)
        code.version = version
        self.model.operatorCodes.append(code)
        operator = schema.OperatorT()
        operator.opcodeIndex = len(self.model.operatorCodes) - 1
        operator.inputs, operator.outputs = np.array(inputs, np.int32), np.array(outputs, np.int32)
        if options is not None:
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, type(options).__name__[:-1])
            operator.builtinOptions = options
        self.graph.operators.append(operator)

    def signature(
        self, inputs: dict[str, int], outputs: dict[str, int], key: str = "serving_default"
    ) -> None:
        definition = schema.SignatureDefT()
        definition.signatureKey, definition.subgraphIndex = key, 0
        definition.inputs = [_tensor_map(name, index) for name, index in inputs.items()]
        definition.outputs = [_tensor_map(name, index) for name, index in outputs.items()]
        self.model.signatureDefs.append(definition)

    def metadata(self, name: str) -> None:
        entry = schema.MetadataT()
        entry.name, entry.buffer = name, 0
        self.model.metadata = [entry]

    def build(self, inputs: Sequence[int], outputs: Sequence[int]) -> bytes:
        self.graph.inputs, self.graph.outputs = np.array(inputs, np.int32), np.array(outputs, np.int32)
        builder = flatbuffers.Builder(1024)
        builder.Finish(self.model.Pack(builder), file_identifier=b"TFL3")
        return bytes(builder.Output())


def _tensor_map(name: str, index: int) -> schema.TensorMapT:
    entry = schema.TensorMapT()
    entry.name, entry.tensorIndex = name, index
    return entry


@pytest.fixture(scope="session")
def new_model() -> Callable[[], ModelBuilder]:
    return ModelBuilder


@pytest.fixture(scope="session")
def copies(new_model: Callable[[], ModelBuilder]) -> Callable[..., bytes]:
    """A model that returns its input with another shape: out raw == in raw, so values can be foretold."""

    def build(dtype: str, quantization: tuple[float, int] | None = None, count: int = 4) -> bytes:
        model = new_model()
        x = model.tensor("x", [1, count], dtype, quantization)
        shape = model.constant("shape", np.array([count, 1], np.int32))
        y = model.tensor("y", [count, 1], dtype, quantization)
        options = schema.ReshapeOptionsT()
        options.newShape = np.array([count, 1], np.int32)
        model.operator("RESHAPE", [x, shape], [y], options)
        return model.build([x], [y])

    return build


@pytest.fixture(scope="session")
def int8_copy(copies: Callable[..., bytes]) -> bytes:
    return copies("int8", (0.5, -1))


@pytest.fixture(scope="session")
def difference(new_model: Callable[[], ModelBuilder]) -> bytes:
    """left - right, and the same tensor doubled; the signature lists everything in the opposite order."""
    model = new_model()
    left, right = model.tensor("tensor_a", [1, 3]), model.tensor("tensor_b", [1, 3])
    minus, twice = model.tensor("tensor_c", [1, 3]), model.tensor("tensor_d", [1, 3])
    model.operator("SUB", [left, right], [minus], schema.SubOptionsT())
    model.operator("ADD", [minus, minus], [twice], schema.AddOptionsT())
    model.signature({"right": right, "left": left}, {"twice": twice, "minus": minus})
    model.metadata("min_runtime_version")
    return model.build([left, right], [minus, twice])


@pytest.fixture(scope="session")
def convolution(new_model: Callable[[], ModelBuilder]) -> bytes:
    """Four 3x3 convolutions, 56x56x64 with ReLU: enough work for two threads to show."""
    model = new_model()
    generator = np.random.default_rng(0)
    x = value = model.tensor("image", [1, 56, 56, 64])
    for number in range(4):
        weights = generator.normal(0, 0.04, (64, 3, 3, 64)).astype(np.float32)
        operands = [value, model.constant(f"w{number}", weights)]
        operands.append(model.constant(f"b{number}", np.zeros(64, np.float32)))
        value = model.tensor(f"conv{number}", [1, 56, 56, 64])
        options = schema.Conv2DOptionsT()
        options.strideH = options.strideW = options.dilationHFactor = options.dilationWFactor = 1
        options.fusedActivationFunction = schema.ActivationFunctionType.RELU
        model.operator("CONV_2D", operands, [value], options)
    return model.build([x], [value])


@pytest.fixture(scope="session")
def refused_by_xnnpack(new_model: Callable[[], ModelBuilder]) -> bytes:
    """An int8 MAX_POOL_2D whose output has another scale: XNNPACK fails on it, the builtin kernel runs it."""
    model = new_model()
    x = model.tensor("x", [1, 4, 4, 1], "int8", (0.5, 0))
    y = model.tensor("y", [1, 2, 2, 1], "int8", (0.25, 0))
    options = schema.Pool2DOptionsT()
    options.filterHeight = options.filterWidth = options.strideH = options.strideW = 2
    model.operator("MAX_POOL_2D", [x], [y], options, version=2)
    return model.build([x], [y])


@pytest.fixture
def saved(tmp_path: Path) -> Callable[..., Path]:
    def save(content: bytes, name: str = "model.tflite") -> Path:
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return save


@pytest.fixture(scope="session")
def command() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run `edgec-runtime` as a process: exit codes and native crashes are seen as a user would see them."""

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        words = [sys.executable, "-m", "edgec_runtime", *map(str, arguments)]
        return subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)

    return run
