"""One door for every format: load, import, and the oracle that belongs to it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgec.calibrate.data import InputSpec, random_samples
from edgec.diagnostics import CompileError, Diagnostics
from edgec.emit import emit
from edgec.frontends.source import import_source, load_source
from edgec.frontends.tflite import is_quantized
from edgec.kernels import KernelSet, Runner
from edgec.verify.run import NO_TOLERANCE, verify
from edgec.verify.runners import source_runner
from tests.support.ir_graphs import conv, make_model
from tests.support.tflite_files import FileBuilder, quantization, table


def onnx_bytes() -> bytes:
    info = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Tanh", ["x"], ["y"])], "g", info[:1], info[1:])
    made: onnx.ModelProto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    return made.SerializeToString()


def int8_bytes() -> bytes:
    file = FileBuilder()
    x = file.tensor((1, 8), "int8", quantization=quantization([0.05], [3]))
    w = file.constant(
        np.arange(-12, 12, dtype=np.int8).reshape(3, 8), quantization=quantization([0.1, 0.2, 0.3], [0, 0, 0])
    )
    y = file.tensor((1, 3), "int8", quantization=quantization([0.5], [-5]))
    file.operator("FULLY_CONNECTED", [x, w, -1], [y], table("FullyConnectedOptions"), version=6)
    return file.to_bytes([x], [y])


MODELS = {
    "onnx": onnx_bytes(),
    "tflite": emit(make_model(lambda b, x: conv(b, x), (1, 5, 5, 3))).to_bytes(),
    "tflite_int8": int8_bytes(),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_model_is_loaded_imported_and_run_by_its_own_runtime(name: str, tmp_path: Path) -> None:
    """The same calls for every format; a quantized file comes back bit for bit."""
    path = tmp_path / "model.bin"
    path.write_bytes(MODELS[name])
    source = load_source(path)
    assert (getattr(source, "name"), getattr(source, "size_bytes")) == ("model.bin", len(MODELS[name]))  # noqa: B009
    model = import_source(source, {}, Diagnostics())
    samples = random_samples([InputSpec(p.name, p.shape, p.dtype.numpy) for p in model.inputs], 3)
    quantized = is_quantized(model)
    oracle = source_runner(
        source, model.inputs, kernels=KernelSet.REFERENCE if quantized else KernelSet.BUILTIN
    )
    runner = Runner(emit(model).to_bytes(), kernels=KernelSet.REFERENCE)
    (output,) = verify(model, runner, oracle, samples, NO_TOLERANCE, "").outputs
    assert output.sqnr_db == float("inf") if quantized else output.sqnr_db > 100


def test_formats_without_a_reader_say_what_to_do() -> None:
    """PyTorch pickles and Keras bytes."""
    with pytest.raises(CompileError, match=r"E0116 .*not a program.*example_inputs.*torch\.export\.save"):
        load_source(b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.")
    with pytest.raises(CompileError, match="is a hdf5 model given as bytes"):
        load_source(b"\x89HDF\r\n\x1a\n")
