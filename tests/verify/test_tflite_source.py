"""A TFLite file as its own oracle: real numbers in and out, no memory, no crash."""

from __future__ import annotations

import numpy as np
import pytest

from edgec.diagnostics import CompileError
from edgec.kernels import KernelSet, Runner
from edgec.verify.tflite_source import TfliteSource, refusal
from tests.frontends.tflite.test_custom import transposed_file
from tests.frontends.tflite.test_lowerings import lstm_file
from tests.support.ir_graphs import ramp
from tests.support.tflite_files import FileBuilder, quantization, table


def test_quantized_files_take_and_give_real_numbers() -> None:
    """x = 1.0 is 2 + 3 steps of 0.5 with zero point 3; a reshape gives it back as 1.0; 99 saturates at 62."""
    file = FileBuilder()
    parameters = quantization([0.5], [3])
    x, y = (
        file.tensor((2,), "int8", quantization=parameters),
        file.tensor((2, 1), "int8", quantization=parameters),
    )
    file.operator("RESHAPE", [x], [y], table("ReshapeOptions", newShape=np.array([2, 1], np.int32)))
    source = TfliteSource(file.to_bytes([x], [y]), ["x"])
    (result,) = source.run({"x": np.array([1.0, 99.0], np.float32)})
    np.testing.assert_array_equal(result, np.array([[1.0], [62.0]], np.float32))
    assert result.dtype == np.float32


def test_runs_do_not_depend_on_earlier_runs() -> None:
    """LSTM states live in variables that LiteRT keeps; here every run starts from zeros."""
    source, x = TfliteSource(lstm_file(), ["x"]), {"x": ramp(1, 5, 3)}
    np.testing.assert_array_equal(source.run(x)[0], source.run(x)[0])


def test_inputs_are_resized_to_the_compiled_shape() -> None:
    """A file with an open batch is run with the batch that was compiled."""
    file = FileBuilder()
    x, y = file.tensor((1, 3), shapeSignature=np.array([-1, 3], np.int32)), file.tensor((1, 3))
    file.operator("TANH", [x], [y])
    source = TfliteSource(file.to_bytes([x], [y]), ["x"], shapes={"x": (4, 3)})
    assert source.run({"x": ramp(4, 3)})[0].shape == (4, 3)


def test_custom_operators_with_a_meaning_run_as_builtins() -> None:
    """No kernel but the delegate's has MediaPipe's transposed convolution: the builtin computes the same."""
    raw, x = transposed_file(padding=1, stride=2, kernel=2), ramp(1, 5, 6, 3)
    assert "Convolution2DTransposeBias" in refusal(raw)
    assert refusal(raw, KernelSet.XNNPACK) == ""
    source = TfliteSource(raw, ["x"], kernels=KernelSet.BUILTIN)
    np.testing.assert_allclose(source.run({"x": x})[0], Runner(raw).run([x])[0], rtol=1e-5, atol=1e-6)


def test_kernels_that_take_the_file_are_found() -> None:
    """The delegate refuses weights with a zero point; the builtin kernels are the oracle then."""
    file = FileBuilder()
    x = file.tensor((1, 8), "int8", quantization=quantization([0.05], [3]))
    w = file.constant(np.ones((3, 8), np.int8), quantization=quantization([0.1], [4]))
    y = file.tensor((1, 3), "int8", quantization=quantization([0.5], [-5]))
    file.operator("FULLY_CONNECTED", [x, w, -1], [y], table("FullyConnectedOptions"), version=4)
    raw = file.to_bytes([x], [y])
    (result,) = TfliteSource(raw, ["x"], kernels=KernelSet.XNNPACK).run(
        {"x": np.full((1, 8), 2.0, np.float32)}
    )
    np.testing.assert_allclose(result, np.full((1, 3), -5.0), atol=0.25)  # 8 * 2.0 * (1 - 4) * 0.1 = -4.8


def test_a_file_that_litert_refuses_names_the_reason_and_the_doctor() -> None:
    """An unresolved custom operator cannot be run."""
    file = FileBuilder()
    x, y = file.tensor((1,)), file.tensor((1,))
    file.operator("CUSTOM", [x], [y], customCode="warp-drive")
    raw = file.to_bytes([x], [y])
    assert "warp-drive" in refusal(raw)
    with pytest.raises(
        CompileError, match=r"E0702 verification: LiteRT cannot run the source model.*warp-drive.*doctor"
    ):
        TfliteSource(raw, ["x"])
