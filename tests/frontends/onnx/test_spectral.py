"""Transforms agree with float64 NumPy within float32 rounding of sums of N terms."""

from __future__ import annotations

import numpy as np
import pytest

from edgec.diagnostics import CompileError
from edgec.ir import Array
from tests.support.onnx_models import (
    check_against_onnxruntime,
    import_model,
    node_model,
    run_onnxruntime,
    run_ours,
)

RANDOM = np.random.default_rng(5)


def pairs(x: Array) -> Array:
    return np.stack([x.real, x.imag], -1)


def numbers(*shape: int) -> Array:
    return RANDOM.standard_normal(shape).astype(np.float32)


def dft(x: Array, *, length: int | None = None, axis: int = -2, opset: int = 20, **attributes: int) -> Array:
    constants: dict[str, Array] = {}
    if length is not None:
        constants["length"] = np.array(length, np.int64)
    order = ["x", "length" if length is not None else ""]
    if opset >= 20:
        constants["axis"] = np.array(axis, np.int64)
        order.append("axis")
    else:
        attributes["axis"] = axis
    proto = node_model("DFT", {"x": x}, constants=constants, order=order, opset=opset, **attributes)
    return run_ours(proto, {"x": x})[0]


@pytest.mark.parametrize("axis", [0, 1, -2, -3])
@pytest.mark.parametrize("length", [None, 4, 9])
@pytest.mark.parametrize("inverse", [0, 1])
@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("opset", [17, 20])
def test_full_transform(axis: int, length: int | None, inverse: int, parts: int, opset: int) -> None:
    """Any axis, cut or filled up with zeros, real or complex, both ways."""
    x = numbers(5, 6, 3, parts)
    signal = x[..., 0] + (1j * x[..., 1] if parts == 2 else 0)
    where = axis + 1 if axis < 0 else axis
    transform = np.fft.ifft if inverse else np.fft.fft
    expected = pairs(transform(signal.astype(np.complex128), length, axis=where))
    result = dft(x, length=length, axis=axis, inverse=inverse, opset=opset)
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("length", [None, 6, 7, 12])
def test_one_sided(length: int | None) -> None:
    """A real signal has half a spectrum, and the spectrum gives the signal back."""
    x = numbers(2, 8, 1)
    spectrum = np.fft.rfft(x[..., 0].astype(np.float64), length)
    result = dft(x, length=length, onesided=1)
    np.testing.assert_allclose(result, pairs(spectrum), rtol=1e-5, atol=1e-5)
    back = dft(result, length=length, onesided=1, inverse=1)
    expected = np.fft.irfft(spectrum, length or 2 * (spectrum.shape[-1] - 1))
    np.testing.assert_allclose(back[..., 0], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("points", [576, 1024, 1500])
@pytest.mark.parametrize("attributes", [{}, {"onesided": 1}, {"inverse": 1}])
def test_long_transforms_take_two_small_matrices(points: int, attributes: dict[str, int]) -> None:
    """The file holds kilobytes instead of the megabytes of one matrix, and sums are shorter."""
    parts = 1 if attributes.get("onesided") else 2
    x = numbers(2, points, parts)
    signal = (x[..., 0] + (1j * x[..., 1] if parts == 2 else 0)).astype(np.complex128)
    expected = np.fft.ifft(signal) if attributes.get("inverse") else np.fft.fft(signal)
    expected = expected[:, : points // 2 + 1] if attributes.get("onesided") else expected
    np.testing.assert_allclose(dft(x, **attributes), pairs(expected), rtol=1e-4, atol=1e-4)
    proto = node_model(
        "DFT", {"x": x}, constants={"a": np.array(1)}, order=["x", "", "a"], opset=20, **attributes
    )
    graph = import_model(proto).graph
    assert sum(value.type.size for value in graph.constants()) < 20 * points


BAD = [
    ((2, 8, 2), {"onesided": 1}, "one-sided transforms go from real"),
    ((2, 8, 1), {"onesided": 1, "inverse": 1}, "inverses back"),
    ((2, 8, 3), {}, "The last axis holds real numbers"),
]


@pytest.mark.parametrize(("shape", "attributes", "message"), BAD)
def test_other_forms_are_refused(shape: tuple[int, ...], attributes: dict[str, int], message: str) -> None:
    """The error says what one-sided transforms take."""
    with pytest.raises(CompileError, match=message):
        dft(numbers(*shape), axis=1, **attributes)


def test_a_prime_that_is_too_long_is_refused() -> None:
    """There is nothing to split, and the matrix would fill the file."""
    with pytest.raises(CompileError, match="needs a matrix of"):
        dft(numbers(1, 10007, 1), axis=1)


@pytest.mark.parametrize("window", [None, "known", "computed"])
@pytest.mark.parametrize("onesided", [0, 1])
@pytest.mark.parametrize(("step", "length"), [(8, 16), (5, 12), (16, 16)])
def test_stft(window: str | None, onesided: int, step: int, length: int) -> None:
    """Frames at any step; a window that is computed is multiplied before the transform."""
    x, hann = numbers(2, 50, 1), np.hanning(length).astype(np.float32)
    constants = {"step": np.array(step, np.int64)}
    feeds = {"x": x}
    if window == "computed":
        feeds["window"] = hann
    if window == "known":
        constants["window"] = hann
    constants["length"] = np.array(length, np.int64)
    order = ["x", "step", "window" if window else "", "length"]
    proto = node_model("STFT", feeds, constants=constants, order=order, onesided=onesided)
    check_against_onnxruntime(proto, feeds, rtol=1e-4, atol=1e-4)
    kinds = [node.kind for node in import_model(proto).graph]
    assert ("conv_2d" in kinds) == (window != "computed")


def test_stft_of_complex_signals() -> None:
    """Every frame is the full transform of its part of the signal."""
    x = numbers(1, 20, 2)
    constants = {"step": np.array(4, np.int64), "length": np.array(8, np.int64)}
    proto = node_model("STFT", {"x": x}, constants=constants, order=["x", "step", "", "length"], onesided=0)
    signal = (x[0, :, 0] + 1j * x[0, :, 1]).astype(np.complex128)
    expected = [pairs(np.fft.fft(signal[start : start + 8])) for start in range(0, 13, 4)]
    np.testing.assert_allclose(run_ours(proto, {"x": x})[0][0], expected, rtol=1e-5, atol=1e-5)


def test_stft_with_long_frames() -> None:
    """Frames of 1024 samples are gathered, and transformed in two steps."""
    x = numbers(1, 4096, 1)
    window = np.hanning(1024).astype(np.float32)
    constants = {"step": np.array(512, np.int64), "window": window}
    proto = node_model("STFT", {"x": x}, constants=constants)
    (expected,) = run_onnxruntime(proto, {"x": x})
    np.testing.assert_allclose(run_ours(proto, {"x": x})[0], expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(("step", "length"), [(0, 8), (4, 21), (4, 7)])
def test_frames_outside_of_the_signal_are_refused(step: int, length: int) -> None:
    """Steps are positive, frames lie inside the signal, and the window fits."""
    constants = {
        "step": np.array(step, np.int64),
        "window": np.ones(8 if length == 7 else length, np.float32),
        "length": np.array(length, np.int64),
    }
    with pytest.raises(CompileError, match=f"takes frames of {length} every {step} of 20 samples"):
        import_model(node_model("STFT", {"x": numbers(1, 20, 1)}, constants=constants))
