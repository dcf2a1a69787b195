"""Custom operators that have a public meaning become builtins."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from edgec.diagnostics import CompileError
from edgec.emit import emit
from edgec.kernels import Runner
from tests.support.ir_graphs import kinds, ramp
from tests.support.tflite_files import FileBuilder, imported


def transposed_file(
    padding: int, stride: int, kernel: int, size: int = 5, options: bytes | None = None
) -> bytes:
    file = FileBuilder()
    pads = [max(0, kernel - 1 - (n - 1) % max(stride, 1)) if padding == 1 else 0 for n in (size, size + 1)]
    height, width = (stride * (n - 1) + kernel - p for n, p in zip((size, size + 1), pads, strict=True))
    x, y = file.tensor((1, size, size + 1, 3)), file.tensor((1, height, width, 2))
    weights, bias = file.constant(ramp(2, kernel, kernel, 3)), file.constant(ramp(2))
    file.operator("CUSTOM", [x, weights, bias], [y], customCode="Convolution2DTransposeBias")
    raw = struct.pack("<3i", padding, stride, stride) if options is None else options
    file.graph.operators[-1].customOptions = np.frombuffer(raw, np.uint8)
    return file.to_bytes([x], [y])


@pytest.mark.parametrize("padding", [1, 2])
@pytest.mark.parametrize(
    ("stride", "kernel", "size"), [(2, 2, 5), (2, 3, 5), (2, 3, 4), (1, 3, 4), (3, 3, 4)]
)
def test_transposed_convolution_with_bias(padding: int, stride: int, kernel: int, size: int) -> None:
    """The delegate runs the custom operator itself: the same numbers as from our builtin."""
    raw, x = transposed_file(padding, stride, kernel, size), ramp(1, size, size + 1, 3)
    model = imported(raw)
    assert kinds(model) == ["transpose_conv"]
    ours, theirs = (Runner(content).run([x])[0] for content in (emit(model).to_bytes(), raw))
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "options", [b"", b"\x01\x00\x00\x00", struct.pack("<3i", 0, 2, 2), struct.pack("<3i", 1, 0, 2)]
)
def test_options_that_cannot_be_are_refused(options: bytes) -> None:
    """Too short, an unknown padding, a stride of 0."""
    with pytest.raises(CompileError, match=r"E0202 .*\(CUSTOM\): has options .* The file is damaged"):
        imported(transposed_file(1, 2, 2, options=options))
