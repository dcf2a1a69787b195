"""Image folders: decoding, geometry, normalization, layout, and files that are not what they seem."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgec.calibrate.data import InputSpec, open_samples
from edgec.calibrate.preprocess import Preprocess
from edgec.diagnostics import CompileError, Severity

RGB = np.random.default_rng(2).integers(0, 256, (4, 6, 3), np.uint8)
UNIT = Preprocess(mean=(0,), std=(1,))


def spec(height=4, width=6, channels=3, layout="nchw", dtype=np.float32):
    shape = (1, channels, height, width) if layout == "nchw" else (1, height, width, channels)
    return InputSpec("x", shape, np.dtype(dtype), layout)


def save(path, pixels=RGB, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(pixels)).save(path, **options)


def only(folder, target, preprocess=None):
    """Return the single sample of a folder."""
    (sample,) = open_samples(folder, [target], preprocess=preprocess)
    return sample["x"]


def error(folder, target=None, preprocess=None):
    with pytest.raises(CompileError) as caught:
        list(open_samples(folder, [target or spec()], preprocess=preprocess))
    return str(caught.value)


@pytest.mark.parametrize("suffix", ["png", "bmp", "webp", "PNG"])
@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
def test_pixels_arrive_in_the_layout_of_the_input(tmp_path, suffix, layout):
    """Lossless formats deliver the saved pixels, channels where the input has them."""
    save(tmp_path / f"a.{suffix}", **({"lossless": True} if suffix == "webp" else {}))
    expected = RGB.transpose(2, 0, 1) if layout == "nchw" else RGB
    assert np.array_equal(only(tmp_path, spec(layout=layout), UNIT)[0], expected)


def test_jpeg_and_first_frame_of_a_gif(tmp_path):
    """JPEG is lossy, so a flat image is compared; of an animation the first frame counts."""
    save(tmp_path / "j" / "a.jpg", np.full((4, 6, 3), 77, np.uint8), quality=95)
    assert np.abs(only(tmp_path / "j", spec(), UNIT) - 77).max() <= 1
    frames = [Image.new("RGB", (6, 4), color) for color in ((255, 0, 0), (0, 255, 0))]
    (tmp_path / "g").mkdir()
    frames[0].save(tmp_path / "g" / "a.gif", save_all=True, append_images=frames[1:])
    assert only(tmp_path / "g", spec(), UNIT)[0, :, 0, 0].tolist() == [255, 0, 0]


def test_color_orders(tmp_path):
    """bgr reverses the channels, grey is the luma of ITU-R 601, and grey files fill three channels alike."""
    save(tmp_path / "c" / "a.png")
    save(tmp_path / "g" / "a.png", RGB[..., 0])
    bgr = Preprocess(mean=(0,), std=(1,), color="bgr")
    assert np.array_equal(only(tmp_path / "c", spec(), bgr)[0], RGB[..., ::-1].transpose(2, 0, 1))
    luma = RGB @ np.array([0.299, 0.587, 0.114])
    assert np.abs(only(tmp_path / "c", spec(channels=1), UNIT)[0, 0] - luma).max() <= 1  # rounding to whole
    assert np.array_equal(only(tmp_path / "g", spec(channels=1), UNIT)[0, 0], RGB[..., 0])
    assert np.array_equal(only(tmp_path / "g", spec(), UNIT)[0, 2], RGB[..., 0])


def test_mean_and_std_follow_the_channel_order(tmp_path):
    """(pixel - mean) / std in pixel units; with bgr the first pair belongs to blue."""
    save(tmp_path / "a.png")
    settings = Preprocess(mean=(103, 116, 123), std=(2, 4, 8), color="bgr")
    result = only(tmp_path, spec(), settings)[0]
    assert np.allclose(result[0], (RGB[..., 2] - 103.0) / 2) and np.allclose(
        result[2], (RGB[..., 0] - 123.0) / 8
    )


def test_unstated_facts_are_loud(tmp_path):
    """Without mean and std: pixels/255; without resize: stretched; each with a warning."""
    save(tmp_path / "a.png")
    samples = open_samples(tmp_path, [spec(2, 2)])
    assert [note.code for note in samples.notes] == ["W0301", "W0301"]
    assert all(note.severity is Severity.WARNING for note in samples.notes)
    assert "pixels/255" in samples.notes[0].what and "preprocess.toml" in samples.notes[0].next_step
    assert "1 of 1 images are not 2x2: stretched" in samples.notes[1].what
    assert np.allclose(only(tmp_path, spec())[0], RGB.transpose(2, 0, 1) / 255.0)
    assert open_samples(tmp_path, [spec()], preprocess=UNIT).notes == ()


def test_units_of_mean_and_std_are_checked(tmp_path):
    """0.485 and 0.229 belong to pixels in 0..1; applied to 0..255 they are warned about."""
    save(tmp_path / "a.png")
    settings = Preprocess(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    assert [note.code for note in open_samples(tmp_path, [spec()], preprocess=settings).notes] == ["W0310"]


def test_integer_inputs_take_raw_pixels(tmp_path):
    """A uint8 input gets the pixels; mean and std make no sense there, and int8 cannot hold them."""
    save(tmp_path / "a.png")
    samples = open_samples(tmp_path, [spec(dtype=np.uint8)])
    assert samples.notes == ()
    assert np.array_equal(next(iter(samples))["x"][0], RGB.transpose(2, 0, 1))
    assert "E0311" in error(tmp_path, spec(dtype=np.uint8), UNIT)
    assert "E0306" in error(tmp_path, spec(dtype=np.int8))


def halves(height, width):
    """Left half black, right half white."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[:, width // 2 :] = 255
    return pixels


def test_resize_modes(tmp_path):
    """What each mode keeps of a wide image, left black and right white, put into a square."""
    save(tmp_path / "a.png", halves(40, 80))
    square = spec(40, 40)

    def resized(mode):
        return only(tmp_path, square, Preprocess(mean=(0,), std=(1,), resize=mode, letterbox_fill=114))[0, 0]

    stretched, cropped, boxed = resized("stretch"), resized("crop"), resized("letterbox")
    assert stretched[:, :18].max() == 0 and stretched[:, 22:].min() == 255
    assert np.array_equal(cropped, halves(40, 40)[..., 0])  # the centre, not scaled
    assert (boxed[:10] == 114).all() and (boxed[30:] == 114).all()  # 40x20 picture in the middle
    assert boxed[12:28, :18].max() == 0 and boxed[12:28, 22:].min() == 255
    text = error(tmp_path, square, Preprocess(mean=(0,), std=(1,), resize="none"))
    assert "E0312" in text and "a.png: is 80x40" in text and "needs 40x40" in text and "letterbox" in text


def test_crop_keeps_its_share_of_the_picture(tmp_path):
    """0.5 of 80x80 is the middle 40x40, pixel for pixel; also where the size fits already."""
    pixels = np.arange(80 * 80 * 3, dtype=np.uint32).reshape(80, 80, 3).astype(np.uint8)
    save(tmp_path / "a.png", pixels)
    settings = Preprocess(mean=(0,), std=(1,), resize="crop", crop_fraction=0.5)
    assert np.array_equal(only(tmp_path, spec(40, 40), settings)[0], pixels[20:60, 20:60].transpose(2, 0, 1))
    same_size = only(tmp_path, spec(80, 80), settings)[0, 0]
    assert not np.array_equal(same_size, pixels[..., 0])
    assert "resize crop 0.5" in str(open_samples(tmp_path, [spec(40, 40)], preprocess=settings).describe())


def test_interpolation_and_place_of_the_letterbox(tmp_path):
    """Nearest makes no new colors, bilinear does; the border is below a picture that is at the top."""
    save(tmp_path / "a.png", halves(20, 40))

    def resized(**settings):
        return only(tmp_path, spec(80, 80), Preprocess(mean=(0,), std=(1,), **settings))[0, 0]

    assert set(np.unique(resized(resize="stretch", interpolation="nearest"))) == {0, 255}
    assert len(np.unique(resized(resize="stretch", interpolation="bilinear"))) > 2
    boxed = resized(resize="letterbox", letterbox_align="top-left", letterbox_fill=7)
    assert (boxed[40:] == 7).all() and not (boxed[:40] == 7).any()


def test_exif_orientation_is_applied(tmp_path):
    """A photo stored sideways is turned upright, and its upright size is what counts."""
    exif = Image.Exif()
    exif[0x0112] = 6  # stored turned; upright is rotated by 90 degrees clockwise
    save(tmp_path / "a.png", exif=exif)
    upright = np.rot90(RGB, k=-1)
    settings = Preprocess(mean=(0,), std=(1,), resize="none")
    assert np.array_equal(only(tmp_path, spec(6, 4), settings)[0], upright.transpose(2, 0, 1))


def test_files_are_sorted_and_others_skipped(tmp_path):
    """Below the folder, by name; hidden and other files are none of ours."""
    for index, name in enumerate(["b/2.png", "a/9.png", "c.png"]):
        save(tmp_path / name, np.full((4, 6, 3), index, np.uint8))
    save(tmp_path / ".hidden.png")
    save(tmp_path / ".git" / "x.png")
    (tmp_path / "README.md").write_text("source and licence")
    os.mkfifo(tmp_path / "pipe.png")
    samples = open_samples(tmp_path, [spec()], preprocess=UNIT)
    assert [samples.name(index) for index in range(len(samples))] == ["a/9.png", "b/2.png", "c.png"]
    assert [sample["x"].max() for sample in samples] == [1, 0, 2]


def test_limit_spreads_over_the_names(tmp_path):
    """Names sort by class, so a limit must not take one class alone."""
    for name in ("cat0", "cat1", "cat2", "dog0", "dog1", "dog2"):
        save(tmp_path / f"{name}.png")
    samples = open_samples(tmp_path, [spec()], preprocess=UNIT, limit=2)
    assert [samples.name(0), samples.name(1)] == ["cat0.png", "dog0.png"]
    assert "2 of 6 images evenly spaced by name" in str(samples.describe())


def test_settings_file_and_flags(tmp_path):
    """The folder's preprocess.toml applies; what flags state wins, the rest stays."""
    save(tmp_path / "a.png")
    (tmp_path / "preprocess.toml").write_text('mean = 10\nstd = [2, 2, 2]\ncolor = "bgr"\n')
    assert np.allclose(only(tmp_path, spec())[0], (RGB[..., ::-1].transpose(2, 0, 1) - 10.0) / 2)
    changed = only(tmp_path, spec(), Preprocess(std=(5,)))[0]
    assert np.allclose(changed, (RGB[..., ::-1].transpose(2, 0, 1) - 10.0) / 5)


@pytest.mark.parametrize("keep", [0, 10, 60, 100])
def test_broken_files_are_named(tmp_path, keep):
    """Text, empty and cut files are named, whether the header or the pixels are damaged."""
    save(tmp_path / "good.png")
    save(tmp_path / "cut.png", np.random.default_rng(0).integers(0, 256, (4, 6, 3), np.uint8))
    os.truncate(tmp_path / "cut.png", keep)
    text = error(tmp_path)
    assert text.startswith("E0302") and "cut.png: cannot be decoded as an image" in text


def test_decompression_bombs_are_refused(tmp_path, monkeypatch):
    """Pillow's pixel limit is kept, and its warning counts as an error."""
    save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)  # 24 pixels: in Pillow's warning zone
    assert "E0302" in error(tmp_path) and "DecompressionBomb" in error(tmp_path)


def test_links_out_of_the_folder_are_left_out(tmp_path):
    """A link may point inside; one that leaves the folder is not read, and a note says so."""
    save(tmp_path / "secret" / "s.png")
    save(tmp_path / "set" / "a.png")
    (tmp_path / "set" / "inside.png").symlink_to(tmp_path / "set" / "a.png")
    (tmp_path / "set" / "outside.png").symlink_to(tmp_path / "secret" / "s.png")
    (tmp_path / "set" / "folder").symlink_to(tmp_path / "secret")
    (tmp_path / "set" / "dangling.png").symlink_to(tmp_path / "set" / "nothing.png")
    samples = open_samples(tmp_path / "set", [spec()], preprocess=UNIT)
    assert [samples.name(index) for index in range(len(samples))] == ["a.png", "inside.png"]
    assert samples.notes[0].code == "W0303" and "outside.png" in samples.notes[0].what


def test_deep_pixels_are_refused(tmp_path):
    """16-bit pixels would be clipped to white by an 8-bit conversion."""
    save(tmp_path / "a.png", RGB[..., 0].astype(np.uint16) * 257)
    assert "E0312" in error(tmp_path, spec(channels=1)) and "pixel mode I;16" in error(
        tmp_path, spec(channels=1)
    )


def test_transparency_is_dropped(tmp_path):
    """RGBA and palettes with transparency give their colors, without warnings from the decoder."""
    save(tmp_path / "a" / "a.png", np.dstack([RGB, np.full((4, 6), 128, np.uint8)]))
    assert np.array_equal(only(tmp_path / "a", spec(), UNIT)[0], RGB.transpose(2, 0, 1))
    palette = Image.new("P", (6, 4), 1)
    palette.putpalette([0, 0, 0, 9, 8, 7])
    (tmp_path / "p").mkdir()
    palette.save(tmp_path / "p" / "a.png", transparency=bytes([0, 255]))
    assert only(tmp_path / "p", spec(), UNIT)[0, :, 0, 0].tolist() == [9, 8, 7]


@pytest.mark.parametrize(
    ("shape", "layout", "code"),
    [
        ((1, 6), None, "E0312"),
        ((1, 16, 4, 6), "nchw", "E0312"),
        ((2, 3, 4, 6), "nchw", "E0312"),
        ((1, 3, 4, 3), None, "E0312"),  # two readings, no stated layout
    ],
)
def test_inputs_that_images_cannot_feed(tmp_path, shape, layout, code):
    """The message shows the input and what it would need."""
    save(tmp_path / "a.png")
    text = error(tmp_path, InputSpec("x", shape, np.dtype(np.float32), layout))
    assert text.startswith(code) and "known layout" in text


def test_wrong_settings_for_the_input(tmp_path):
    """Colors and channel counts must agree with the input; several inputs need arrays."""
    save(tmp_path / "a.png")
    assert "E0311" in error(tmp_path, spec(), Preprocess(color="gray"))
    assert "E0311" in error(tmp_path, spec(channels=1), Preprocess(mean=(1, 2, 3)))
    with pytest.raises(CompileError, match=r"E0303 .*feeds one input; the model has 2"):
        open_samples(tmp_path, [spec(), spec()])


def test_folders_without_media(tmp_path):
    """Empty and mixed folders say what they hold; array files are pointed out."""
    assert "E0308" in error(tmp_path)
    np.save(tmp_path / "a.npy", RGB)
    assert "It has array files; name one: a.npy" in error(tmp_path)
    save(tmp_path / "a.png")
    (tmp_path / "a.wav").write_bytes(b"RIFF")
    assert "E0301" in error(tmp_path) and "holds 1 image and 1 wav" in error(tmp_path)


def test_all_files_that_are_no_images_are_named_at_once(tmp_path):
    """Whoever cleans a folder wants the list, not one name a run."""
    save(tmp_path / "good.png")
    for name in ("a.png", "[red].jpg"):
        (tmp_path / name).write_bytes(b"text")
    with pytest.raises(CompileError) as caught:
        open_samples(tmp_path, [spec()])
    assert [Path(item.where).name for item in caught.value.diagnostics] == ["[red].jpg", "a.png"]
    assert {item.what for item in caught.value.diagnostics} == {
        "cannot be decoded as an image: UnidentifiedImageError: cannot identify image file"
    }
