"""Scale and zero point of raw pixels, and the way from the source's numbers to pixels and back."""

from __future__ import annotations

import numpy as np
import pytest

from edgec.calibrate.preprocess import Preprocess
from edgec.ir import DType, Quantization
from edgec.passes.pixel_interface import TakePixels, pixel_problems
from edgec.passes.pixels import PixelInput
from tests.support.ir_graphs import conv, kinds, make_model, run


@pytest.mark.parametrize(
    ("mean", "std", "scale", "zero_point"),
    [
        (127.0, 128.0, 1 / 128, 127),  # (p - 127) / 128
        (0.0, 255.0, 1 / 255, 0),  # p / 255
        (0.0, 1.0, 1.0, 0),  # p as it is
        (127.5, 127.5, 1 / 127.5, 128),  # half a step is left to the shift
        (-20.0, 50.0, 1 / 50, 0),  # no uint8 stands for -20: the rest is the shift's
    ],
)
def test_scale_and_zero_point(mean: float, std: float, scale: float, zero_point: int) -> None:
    """Real values of the stored integers, factor * r + shift, are (pixel - mean) / std."""
    pixels = PixelInput("x", "nhwc", (mean,) * 3, (std,) * 3)
    assert (pixels.scale, pixels.zero_point) == (pytest.approx(scale), zero_point)
    q = np.arange(256)
    r = pixels.scale * (q - pixels.zero_point)
    np.testing.assert_allclose(pixels.factor[0] * r + pixels.shift[0], (q - mean) / std, atol=1e-12)
    assert pixels.range == pytest.approx((r[0], r[-1]))


@pytest.mark.parametrize("layout", ["nhwc", "nchw"])
@pytest.mark.parametrize("blue_first", [False, True])
def test_every_pixel_comes_back(layout: str, blue_first: bool) -> None:
    """Normalizing as the reader of images does, then back: all 256 values of three channels, to the bit."""
    shape = (1, 256, 1, 3) if layout == "nhwc" else (1, 3, 256, 1)
    axis = 3 if layout == "nhwc" else 1
    rgb = np.random.default_rng(1).permuted(np.broadcast_to(np.arange(256.0)[:, None], (256, 3)), axis=0)
    rgb = rgb.reshape(1, 256, 1, 3).transpose((0, 1, 2, 3) if layout == "nhwc" else (0, 3, 1, 2))
    settings = Preprocess(mean=(103.53, 116.28, 123.675), std=(57.375, 57.12, 58.395))
    pixels = PixelInput("x", layout, settings.mean, settings.std, blue_first)  # pyright: ignore
    x = settings.normalize(np.flip(rgb, axis) if blue_first else rgb, axis)
    assert x.shape == shape
    found = pixels.pixels(x)
    np.testing.assert_allclose(found, rgb, atol=1e-4)
    r = pixels.on_device(found)
    np.testing.assert_array_equal(np.rint(r / np.float32(pixels.scale)) + pixels.zero_point, rgb)
    np.testing.assert_array_equal(pixels.in_source(r), x)


def test_beyond_the_range_of_pixels_is_cut() -> None:
    """The device has no pixel of 300 or -7."""
    pixels = PixelInput("x", "nhwc", (0.0,), (1.0,))
    np.testing.assert_array_equal(pixels.on_device(np.array([300.0, -7.0, 12.4])), [255, 0, 12])


def test_float_models_dequantize_their_pixels() -> None:
    """uint8 in, one dequantize, and the same numbers as r gave."""
    pixels = PixelInput("x0", "nhwc", (127.0,) * 3, (128.0,) * 3)
    q = np.random.default_rng(0).integers(0, 256, (1, 6, 8, 3)).astype(np.uint8)
    (expected,) = run(make_model(conv, (1, 6, 8, 3)), [pixels.on_device(q)])
    model = make_model(conv, (1, 6, 8, 3))
    assert TakePixels([pixels]).run(model).modified
    assert kinds(model) == ["dequantize", "conv_2d"]
    assert model.inputs[0].dtype is DType.UINT8
    np.testing.assert_array_equal(run(model, [q])[0], expected)


def test_an_input_of_another_form_is_refused() -> None:
    """A step that is not a pixel would make every pixel wrong: E0617 names both forms."""
    pixels = PixelInput("x0", "nhwc", (127.0,) * 3, (128.0,) * 3)
    model = make_model(conv, (1, 6, 8, 3))
    TakePixels([pixels]).run(model)
    assert list(pixel_problems(model, [pixels])) == []
    value = model.graph.inputs[0]
    value.type = type(value.type)(value.shape, DType.UINT8, Quantization.per_tensor(0.01, 127))
    (problem,) = pixel_problems(model, [pixels])
    assert problem.code == "E0617"
    assert "shares its scale" in problem.why
