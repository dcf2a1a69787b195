"""Wav folders: sample formats, mixdown, length, rate, damaged files."""

import os
import wave

import numpy as np
import pytest

from edgec.calibrate.audio import decode_pcm
from edgec.calibrate.data import InputSpec, open_samples
from edgec.calibrate.preprocess import Preprocess
from edgec.diagnostics import CompileError, Severity

RAMP = [-1.0, -0.5, 0.0, 0.25, 0.5]


def encode(values, width):
    """Return values in [-1, 1) as PCM, one by one: 8 bits unsigned, wider ones signed little-endian."""
    whole = [round(value * 2 ** (8 * width - 1)) for value in values]
    if width == 1:
        return bytes(value + 128 for value in whole)
    return b"".join(value.to_bytes(width, "little", signed=True) for value in whole)


def save(path, values, width=2, channels=1, rate=16000):
    with wave.open(str(path), "wb") as sound:
        sound.setnchannels(channels)
        sound.setsampwidth(width)
        sound.setframerate(rate)
        sound.writeframes(encode(values, width))


def spec(*shape, dtype=np.float32):
    return InputSpec("audio", shape, np.dtype(dtype), None)


def error(folder, target, **options):
    with pytest.raises(CompileError) as caught:
        list(open_samples(folder, [target], **options))
    return str(caught.value)


@pytest.mark.parametrize("width", [1, 2, 3, 4])
@pytest.mark.parametrize("shape", [(1, 5), (5,), (1, 1, 5), (1, 5, 1)])
def test_sample_formats(tmp_path, width, shape):
    """All PCM widths give the same numbers: full scale is -1, silence is 0."""
    save(tmp_path / "a.wav", RAMP, width)
    (sample,) = open_samples(tmp_path, [spec(*shape)])
    assert sample["audio"].shape == shape and sample["audio"].dtype == np.float32
    assert sample["audio"].ravel().tolist() == RAMP


def test_channels_are_averaged():
    """Stereo becomes the mean of left and right."""
    stereo = encode([0.5, -0.5, 0.25, 0.75], 2)
    assert decode_pcm(stereo, 2, 2).tolist() == [0.0, 0.5]


def test_length_is_cut_or_padded(tmp_path):
    """Long files give their beginning, short ones end in silence; a note counts both."""
    save(tmp_path / "a.wav", RAMP)
    save(tmp_path / "b.wav", [0.5, 0.5])
    save(tmp_path / "c.wav", [0.25] * 3)
    samples = open_samples(tmp_path, [spec(1, 3)])
    assert [sample["audio"][0].tolist() for sample in samples] == [RAMP[:3], [0.5, 0.5, 0.0], [0.25] * 3]
    assert "1 wav cut to the first 3 samples, 1 wav padded with silence to 3" in [
        n.what for n in samples.notes
    ]
    assert samples.name(1) == "b.wav"


def test_far_longer_files_are_a_warning(tmp_path):
    """A model of two samples sees less than half of a file of five; with more than half it is a note."""
    save(tmp_path / "a.wav", RAMP)
    kinds = {length: open_samples(tmp_path, [spec(1, length)]).notes[0].severity for length in (2, 3)}
    assert kinds == {2: Severity.WARNING, 3: Severity.NOTE}


def test_sample_rate(tmp_path):
    """A stated rate is demanded of every file; without one it is noted, and a mix is a warning."""
    save(tmp_path / "a.wav", RAMP)
    save(tmp_path / "b.wav", RAMP, rate=44100)
    text = error(tmp_path, spec(1, 5), preprocess=Preprocess(sample_rate=16000))
    assert (
        "E0312" in text
        and "b.wav: is sampled at 44100 Hz; 16000 Hz is stated" in text
        and "a.wav" not in text
    )
    mixed = open_samples(tmp_path, [spec(1, 5)]).notes[-1]
    assert mixed.severity is Severity.WARNING and "1 at 16000 Hz, 1 at 44100 Hz" in mixed.what
    (tmp_path / "b.wav").unlink()
    assert "sample_rate = 16000" in open_samples(tmp_path, [spec(1, 5)]).notes[-1].next_step
    assert open_samples(tmp_path, [spec(1, 5)], preprocess=Preprocess(sample_rate=16000)).notes == ()


@pytest.mark.parametrize("target", [spec(1, 49, 10), spec(1, 1), spec(1, 5, dtype=np.int16)])
def test_inputs_that_want_features(tmp_path, target):
    """A spectrogram cannot be fed with a waveform by accident."""
    save(tmp_path / "a.wav", RAMP)
    assert "E0312" in error(tmp_path, target) and "Compute the features" in error(tmp_path, target)


def test_damaged_files_are_named(tmp_path):
    """Text, empty sound, cut data and compressed formats are named with the reason."""
    for name, data in {"text": b"hello", "empty": b""}.items():
        folder = tmp_path / name
        folder.mkdir()
        (folder / "a.wav").write_bytes(data)
        assert "E0302" in error(folder, spec(1, 5)) and "a.wav" in error(folder, spec(1, 5))
    (tmp_path / "silent").mkdir()
    save(tmp_path / "silent" / "a.wav", [])
    assert "it holds no sound" in error(tmp_path / "silent", spec(1, 5))
    (tmp_path / "cut").mkdir()
    save(tmp_path / "cut" / "a.wav", RAMP * 100)
    os.truncate(tmp_path / "cut" / "a.wav", 44 + 20)
    assert "it ends after 10 of 400 samples" in error(tmp_path / "cut", spec(1, 400))
    (tmp_path / "float").mkdir()
    save(tmp_path / "float" / "a.wav", RAMP)
    data = bytearray((tmp_path / "float" / "a.wav").read_bytes())
    data[20] = 3  # format tag: IEEE float
    (tmp_path / "float" / "a.wav").write_bytes(data)
    assert "unknown format: 3" in error(tmp_path / "float", spec(1, 5))


def test_only_the_needed_part_of_a_long_file_is_read(tmp_path):
    """A file cut behind the input's length still serves."""
    save(tmp_path / "a.wav", RAMP * 100)
    os.truncate(tmp_path / "a.wav", 44 + 20)
    assert len(list(open_samples(tmp_path, [spec(1, 5)]))) == 1
