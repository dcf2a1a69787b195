"""Preprocessing settings: what is accepted, what is refused and how it is said."""

import numpy as np
import pytest

from edgec.calibrate.preprocess import Preprocess, load_preprocess, validated
from edgec.diagnostics import CompileError


def test_file_round_trip(tmp_path):
    """All settings are read; a single number stands for all channels."""
    path = tmp_path / "preprocess.toml"
    path.write_text(
        'mean = 127.5\nstd = [1, 2, 3.5]\ncolor = "bgr"\n'
        'resize = "letterbox"\nletterbox_fill = 0\nsample_rate = 8000\n'
    )
    assert load_preprocess(path) == Preprocess(
        mean=(127.5,), std=(1, 2, 3.5), color="bgr", resize="letterbox", letterbox_fill=0, sample_rate=8000
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mean = [1, 2]", "mean: 2 numbers; one for all channels or three"),
        ("std = 0", "std: must be above 0"),
        ("std = nan", "std.0"),
        ("scale = 2", "scale: Extra inputs"),
        ('color = "yuv"', "color: Input should be 'rgb', 'bgr' or 'gray'"),
        ("mean = true", "mean"),
        ("letterbox_fill = 300", "letterbox_fill"),
        ("mean = [", "cannot be read: TOMLDecodeError"),
        ("mean = " + "[" * 5000, "cannot be read"),
    ],
)
def test_wrong_settings_are_located(tmp_path, text, message):
    """The file and the field are named, and the next step lists what can be said."""
    path = tmp_path / "preprocess.toml"
    path.write_text(text)
    with pytest.raises(CompileError) as caught:
        load_preprocess(path)
    assert str(caught.value).startswith(f"E0311 {path}: {message}") and "letterbox" in str(caught.value)


def test_every_wrong_field_is_reported(tmp_path):
    """Two wrong fields are two diagnostics of one error."""
    (tmp_path / "p.toml").write_text("std = 0\nscale = 1\n")
    with pytest.raises(CompileError) as caught:
        load_preprocess(tmp_path / "p.toml")
    assert len(caught.value.diagnostics) == 2


def test_flags_are_validated_like_files():
    """Flags get the same messages, under their own name."""
    assert validated({"mean": (1, 2, 3)}, "--mean") == Preprocess(mean=(1, 2, 3))
    with pytest.raises(CompileError, match="E0311 --mean: mean: 2 numbers"):
        validated({"mean": (1, 2)}, "--mean")


def test_missing_and_binary_files(tmp_path):
    """No traceback for files that are no text."""
    (tmp_path / "b.toml").write_bytes(b"\xff\xfe\x00")
    for name in ("missing.toml", "b.toml"):
        with pytest.raises(CompileError, match="E0311"):
            load_preprocess(tmp_path / name)


def test_normalize_along_the_channel_axis():
    """Three numbers run along the given axis, one number along none."""
    pixels = np.full((2, 3), 10, np.uint8)
    settings = Preprocess(mean=(1, 2, 3), std=(2,))
    assert settings.normalize(pixels, axis=1).tolist() == [[4.5, 4.0, 3.5]] * 2
    assert Preprocess(mean=(4,)).normalize(pixels, axis=0).tolist() == [[6.0] * 3] * 2
    assert settings.normalize(pixels, axis=1).dtype == np.float32
