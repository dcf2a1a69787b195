"""The door to calibration data: a path, a function or arrays in, a `SampleSet` out.

folder of images or wavs · .npz · .npy · module:function · arrays · iterables  ──open_samples──▶  SampleSet
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias, cast

import numpy as np

from edgec.calibrate import problems
from edgec.calibrate.arrays import memory_columns, open_columns
from edgec.calibrate.audio import audio_samples
from edgec.calibrate.binding import array_samples
from edgec.calibrate.folders import ARRAY_SUFFIXES, MediaFolder, scan
from edgec.calibrate.functions import function_samples, is_reference
from edgec.calibrate.images import image_samples
from edgec.calibrate.iterables import iterable_samples
from edgec.calibrate.preprocess import Preprocess, load_preprocess
from edgec.calibrate.samples import Array, InputSpec, Sample, SampleDescription, SampleSet
from edgec.calibrate.synthetic import random_samples
from edgec.diagnostics import CompileError, Diagnostic

__all__ = [
    "DEFAULT_FOLDER",
    "InputSpec",
    "Sample",
    "SampleDescription",
    "SampleSet",
    "Source",
    "find_default_samples",
    "open_samples",
    "random_samples",
]

Source: TypeAlias = str | os.PathLike[str] | Array | Mapping[str, Array] | Callable[[], object]
LiveSource: TypeAlias = Source | Iterable[object]

DEFAULT_FOLDER = Path("calibration_data")

_Arrays: TypeAlias = Array | Mapping[str, Array]
_KINDS = "Give a folder of images or wavs, an .npz or .npy file, or module:function."


def open_samples(
    source: LiveSource,
    inputs: Sequence[InputSpec],
    *,
    preprocess: Preprocess | None = None,
    limit: int | None = None,
) -> SampleSet:
    """Return the samples of a source for these inputs, after checking all that can be checked without data.

    `preprocess` states how media files (and whole-number image arrays) become tensors; what it states wins
    over the folder's own `preprocess.toml`. With `limit`, arrays and functions give their first samples,
    folders give files evenly spaced by name.

    Raises `CompileError` (E03xx) for everything wrong with the source; `SampleSet.notes` holds what was
    adapted or assumed.
    """
    if not inputs:
        raise problems.fail(problems.BINDING, "calibration", "the model has no inputs to feed")
    if limit is not None and limit < 1:
        raise problems.fail(
            problems.OPTION, "calibration", f"limit {limit}", "At least one sample is needed."
        )
    if isinstance(source, (np.ndarray, Mapping)):
        columns = memory_columns(cast(_Arrays, source))
        return array_samples(columns, inputs, "arrays in memory", preprocess, limit)
    if callable(source):
        return function_samples(source, inputs, preprocess, limit)
    if not isinstance(source, str | os.PathLike):
        return _open_iterable(source, inputs, preprocess, limit)
    try:
        if not Path(source).exists() and is_reference(os.fspath(source)):
            return function_samples(os.fspath(source), inputs, preprocess, limit)
        return _open_path(Path(source), inputs, preprocess, limit)
    except OSError as error:  # no permission, a name too long, a file gone while it was looked at
        raise problems.fail(
            problems.SOURCE, str(source), problems.cause_text(error), next_step=_KINDS
        ) from None


def _open_iterable(
    source: object, inputs: Sequence[InputSpec], preprocess: Preprocess | None, limit: int | None
) -> SampleSet:
    if isinstance(source, Iterable):
        return iterable_samples(source, inputs, preprocess, limit)
    step = f"{_KINDS} From Python also arrays, a function, or an iterable of samples."
    raise problems.fail(problems.SOURCE, type(source).__name__, "is no source of samples", next_step=step)


def find_default_samples(
    folder: Path = DEFAULT_FOLDER,
    *,
    inputs: Sequence[InputSpec],
    preprocess: Preprocess | None = None,
    limit: int | None = None,
    reasons: list[Diagnostic] | None = None,
) -> SampleSet | None:
    """Return the one set in `folder` that fits the inputs, or None; `reasons` receives why each did not.

    Looked at: media files directly in the folder, each direct subfolder, and array files in either. Because
    nobody named the set, images must have the input's size and color unless settings say otherwise.
    Raises `CompileError` when several sets fit.
    """
    reasons = [] if reasons is None else reasons
    if not folder.is_dir():
        reasons.append(Diagnostic(problems.SOURCE, str(folder), "there is no such folder"))
        return None
    fitting: list[tuple[Path, SampleSet]] = []
    for candidate in _candidates(folder):
        try:
            samples = _open_default(candidate, folder, inputs, preprocess, limit)
        except CompileError as error:
            reasons.extend(error.diagnostics)
        else:
            fitting += [(candidate, samples)] if samples is not None else []
    if len(fitting) > 1:
        raise _ambiguous(folder, fitting)
    if not fitting:
        if not reasons:
            reasons.append(Diagnostic(problems.EMPTY, str(folder), "holds no images, wavs or arrays"))
        return None
    path, samples = fitting[0]
    return samples.with_notes(problems.note(problems.DEFAULTED, str(path), f"is used: {samples.describe()}"))


def _open_path(
    path: Path, inputs: Sequence[InputSpec], preprocess: Preprocess | None, limit: int | None
) -> SampleSet:
    if path.is_dir():
        return _open_folder(scan(path), inputs, preprocess, limit)
    if not path.exists():
        raise problems.fail(problems.SOURCE, str(path), "there is no such file or folder", next_step=_KINDS)
    if path.suffix.lower() not in ARRAY_SUFFIXES or not path.is_file():
        raise problems.fail(problems.SOURCE, str(path), "is no source of samples", next_step=_KINDS)
    return array_samples(open_columns(path), inputs, str(path), preprocess, limit)


def _open_folder(
    folder: MediaFolder,
    inputs: Sequence[InputSpec],
    preprocess: Preprocess | None,
    limit: int | None,
    default: bool = False,
) -> SampleSet:
    if folder.images and folder.audio:
        images, wavs = len(folder.images), len(folder.audio)
        what = f"holds {problems.counted(images, 'image')} and {problems.counted(wavs, 'wav')}"
        raise problems.fail(
            problems.SOURCE, str(folder.root), what, next_step="Name a folder with one kind only."
        )
    if not folder.images and not folder.audio:
        raise _no_media(folder)
    own = None if folder.preprocess_file is None else load_preprocess(folder.preprocess_file)
    settings = (preprocess or Preprocess()).over(own)
    if folder.audio:
        return audio_samples(folder, inputs, settings.sample_rate, limit)
    return image_samples(folder, inputs, settings, limit, adaptable=not default)


def _no_media(folder: MediaFolder) -> CompileError:
    arrays = sorted(path.name for path in folder.root.iterdir() if path.suffix.lower() in ARRAY_SUFFIXES)
    reasons = " ".join(str(note) for note in folder.notes)
    step = f"It has array files; name one: {', '.join(arrays)}." if arrays else _KINDS
    return problems.fail(problems.EMPTY, str(folder.root), "holds no images or wavs", reasons, step)


def _candidates(folder: Path) -> list[Path]:
    """Return the folder itself, its direct subfolders, and the array files in any of them; no links."""
    own = [path for path in _listed(folder) if not path.name.startswith(".") and not path.is_symlink()]
    folders = [folder, *(path for path in own if path.is_dir())]
    files = [path for place in folders for path in _listed(place) if path.is_file() and not path.is_symlink()]
    return [*folders, *(path for path in files if path.suffix.lower() in ARRAY_SUFFIXES)]


def _listed(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []  # opening the folder as a candidate reports it


def _open_default(
    candidate: Path,
    folder: Path,
    inputs: Sequence[InputSpec],
    preprocess: Preprocess | None,
    limit: int | None,
) -> SampleSet | None:
    """Open one candidate; None for a folder without media, which is no candidate."""
    if not candidate.is_dir():
        return open_samples(candidate, inputs, preprocess=preprocess, limit=limit)
    media = scan(candidate, recursive=candidate != folder)
    if not media.images and not media.audio:
        return None
    return _open_folder(media, inputs, preprocess, limit, default=True)


def _ambiguous(folder: Path, fitting: Sequence[tuple[Path, SampleSet]]) -> CompileError:
    listing = ", ".join(f"{path} ({len(samples)} samples)" for path, samples in fitting)
    return problems.fail(
        problems.AMBIGUOUS,
        str(folder),
        f"several sample sets fit the model's inputs: {listing}",
        next_step="Name one with --calibration.",
    )
