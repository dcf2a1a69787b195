"""Small TFLite files made from schema objects, in the forms that other tools write."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import flatbuffers
import numpy as np

from edgec.diagnostics import Diagnostics
from edgec.emit import emit
from edgec.emit.options import schema
from edgec.frontends.tflite import import_tflite, load_tflite
from edgec.ir import Array, Model
from edgec.kernels import KernelSet, Runner
from edgec.ops.verify_ir import verify_ir

Table = Any


def table(name: str, /, **fields: Any) -> Table:
    """Return a schema object with fields set."""
    made = getattr(schema(), f"{name}T")()
    for key, value in fields.items():
        setattr(made, key, value)
    return made


def quantization(scale: list[float], zero_point: list[int], axis: int = 0) -> Table:
    """Return quantization parameters."""
    return table(
        "QuantizationParameters",
        scale=np.array(scale, np.float32),
        zeroPoint=np.array(zero_point, np.int64),
        quantizedDimension=axis,
    )


@dataclass
class FileBuilder:
    """Collects tensors and operators of one graph; every constant gets a buffer of its own."""

    model: Table = field(
        default_factory=lambda: table("Model", version=3, operatorCodes=[], buffers=[table("Buffer")])
    )
    graph: Table = field(default_factory=lambda: table("SubGraph", name="main", tensors=[], operators=[]))

    def __post_init__(self) -> None:
        self.model.subgraphs = [self.graph]

    def tensor(self, shape: tuple[int, ...], dtype: str = "float32", **fields: Any) -> int:
        """Add a tensor; returns its index."""
        number = getattr(schema().TensorType, dtype.upper())
        index = len(self.graph.tensors)
        settings = {"name": f"t{index}", "buffer": 0, "hasRank": True, **fields}
        self.graph.tensors.append(table("Tensor", shape=np.array(shape, np.int32), type=number, **settings))
        return index

    def constant(self, data: Array | list[int], **fields: Any) -> int:
        """Add a constant; a list becomes int32."""
        array = np.asarray(data, np.int32) if isinstance(data, list) else np.asarray(data)
        raw = np.frombuffer(array.tobytes(), np.uint8)
        self.model.buffers.append(table("Buffer", data=raw))
        return self.tensor(array.shape, array.dtype.name, buffer=len(self.model.buffers) - 1, **fields)

    def operator(
        self, builtin: str, inputs: list[int], outputs: list[int], options: Table = None, **code: Any
    ) -> None:
        """Add an operator with its code."""
        number = getattr(schema().BuiltinOperator, builtin)
        settings = {"builtinCode": number, "deprecatedBuiltinCode": min(number, 127), "version": 1, **code}
        self.model.operatorCodes.append(table("OperatorCode", **settings))
        made = table(
            "Operator",
            opcodeIndex=len(self.model.operatorCodes) - 1,
            inputs=np.array(inputs, np.int32),
            outputs=np.array(outputs, np.int32),
        )
        if options is not None:
            made.builtinOptionsType = getattr(schema().BuiltinOptions, type(options).__name__[:-1])
            made.builtinOptions = options
        self.graph.operators.append(made)

    def to_bytes(self, inputs: list[int], outputs: list[int]) -> bytes:
        """Return the file with these graph inputs and outputs."""
        self.graph.inputs, self.graph.outputs = np.array(inputs, np.int32), np.array(outputs, np.int32)
        return pack(self.model)


def pack(model: Table) -> bytes:
    """Return schema objects as a file; data lands where the packer puts it."""
    builder = flatbuffers.Builder(1 << 12)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def imported(raw: bytes, **arguments: Any) -> Model:
    """Return the sound IR of a file."""
    model = import_tflite(load_tflite(raw), arguments.pop("input_shapes", {}), Diagnostics(), **arguments)
    verify_ir(model)
    return model


def assert_same_numbers(raw: bytes, feeds: list[Array], rtol: float = 0.0) -> Model:
    """Assert that a file and what we emit for it agree in LiteRT's builtin kernels; 0 means bit for bit."""
    model = imported(raw)
    expected = Runner(raw, kernels=KernelSet.BUILTIN).run(feeds)
    got = Runner(emit(model).to_bytes(), kernels=KernelSet.BUILTIN).run(feeds)
    assert len(got) == len(expected)
    for ours, theirs in zip(got, expected, strict=True):
        assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
        np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=rtol)
    return model
