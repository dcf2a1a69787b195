"""A folder of wav files as samples of one waveform input.

PCM 8/16/24/32 bit ─▶ [-1, 1) float ─▶ mean of the channels ─▶ cut or pad with silence to the input's length
"""

from __future__ import annotations

import math
import wave
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgec.calibrate import problems
from edgec.calibrate.folders import MediaFolder, spread
from edgec.calibrate.preprocess import FILE_NAME
from edgec.calibrate.samples import InputSpec, Sample, SampleDescription, SampleSet, file_digest
from edgec.diagnostics import CompileError, Diagnostic

MUCH_LONGER = 2
"""Times the input's length: of a longer file less than half is seen."""


@dataclass(frozen=True, slots=True)
class WavHeader:
    """What a wav file says about itself; `frames` counts samples per channel."""

    path: Path
    rate: int
    frames: int


@dataclass(frozen=True, slots=True)
class AudioReader:
    """Wav files, read one at a time and never beyond the input's length."""

    folder: MediaFolder
    files: tuple[Path, ...]
    spec: InputSpec
    how: str
    repeatable: bool = True

    @property
    def description(self) -> SampleDescription:
        """Where the samples come from."""
        return SampleDescription(str(self.folder.root), len(self.files), self.how)

    def name(self, index: int) -> str:
        """Return the name of a sample."""
        return self.folder.relative(self.files[index])

    def samples(self) -> Iterator[Sample]:
        """Yield the samples from the first on."""
        length = math.prod(self.spec.shape)
        for path in self.files:
            sound = _read_mono(path, length)
            padded = np.pad(sound, (0, length - len(sound)))
            yield {self.spec.name: padded.reshape(self.spec.shape).astype(self.spec.dtype)}

    def identity(self) -> str:
        """Return the digest of the files' bytes."""
        return file_digest(self.files)


def audio_samples(
    folder: MediaFolder, inputs: Sequence[InputSpec], sample_rate: int | None, limit: int | None
) -> SampleSet:
    """Return the folder's wavs as samples; `sample_rate` in Hz, when stated, must be that of every file."""
    where = str(folder.root)
    spec = _waveform_input(inputs, where)
    files = spread(folder.audio, limit)
    headers = [_header(path) for path in files]
    _check_rates(headers, sample_rate)
    length = math.prod(spec.shape)
    notes = [*folder.notes, *_length_notes(headers, length, where)]
    if sample_rate is None:
        notes.append(_rate_note(headers, where))
    total = len(folder.audio)
    which = (
        f"{len(files)} of {total} wavs evenly spaced by name" if len(files) < total else f"all {total} wavs"
    )
    how = f"{which}, mono, [-1,1), first {length} samples of each"
    return SampleSet(AudioReader(folder, files, spec, how), inputs, notes)


def wav_lengths(files: Sequence[Path]) -> list[int]:
    """Return the samples per channel of wav files."""
    return [_header(path).frames for path in files]


def decode_pcm(data: bytes, width: int, channels: int) -> npt.NDArray[np.float32]:
    """Return interleaved little-endian PCM as mono float32 in [-1, 1).

    `width` is bytes per sample: 1 is unsigned with 128 as silence, 2..4 are signed (WAVE convention).
    """
    usable = len(data) - len(data) % (width * channels)
    raw = np.frombuffer(data[:usable], np.uint8).reshape(-1, width)
    if width == 1:
        samples = raw[:, 0].astype(np.float64) - 128
    else:
        # The bytes go to the top of a 32-bit word, so that its sign is the sample's.
        words = np.zeros((len(raw), 4), np.uint8)
        words[:, 4 - width :] = raw
        samples = words.view("<i4")[:, 0].astype(np.float64) / 2.0 ** (32 - 8 * width)
    return (samples / 2.0 ** (8 * width - 1)).reshape(-1, channels).mean(axis=1).astype(np.float32)


def _waveform_input(inputs: Sequence[InputSpec], where: str) -> InputSpec:
    if len(inputs) != 1:
        names = ", ".join(f"'{spec.name}'" for spec in inputs)
        what = f"a folder of wavs feeds one input; the model has {len(inputs)}: {names}"
        raise problems.fail(problems.BINDING, where, what, next_step="Use an .npz with one array per input.")
    spec = inputs[0]
    if spec.dtype.kind != "f" or sum(size != 1 for size in spec.shape) != 1:
        why = "A waveform is one axis of floats; other inputs are features computed from it."
        step = f"Compute the features and use an .npz with an array named '{spec.name}'."
        raise problems.fail(problems.MEDIA, where, f"wavs cannot feed {spec}", why, step)
    return spec


def _check_rates(headers: Sequence[WavHeader], sample_rate: int | None) -> None:
    wrong = [header for header in headers if sample_rate not in (None, header.rate)]
    if wrong:
        raise CompileError(
            Diagnostic(
                problems.MEDIA,
                str(header.path),
                f"is sampled at {header.rate} Hz; {sample_rate} Hz is stated",
                "Another rate shifts every frequency.",
                f"Resample it to {sample_rate} Hz.",
            )
            for header in wrong
        )


def _rate_note(headers: Sequence[WavHeader], where: str) -> Diagnostic:
    rates = Counter(header.rate for header in headers)
    step = f"State it: sample_rate = {rates.most_common(1)[0][0]} in {FILE_NAME}."
    if len(rates) == 1:
        return problems.note(
            problems.SAMPLE_RATE, where, f"wavs at {next(iter(rates))} Hz are used as they are", "", step
        )
    listing = ", ".join(f"{count} at {rate} Hz" for rate, count in sorted(rates.items()))
    why = "One model wants one rate."
    return problems.warning(problems.SAMPLE_RATE, where, f"wavs differ in sample rate: {listing}", why, step)


def _length_notes(headers: Sequence[WavHeader], length: int, where: str) -> Iterator[Diagnostic]:
    longer = sum(header.frames > length for header in headers)
    shorter = sum(header.frames < length for header in headers)
    cut = f"{problems.counted(longer, 'wav')} cut to the first {length} samples"
    padded = f"{problems.counted(shorter, 'wav')} padded with silence to {length}"
    what = ", ".join(text for text, count in ((cut, longer), (padded, shorter)) if count)
    if 2 * sum(header.frames > MUCH_LONGER * length for header in headers) > len(headers):
        why = (
            "Most files are far longer: what comes later gives no ranges, and files often begin with silence."
        )
        step = (
            f"Cut the files into pieces of {length} samples that hold sound, or use an .npz of such pieces."
        )
        yield problems.warning(problems.AUDIO_LENGTH, where, what, why, step)
    elif what:
        yield problems.note(problems.AUDIO_LENGTH, where, what)


def _header(path: Path) -> WavHeader:
    with _opened(path) as sound:
        header = WavHeader(path, sound.getframerate(), sound.getnframes())
        bits = 8 * sound.getsampwidth()
    if bits > 32:
        raise _damaged(path, f"{bits} bits per sample")
    if header.frames == 0:
        raise _damaged(path, "it holds no sound")
    return header


def _read_mono(path: Path, length: int) -> npt.NDArray[np.float32]:
    with _opened(path) as sound:
        wanted = min(length, sound.getnframes())
        mono = decode_pcm(sound.readframes(wanted), sound.getsampwidth(), sound.getnchannels())
    if len(mono) < wanted:
        raise _damaged(path, f"it ends after {len(mono)} of {wanted} samples")
    return mono


@contextmanager
def _opened(path: Path) -> Iterator[wave.Wave_read]:
    """Open a wav; whatever goes wrong inside names the file."""
    try:
        with path.open("rb") as stream, wave.open(stream) as sound:
            yield sound
    except Exception as error:  # the parser raises many types on damaged headers
        raise _damaged(path, problems.cause_text(error)) from None


def _damaged(path: Path, cause: str) -> CompileError:
    return problems.fail(
        problems.UNREADABLE,
        str(path),
        f"cannot be read as PCM wav: {cause}",
        "Float and compressed wavs are not read.",
        "Convert it to 16-bit PCM, or remove it.",
    )
