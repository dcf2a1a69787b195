"""A manifest that says "raw pixels" decides how images and uint8 arrays are fed."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

SCALE, MEAN = 1 / 128, 127


@pytest.fixture
def image_model(new_model, saved):
    """A model of one 4x6 image that returns its input, with a manifest for raw pixels of a type."""

    def make(dtype: str) -> Path:
        builder, offset = new_model(), 128 if dtype == "int8" else 0
        tensors = [
            builder.tensor(name, [1, 4, 6, 3], dtype, (SCALE, MEAN - offset)) for name in ("image", "y")
        ]
        shape = builder.constant("shape", np.array([1, 4, 6, 3], np.int32))
        builder.operator("RESHAPE", [tensors[0], shape], [tensors[1]])
        data = builder.build([tensors[0]], [tensors[1]])
        path = saved(data)
        feed = {"color": "rgb", "width": 6, "height": 4, "resize": "crop, bilinear", "subtract": offset}
        entry = {"name": "image", "pixels": feed}
        document = {"artifact": {"sha256": hashlib.sha256(data).hexdigest()}, "inputs": [entry, "odd", {}]}
        (path.parent / "model.manifest.json").write_text(json.dumps(document))
        return path

    return make


@pytest.fixture
def photo(tmp_path: Path) -> tuple[Path, np.ndarray]:
    image = pytest.importorskip("PIL.Image")
    pixels = np.random.default_rng(0).integers(0, 256, (4, 6, 3)).astype(np.uint8)
    image.fromarray(pixels).save(tmp_path / "p.png")
    np.save(tmp_path / "p.npy", pixels[None])
    return tmp_path / "p.png", pixels


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
@pytest.mark.parametrize("suffix", [".png", ".npy"])
def test_pixels_are_fed_as_they_are(command, image_model, photo, dtype: str, suffix: str, tmp_path: Path):
    """The copy returns (pixel - 127) / 128 for each: what arrived is the file's own pixel."""
    path, pixels = photo
    out = tmp_path / "out.npz"
    done = command("run", image_model(dtype), "--input", path.with_suffix(suffix), "--output", out)
    assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(np.load(out)["y"][0], (pixels.astype(np.float32) - MEAN) / 128)


def test_bench_takes_the_photo(command, image_model, photo):
    done = command("bench", image_model("uint8"), "--input", photo[0], "--runs", "3", "--min-time", "0")
    assert done.returncode == 0, done.stderr


def test_mean_and_std_contradict_the_manifest(command, image_model, photo):
    """Normalizing twice is the usual mistake: it is refused, not mixed."""
    done = command("run", image_model("uint8"), "--input", photo[0], "--mean", "127")
    assert done.returncode == 1
    assert "input 'image': takes raw pixels, as the manifest says; leave --mean out" in done.stderr


def test_info_says_what_to_feed(command, image_model):
    assert (
        "image: uint8 pixels 0..255, rgb, resize crop, bilinear"
        in command("info", image_model("uint8")).stdout
    )
    assert "image: int8 pixels less 128, rgb" in command("info", image_model("int8")).stdout


def test_another_file_than_the_manifests_is_fed_as_ever(command, image_model, photo, tmp_path: Path):
    """A manifest of other bytes says nothing about this file: pixel / 255 is the default."""
    model = image_model("uint8")
    (model.parent / "model.manifest.json").unlink()
    out = tmp_path / "out.npz"
    assert command("run", model, "--input", photo[0], "--output", out).returncode == 0
    expected = np.rint(photo[1] / np.float32(255) * 128) / 128
    np.testing.assert_allclose(np.load(out)["y"][0], expected, atol=1 / 128)
