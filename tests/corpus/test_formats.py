"""Keras and TFLite files of others compile right: float to rounding, int8 in integers alone, memory kept."""

from __future__ import annotations

import numpy as np
import pytest

import edgec
from edgec.ir import Array
from edgec.kernels import KernelSet, Runner
from tests.corpus.formats import FLOAT_TFLITE, KERAS, STREAMING, FormatModel, digits
from tests.corpus.models import CORPUS, DATA

pytestmark = [
    pytest.mark.corpus,
    pytest.mark.filterwarnings("ignore"),  # TensorFlow warns of its own parts
]
_ALL = pytest.mark.parametrize("model", (*KERAS, *FLOAT_TFLITE), ids=lambda model: model.path.name)


def compiled(model: FormatModel, precision: str) -> edgec.Compiled:
    if model in KERAS:
        pytest.importorskip("tensorflow")
    return edgec.compile(model.path, target="rpi4", precision=precision, calibration=model.calibration())


@_ALL
def test_float_equals_the_original(model: FormatModel) -> None:
    """90 dB on every output: float32 rounding and nothing else."""
    report = compiled(model, "float32").report
    assert report.passed
    assert report.verification is not None
    assert min(output.sqnr_db for output in report.verification.outputs) >= 90


@_ALL
def test_int8_is_integer_only_on_every_kernel_set(model: FormatModel) -> None:
    """No float tensor is read or written, and XNNPACK, builtin and reference kernels all run it.

    The first four intermediates of an LSTM are float by convention and hold nothing.
    """
    from ai_edge_litert.interpreter import Interpreter

    made = compiled(model, "int8")
    assert made.report.quantization is not None
    assert made.report.quantization.float_ops == ()
    details = Interpreter(model_content=made.tflite).get_tensor_details()
    used = {np.dtype(detail["dtype"]).name for detail in details if 0 not in detail["shape"]}
    assert used <= {"int8", "int16", "int32", "int64", "bool"}
    feeds = [np.zeros(tensor.shape, tensor.dtype) for tensor in made.report.inputs]
    for kernels in KernelSet:
        outputs = Runner(made.tflite, kernels=kernels).run(feeds)
        assert [output.shape for output in outputs] == [tensor.shape for tensor in made.report.outputs]


def in_sequence(content: bytes, feeds: list[Array]) -> list[Array]:
    """Outputs of one reference interpreter over a sequence."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    reference = OpResolverType.BUILTIN_REF
    interpreter = Interpreter(model_content=content, experimental_op_resolver_type=reference)
    interpreter.allocate_tensors()
    (into,), (out,) = interpreter.get_input_details(), interpreter.get_output_details()
    results: list[Array] = []
    for feed in feeds:
        interpreter.set_tensor(into["index"], feed)
        interpreter.invoke()
        results.append(np.array(interpreter.get_tensor(out["index"])))
    return results


@pytest.mark.parametrize("name", STREAMING)
def test_a_stream_is_followed_bit_for_bit(name: str) -> None:
    """The compiled file remembers what the original remembers, over forty runs."""
    path = CORPUS / "refs" / f"{name}.tflite"
    made = edgec.compile(path)
    (tensor,) = made.report.inputs
    generator = np.random.default_rng(0)
    feeds = [generator.integers(-128, 127, tensor.shape).astype(np.int8) for _ in range(40)]
    originals = in_sequence(path.read_bytes(), feeds)
    for original, ours in zip(originals, in_sequence(made.tflite, feeds), strict=True):
        np.testing.assert_array_equal(ours, original)


def top1(content: bytes, images: Array, labels: Array) -> float:
    """Share of images whose largest output is the label; memory cleared before each."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=content)
    interpreter.allocate_tensors()
    (into,), (out,) = interpreter.get_input_details(), interpreter.get_output_details()
    scale, zero_point = into["quantization"]
    right = 0
    for image, label in zip(images, labels, strict=True):
        x = np.clip(np.rint(image / scale) + zero_point, -128, 127).astype(np.int8) if scale else image
        interpreter.reset_all_variables()
        interpreter.set_tensor(into["index"], x[None])
        interpreter.invoke()
        right += int(interpreter.get_tensor(out["index"]).argmax() == label)
    return right / len(labels)


def test_lstm_top1() -> None:
    """1900 digits that calibration did not see: int8 within a point of float, no worse than others' int8."""
    data = np.load(DATA / "mnist2000.npz")
    images, labels = data["x"][len(digits()) :].astype(np.float32) / 255, data["y"][len(digits()) :]
    model = next(item for item in FLOAT_TFLITE if "trained_lstm" in item.file)
    ours, original = (
        top1(compiled(model, "int8").tflite, images, labels),
        top1(model.path.read_bytes(), images, labels),
    )
    theirs = top1((CORPUS / "refs" / "tflm_trained_lstm_int8.tflite").read_bytes(), images, labels)
    assert original - ours <= 0.01
    assert theirs - ours <= 0.001
