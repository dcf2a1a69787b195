"""Calibration samples as a device feeds them, and what is refused before a model takes raw pixels."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgec.calibrate.data import InputSpec, open_samples
from edgec.calibrate.pixels import NO_PIXELS, PreprocessedSource, RawPixels, pixel_inputs
from edgec.calibrate.preprocess import Preprocess
from edgec.calibrate.samples import Array
from edgec.calibrate.synthetic import random_samples
from edgec.diagnostics import CompileError, Diagnostic

FLOAT = np.dtype(np.float32)
NCHW = InputSpec("x", (1, 3, 4, 4), FLOAT, "nchw")
GREY = InputSpec("x", (1, 4, 4, 1), FLOAT, "nhwc")
IMAGENET = Preprocess(mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375))


def refused(*inputs: InputSpec, settings: Preprocess) -> Diagnostic:
    with pytest.raises(CompileError) as caught:
        pixel_inputs(inputs, settings)
    (diagnostic,) = caught.value.diagnostics
    return diagnostic


def test_channels_keep_the_order_of_the_source() -> None:
    """Mean and std are per channel as stated; BGR is remembered, one number serves all."""
    (found,) = pixel_inputs([NCHW], IMAGENET.model_copy(update={"color": "bgr"}))
    assert (found.mean, found.axis, found.order) == (IMAGENET.mean, 1, (2, 1, 0))
    (found,) = pixel_inputs([NCHW], Preprocess(std=(255.0,)))
    assert (found.mean, found.std, found.order) == ((0.0,) * 3, (255.0,) * 3, (0, 1, 2))


def test_other_inputs_are_left_alone() -> None:
    """A vector and whole numbers are no images; the image beside them is found."""
    ids = InputSpec("ids", (1, 4, 4, 3), np.dtype(np.int32), "nhwc")
    assert [p.name for p in pixel_inputs([InputSpec("v", (1, 9), FLOAT), ids, NCHW], IMAGENET)] == ["x"]


def test_nothing_is_guessed() -> None:
    """A guess would be part of the model: without mean and std the compile stops and says what to give."""
    problem = refused(NCHW, settings=Preprocess(color="rgb"))
    assert (problem.code, problem.where) == ("E0617", "--raw-pixels")
    assert "--mean and --std" in problem.next_step


def test_models_without_images_are_refused() -> None:
    problem = refused(InputSpec("sound", (1, 16000), FLOAT), settings=IMAGENET)
    assert problem.code == "E0617"
    assert "no input is an image: input 'sound'" in problem.what


def test_color_and_channels_have_to_agree() -> None:
    """Grey for three channels, or three means for one, are mistakes in the statement."""
    assert "has 3 channels" in refused(NCHW, settings=Preprocess(mean=(0,), color="gray")).what
    assert refused(GREY, settings=IMAGENET).what == "mean has 3 numbers; the input has 1 channels"


def test_images_become_the_pixels_of_their_files(tmp_path: Path) -> None:
    """What calibration feeds stands for the very bytes of the image, red first, whatever the source wants."""
    rgb = np.random.default_rng(0).integers(0, 256, (4, 4, 3)).astype(np.uint8)
    Image.fromarray(rgb).save(tmp_path / "a.png")
    (tmp_path / "preprocess.toml").write_text(
        'mean = [103.53, 116.28, 123.675]\nstd = [57.375, 57.12, 58.395]\ncolor = "bgr"\nresize = "none"\n'
    )
    samples = open_samples(tmp_path, [NCHW])
    raw = RawPixels.of([NCHW], None, samples)
    fed = raw.fed(samples)
    (sample,) = fed
    (pixels,) = raw.inputs
    steps = np.rint(sample["x"] / np.float32(pixels.scale)) + pixels.zero_point
    np.testing.assert_array_equal(steps[0].transpose(1, 2, 0), rgb)
    assert fed.describe().how.endswith("as raw pixels")
    assert (fed.name(0), len(fed)) == ("a.png", 1)
    assert (raw.settings.color, raw.settings.how_to_resize) == ("bgr", "none")
    assert fed.sha256 != samples.sha256
    assert fed.identity != samples.identity


def test_stated_settings_win_over_the_folder(tmp_path: Path) -> None:
    """As for calibration: flags before the folder's file; what flags leave open is the folder's."""
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / "a.png")
    (tmp_path / "preprocess.toml").write_text('mean = [127]\nstd = [128]\ncolor = "bgr"\n')
    stated = Preprocess(mean=(0.0,), std=(255.0,))
    samples = open_samples(tmp_path, [NCHW], preprocess=stated)
    (pixels,) = RawPixels.of([NCHW], stated, samples).inputs
    assert (pixels.mean, pixels.std, pixels.blue_first) == ((0.0,) * 3, (255.0,) * 3, True)


def test_samples_of_another_normalization_are_refused() -> None:
    """Values of -1..1 where p / 255 is stated would be pixels of -255..255: the message has the numbers."""
    data = {"x": np.linspace(-1, 1, 2 * 48, dtype=np.float32).reshape(2, 3, 4, 4)}
    stated = Preprocess(mean=(0.0,), std=(255.0,))
    samples = open_samples(data, [NCHW], preprocess=stated)
    raw = RawPixels.of([NCHW], stated, samples)
    with pytest.raises(CompileError) as caught:
        list(raw.fed(samples))
    (problem,) = caught.value.diagnostics
    assert problem.code == "E0317"
    assert problem.where == "arrays in memory row 0"
    assert "would be pixels -255" in problem.what


def test_parts_of_pixels_are_noted_and_rounded() -> None:
    """Resizing in float leaves 12.4: the device has 12."""
    data = {"x": np.full((1, 3, 4, 4), 12.4, np.float32)}
    stated = Preprocess(mean=(0.0,), std=(1.0,))
    samples = open_samples(data, [NCHW], preprocess=stated)
    fed = RawPixels.of([NCHW], stated, samples).fed(samples)
    assert [note.code for note in fed.notes] == ["W0313"]
    np.testing.assert_array_equal(next(iter(fed))["x"], np.full((1, 3, 4, 4), 12.0))


def test_random_numbers_are_cut_to_pixels() -> None:
    """They say nothing, and need not stop a trial compile: normal(0, 1) leaves 0..255 only at its ends."""
    samples = random_samples([NCHW], 2)
    fed = RawPixels.of([NCHW], IMAGENET, samples).fed(samples)
    (pixels,) = pixel_inputs([NCHW], IMAGENET)
    low, high = pixels.range
    for sample in fed:
        assert low - 1e-6 <= sample["x"].min() < sample["x"].max() <= high + 1e-6


def test_the_oracle_gets_what_it_would_have_got() -> None:
    """Behind its preprocessing the source takes device values; other inputs pass as they are."""
    seen: list[Mapping[str, Array]] = []

    class Source:
        def run(self, inputs: Mapping[str, Array]) -> list[Array]:
            seen.append(inputs)
            return []

    pixels = pixel_inputs([NCHW], IMAGENET.model_copy(update={"color": "bgr"}))
    rgb = np.random.default_rng(0).integers(0, 256, (1, 3, 4, 4)).astype(np.float32)
    fed = {"x": pixels[0].on_device(rgb), "more": np.ones(2)}
    PreprocessedSource(Source(), pixels).run(fed)
    np.testing.assert_array_equal(seen[0]["x"], IMAGENET.normalize(rgb[:, ::-1], 1))
    assert seen[0]["more"] is fed["more"]
    source = Source()
    assert NO_PIXELS.behind(source) is source


def test_evaluation_samples_are_fed_alike() -> None:
    """Held-out data with labels: counted, gone through again, converted each time."""
    rows = [{"x": np.zeros((1, 3, 4, 4), np.float32)}] * 3
    raw = RawPixels(pixel_inputs([NCHW], Preprocess(mean=(127.5,), std=(127.5,))))
    fed = raw.fed_again(rows)
    assert len(fed) == 3
    for _ in range(2):
        assert [float(sample["x"].max()) for sample in fed] == [0.0] * 3  # 127.5 → 128, the zero point
    assert NO_PIXELS.fed_again(rows) is rows
