"""Default sample sets and random samples."""

import numpy as np
import pytest
from PIL import Image

from edgec.calibrate.data import InputSpec, find_default_samples, open_samples, random_samples
from edgec.diagnostics import CompileError, Severity

IMAGE = InputSpec("image", (1, 1, 8, 8), np.dtype(np.float32), "nchw")
TOKENS = InputSpec("ids", (1, 6), np.dtype(np.int64))


def picture(path, size=(8, 8), mode="L"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, 9 if mode == "L" else (9, 9, 9)).save(path)


def find(folder, inputs=(IMAGE,)):
    reasons = []
    return find_default_samples(folder, inputs=inputs, reasons=reasons), [str(reason) for reason in reasons]


@pytest.mark.parametrize("place", ["a.png", "digits/a.png", "digits/deep/a.png"])
def test_the_one_image_set_that_fits_is_used(tmp_path, place):
    """Directly in the folder or below a direct subfolder; a note says what was used."""
    picture(tmp_path / place)
    (tmp_path / "README.md").write_text("source")
    samples, _ = find(tmp_path)
    assert samples is not None and len(samples) == 1
    assert samples.notes[-1].code == "W0309" and "is used: 1 samples" in samples.notes[-1].what


@pytest.mark.parametrize("place", ["a.npz", "kws/a.npz"])
def test_the_one_array_file_that_fits_is_used(tmp_path, place):
    """Sets for other models beside it are passed over, with their reasons."""
    (tmp_path / "kws").mkdir()
    np.savez(tmp_path / place, ids=np.zeros((5, 6), np.int64))
    np.savez(tmp_path / "other.npz", ids=np.zeros((5, 7), np.int64))
    picture(tmp_path / "digits" / "a.png")
    samples, reasons = find(tmp_path, [TOKENS])
    assert samples is not None and len(samples) == 5
    assert len(reasons) == 2 and any("other.npz" in reason for reason in reasons)


def test_images_are_not_adapted_unasked(tmp_path):
    """Digits must not calibrate a photo model just because any image can be stretched and colored."""
    picture(tmp_path / "digits" / "a.png")
    for shape in ((1, 1, 224, 224), (1, 3, 8, 8)):
        samples, reasons = find(tmp_path, [InputSpec("x", shape, np.dtype(np.float32), "nchw")])
        assert samples is None and len(reasons) == 1 and "E0312" in reasons[0]
    (tmp_path / "digits" / "preprocess.toml").write_text('resize = "stretch"\n')
    assert find(tmp_path, [InputSpec("x", (1, 1, 16, 16), np.dtype(np.float32), "nchw")])[0] is not None
    named = open_samples(tmp_path / "digits", [InputSpec("x", (1, 3, 8, 8), np.dtype(np.float32), "nchw")])
    assert len(named) == 1  # a set the user names is adapted


def test_several_fitting_sets_are_an_error(tmp_path):
    """Nothing is picked by name or age; the sets are listed."""
    picture(tmp_path / "a" / "a.png")
    np.savez(tmp_path / "b.npz", image=np.zeros((3, 1, 8, 8)))
    with pytest.raises(CompileError, match=r"E0313 .*a \(1 samples\), .*b\.npz \(3 samples\)\. Name one"):
        find(tmp_path)


def test_reasons_when_nothing_fits(tmp_path):
    """No folder, an empty one, broken files: each leaves a reason for the error text."""
    assert find(tmp_path / "none")[1][0].endswith("there is no such folder.")
    assert "E0308" in find(tmp_path)[1][0]
    (tmp_path / "broken.npz").write_text("x")
    samples, reasons = find(tmp_path)
    assert samples is None and len(reasons) == 1 and "broken.npz" in reasons[0]


def test_links_and_hidden_folders_are_not_looked_at(tmp_path):
    """What lies outside of the folder was not put there by the user."""
    picture(tmp_path / "elsewhere" / "a.png")
    picture(tmp_path / "set" / ".hidden" / "a.png")
    (tmp_path / "set" / "link").symlink_to(tmp_path / "elsewhere")
    assert find(tmp_path / "set")[0] is None


def test_random_samples_are_seeded_and_loud():
    """The same seed gives the same numbers; description and warning say that it is no data."""
    inputs = [IMAGE, TOKENS, InputSpec("mask", (1, 4), np.dtype(np.bool_))]
    samples = random_samples(inputs, 50, seed=3)
    assert len(samples) == len(list(samples)) == 50
    assert samples.sha256 == random_samples(inputs, 50, seed=3).sha256
    assert samples.sha256 != random_samples(inputs, 50, seed=4).sha256
    first, second, *_ = samples
    assert not np.array_equal(first["image"], second["image"])
    assert {name: (value.shape, value.dtype) for name, value in first.items()} == {
        spec.name: (spec.shape, spec.dtype) for spec in inputs
    }
    drawn = np.stack([sample["image"] for sample in samples])
    assert abs(float(drawn.mean())) < 0.1 and abs(float(drawn.std()) - 1) < 0.1  # 3200 draws: 5 sigma is 0.09
    tokens = np.stack([sample["ids"] for sample in samples])
    assert tokens.min() == 0 and tokens.max() == 7
    assert samples.notes[0].severity is Severity.WARNING and "RANDOM NUMBERS" in str(samples.describe())


def test_random_samples_refuse_nonsense():
    """No samples, negative seeds and text inputs are diagnostics."""
    for count, seed in ((0, 0), (1, -1)):
        with pytest.raises(CompileError, match="E0314"):
            random_samples([IMAGE], count, seed)
    with pytest.raises(CompileError, match="E0306"):
        random_samples([InputSpec("text", (1,), np.dtype("U8"))], 1, 0)
