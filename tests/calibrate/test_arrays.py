"""Array files as samples: contract, streaming, and damaged or hostile files."""

import os
import pickle
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from edgec.calibrate.data import InputSpec, open_samples
from edgec.calibrate.preprocess import Preprocess
from edgec.diagnostics import CompileError, Severity

IMAGE = InputSpec("image", (1, 3, 4, 5), np.dtype(np.float32), "nchw")
VECTOR = InputSpec("obs", (1, 6), np.dtype(np.float32))
STATE = InputSpec("state", (2, 1, 3), np.dtype(np.float32))
RNG = np.random.default_rng(7)
PIXELS = RNG.standard_normal((9, 3, 4, 5)).astype(np.float32)


def values(samples, name):
    return np.stack([sample[name] for sample in samples])


def error(source, inputs=(IMAGE,), **options):
    """Open and read everything; return the text of the error."""
    with pytest.raises(CompileError) as caught:
        list(open_samples(source, inputs, **options))
    return str(caught.value)


def save(path: Path, compressed: bool, **arrays) -> Path:
    (np.savez_compressed if compressed else np.savez)(path, **arrays)
    return path


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("name", ["image", "in0", "anything"])
@pytest.mark.parametrize("batch", [False, True])
def test_npz(tmp_path, compressed, name, batch):
    """Own name, position or (single input) any name; with or without the batch axis; the values unchanged."""
    stored = PIXELS[:, None] if batch else PIXELS
    samples = open_samples(save(tmp_path / "a.npz", compressed, **{name: stored}), [IMAGE])
    assert len(samples) == 9
    for _ in range(2):  # re-iterable
        assert np.array_equal(values(samples, "image"), PIXELS[:, None])
    assert all(sample["image"].dtype == np.float32 for sample in samples)
    assert samples.notes == ()


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_memory_order_does_not_matter(tmp_path, order, suffix):
    """Fortran-ordered arrays (a saved transpose) give the same rows."""
    table = np.asarray(RNG.standard_normal((50, 6)).astype(np.float32), order=order)
    path = tmp_path / f"a{suffix}"
    np.save(path, table) if suffix == ".npy" else np.savez_compressed(path, obs=table)
    assert np.array_equal(values(open_samples(path, [VECTOR]), "obs")[:, 0], table)


def test_arrays_in_memory_and_digest_agree_with_files(tmp_path):
    """The digest is of the delivered tensors: container, compression and batch axis do not change it."""
    digests = {
        open_samples(save(tmp_path / "a.npz", True, image=PIXELS), [IMAGE]).sha256,
        open_samples(save(tmp_path / "b.npz", False, in0=PIXELS[:, None]), [IMAGE]).sha256,
        open_samples(PIXELS, [IMAGE]).sha256,
        open_samples({"image": PIXELS.astype(np.float64)}, [IMAGE]).sha256,
    }
    assert len(digests) == 1
    assert open_samples(PIXELS + 1, [IMAGE]).sha256 not in digests
    assert open_samples(PIXELS[::-1], [IMAGE]).sha256 not in digests


def test_several_inputs_by_name_and_position(tmp_path):
    """Names win over positions; order in the file does not matter; other arrays are ignored with a note."""
    observations, states = np.ones((4, 6), np.float32), np.zeros((4, 2, 1, 3), np.float32)
    path = save(tmp_path / "a.npz", True, in1=states, obs=observations, label=np.arange(4))
    samples = open_samples(path, [VECTOR, STATE])
    first = next(iter(samples))
    assert first["obs"].shape == (1, 6) and first["obs"].all() and not first["state"].any()
    assert [note.code for note in samples.notes] == ["W0303"] and "'label'" in samples.notes[0].what


def test_limit_takes_the_first_rows():
    """Rows are known by their position (labels go with them), so the first ones are taken."""
    samples = open_samples(PIXELS, [IMAGE], limit=4)
    assert len(samples) == len(list(samples)) == 4
    assert np.array_equal(values(samples, "image"), PIXELS[:4, None])
    assert "first 4 of 9 rows of 'samples'" in str(samples.describe())
    assert len(open_samples(PIXELS, [IMAGE], limit=99)) == 9
    assert "E0314" in error(PIXELS, limit=0)


def test_samples_belong_to_the_caller():
    """Writing into a sample changes neither the source nor the next pass."""
    samples = open_samples(PIXELS, [IMAGE])
    for sample in samples:
        sample["image"][...] = 0
    assert np.array_equal(values(samples, "image"), PIXELS[:, None])


def test_single_input_takes_the_only_array_that_fits(tmp_path):
    """Labels do not fit an image input, so `x` is meant; the note names what was ignored."""
    path = save(tmp_path / "a.npz", True, x=PIXELS, y=np.arange(9), names=np.array(["cat"] * 9))
    samples = open_samples(path, [IMAGE])
    assert np.array_equal(values(samples, "image"), PIXELS[:, None])
    assert "uses 'x' and ignores 'y', 'names'" in samples.notes[0].what


def test_closest_fit_wins_and_ties_are_errors(tmp_path):
    """An exact fit beats one up to axes of length 1; two exact fits are listed, not chosen from."""
    one = InputSpec("t", (1, 1), np.dtype(np.float32))
    path = save(tmp_path / "a.npz", False, features=np.zeros((5, 1)), y=np.zeros(5))
    assert "uses 'features'" in open_samples(path, [one]).notes[0].what
    text = error(save(tmp_path / "b.npz", False, x=PIXELS, z=PIXELS))
    assert "E0303" in text and "2 arrays fit" in text
    assert (
        "'x' float32[9,3,4,5], 'z' float32[9,3,4,5]" in text and "Name the right one 'image' or 'in0'" in text
    )


def test_layout_is_converted_when_known(tmp_path):
    """Channels-last data for a channels-first input is transposed, and a note says so."""
    samples = open_samples(PIXELS.transpose(0, 2, 3, 1), [IMAGE])
    assert np.array_equal(values(samples, "image"), PIXELS[:, None])
    assert samples.notes[0].severity is Severity.NOTE
    assert "channels-last data for a channels-first input; transposed to fit" in samples.notes[0].what


def test_layout_is_named_when_unknown():
    """Without a known layout the same data is refused, naming both layouts."""
    unknown = InputSpec("image", IMAGE.shape, IMAGE.dtype, None)
    text = error({"image": PIXELS.transpose(0, 2, 3, 1)}, [unknown])
    assert "array 'image' is [9,4,5,3]; input 'image' is [1,3,4,5]: channels-last data" in text


def test_layout_is_named_for_an_array_of_any_name(tmp_path):
    """Labels beside the pixels do not hide why the pixels do not fit."""
    unknown = InputSpec("image", IMAGE.shape, IMAGE.dtype, None)
    text = error(save(tmp_path / "a.npz", True, x=PIXELS.transpose(0, 2, 3, 1), y=np.arange(9)), [unknown])
    assert text.startswith("E0305") and "array 'x' is [9,4,5,3]" in text
    assert "no arrays fit" in error({"x": np.zeros((9, 7)), "y": np.zeros(9)})


def test_sample_sets_travel_between_processes(tmp_path):
    """Data-parallel calibration pickles the set, not the data."""
    samples = open_samples(save(tmp_path / "a.npz", True, image=PIXELS), [IMAGE])
    copied = pickle.dumps(samples)
    assert len(copied) < 3000 and pickle.loads(copied).sha256 == samples.sha256


def test_every_wrong_input_is_reported():
    """All misfits come in one error, not one per run."""
    text = error({"obs": np.zeros((4, 5)), "state": np.zeros((4, 7))}, [VECTOR, STATE])
    assert text.count("E0304") == 2
    text = error({"a": np.zeros((4, 6))}, [VECTOR, STATE])
    assert text.count("E0303") == 2 and "no array for input 'obs' float32[1,6]" in text
    assert "E0309" in error({"obs": np.zeros((4, 6)), "state": np.zeros((5, 2, 1, 3))}, [VECTOR, STATE])


def test_uint8_images_are_used_as_they_are_or_normalized_when_stated():
    """0..255 stays 0..255 with a note; stated mean and std apply to whole numbers, not to floats."""
    pixels = RNG.integers(0, 256, (5, 4, 5, 3), np.uint8)
    plain = open_samples(pixels, [IMAGE])
    assert np.array_equal(values(plain, "image")[:, 0], pixels.transpose(0, 3, 1, 2))
    assert any("0..255; no normalization was applied" in note.what for note in plain.notes)
    signed = open_samples(pixels.view(np.int8), [IMAGE])
    assert any("int8 array 'samples' is used as it is; no" in note.what for note in signed.notes)
    stated = Preprocess(mean=(10, 20, 30), std=(2, 4, 5))
    normalized = values(open_samples(pixels, [IMAGE], preprocess=stated), "image")
    assert np.allclose(normalized[:, 0, 2], (pixels[..., 2] - 30.0) / 5, rtol=1e-6)  # blue has the third pair
    floats = open_samples(PIXELS, [IMAGE], preprocess=stated)
    assert np.array_equal(values(floats, "image"), PIXELS[:, None])
    assert "mean and std are not applied to the float32 array" in floats.notes[0].what
    grey = InputSpec("g", (1, 1, 4, 5), np.dtype(np.float32), "nchw")
    assert "E0311" in error(pixels[..., :1], [grey], preprocess=stated)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_name_their_row(tmp_path, bad):
    """Opening is cheap and succeeds; reading stops at the row and names it."""
    broken = PIXELS.copy()
    broken[6, 1, 2, 3] = bad
    path = save(tmp_path / "a.npz", True, image=broken)
    samples = iter(open_samples(path, [IMAGE]))
    assert len([next(samples) for _ in range(6)]) == 6
    with pytest.raises(
        CompileError, match=r"E0307 .*a\.npz row 6: input 'image' holds 1 NaN or infinite float32"
    ):
        next(samples)


def test_float64_beyond_float32_is_reported_as_infinite():
    """An overflow in the cast is found like an infinity in the file."""
    assert "row 0: input 'obs' holds 6" in error(np.full((2, 6), 1e300), [VECTOR])


@pytest.mark.parametrize(
    ("array", "code"),
    [
        (np.zeros((0, 3, 4, 5), np.float32), "E0308"),
        (np.zeros((3, 4, 5), np.float32), "E0304"),
        (np.float32(1), "E0304"),
        (np.zeros((2, 2, 3, 4, 5), np.float32), "E0304"),
        (np.array([["a"]]), "E0306"),
        (np.array([{"a": 1}], dtype=object), "E0306"),
    ],
)
@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_wrong_arrays(tmp_path, array, code, suffix):
    """Empty sets, wrong ranks, text and pickles are refused from the header alone."""
    path = tmp_path / f"a{suffix}"
    np.save(path, array) if suffix == ".npy" else np.savez(path, image=array)
    assert code in error(path)


def test_float_arrays_do_not_feed_integer_inputs():
    """Rounding would hide a mistake; integers that fit are cast."""
    tokens = InputSpec("ids", (1, 4), np.dtype(np.int32))
    assert "E0306" in error(np.zeros((2, 4), np.float32), [tokens])
    assert next(iter(open_samples(np.full((2, 4), 9), [tokens])))["ids"].dtype == np.int32


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("keep", [0.2, 0.6, 0.97])
def test_truncated_zip(tmp_path, compressed, keep):
    """A cut download has no central directory."""
    data = save(tmp_path / "a.npz", compressed, image=PIXELS).read_bytes()
    (tmp_path / "cut.npz").write_bytes(data[: int(len(data) * keep)])
    assert "E0302" in error(tmp_path / "cut.npz")


@pytest.mark.parametrize("compressed", [False, True])
def test_flipped_bit_fails_the_checksum(tmp_path, compressed):
    """A damaged member is noticed at the latest with its last row, never delivered whole."""
    path = save(tmp_path / "a.npz", compressed, image=PIXELS)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x10
    path.write_bytes(data)
    assert "E0302" in error(path)


def _npy(header: str, data: bytes = b"") -> bytes:
    padded = header.encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(padded).to_bytes(2, "little") + padded + data


@pytest.mark.parametrize(
    ("header", "text"),
    [
        ("{'descr':'<f4','fortran_order':False,'shape':(1000000000000,3,4,5)}", "the file holds 8"),
        ("{'descr':'<f4','fortran_order':True,'shape':(1000000000000,3,4,5)}", "the file holds 8"),
        ("{'descr':'<f4','fortran_order':False,'shape':(-9,3,4,5)}", "declares the shape [-9,3,4,5]"),
        ("{'descr':'<f4','fortran_order':False}", "ValueError"),
        ("__import__('os').abort()", "ValueError"),
        ("(" * 110, "E0302"),
    ],
)
@pytest.mark.parametrize("zipped", [False, True])
def test_hostile_headers(tmp_path, header, text, zipped):
    """A header that declares more than the file holds, or is no header, is refused without allocating."""
    path = tmp_path / ("a.npz" if zipped else "a.npy")
    if zipped:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("image.npy", _npy(header, bytes(8)))
    else:
        path.write_bytes(_npy(header, bytes(8)))
    message = error(path)
    assert message.startswith("E0302") and text in message


def test_truncated_npy(tmp_path):
    """The header's size is compared with the file's."""
    np.save(tmp_path / "a.npy", PIXELS)
    os.truncate(tmp_path / "a.npy", 500)
    assert "declares [9,3,4,5] float32 = 2160 bytes, the file holds 372" in error(tmp_path / "a.npy")


def test_files_of_other_kinds(tmp_path):
    """Missing paths, text under an array's name, empty files and other suffixes each get their message."""
    (tmp_path / "a.npy").write_text("not an array")
    (tmp_path / "b.npz").write_bytes(b"")
    (tmp_path / "c.txt").write_text("x")
    with zipfile.ZipFile(tmp_path / "d.npz", "w"):
        pass
    assert "E0302" in error(tmp_path / "a.npy") and "E0302" in error(tmp_path / "b.npz")
    assert "E0301" in error(tmp_path / "c.txt") and "E0308" in error(tmp_path / "d.npz")
    assert "there is no such file or folder" in error(tmp_path / "missing.npz")
    assert "E0301" in error("x" * 5000) and "E0301" in error("a\0b")
    assert "E0303" in error(PIXELS, inputs=())
    assert "E0302" in error({"image": [[1, 2], [3]]})


def test_memory_is_independent_of_the_number_of_samples(tmp_path):
    """Reading 64 MB of compressed rows allocates a few rows, not the array."""
    wide = InputSpec("w", (1, 4096), np.dtype(np.float32))
    path = save(tmp_path / "a.npz", True, w=np.zeros((4096, 4096), np.float32))
    tracemalloc.start()
    assert sum(1 for _ in open_samples(path, [wide])) == 4096
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4_000_000  # a row is 16 kB; the rest is zip and decoder state


def test_reading_part_of_a_file_closes_it(tmp_path):
    """An abandoned pass leaves no open file (open files are errors under -W error)."""
    path = save(tmp_path / "a.npz", True, image=PIXELS)
    iterator = iter(open_samples(path, [IMAGE]))
    next(iterator)
    del iterator
    before = len(list(Path("/proc/self/fd").iterdir())) if Path("/proc/self/fd").exists() else 0
    for _ in range(20):
        next(iter(open_samples(path, [IMAGE])))
    after = len(list(Path("/proc/self/fd").iterdir())) if Path("/proc/self/fd").exists() else 0
    assert after <= before
