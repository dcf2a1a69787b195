"""List the media files of a folder without leaving it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from edgec.calibrate import problems
from edgec.calibrate.preprocess import FILE_NAME
from edgec.diagnostics import Diagnostic

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif"})
AUDIO_SUFFIXES = frozenset({".wav"})
ARRAY_SUFFIXES = frozenset({".npz", ".npy"})

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class MediaFolder:
    """The images and wavs below a folder, sorted by relative name, and what was left out."""

    root: Path
    images: tuple[Path, ...]
    audio: tuple[Path, ...]
    notes: tuple[Diagnostic, ...]

    def relative(self, path: Path) -> str:
        """Return the file's name for messages."""
        return path.relative_to(self.root).as_posix()

    @property
    def preprocess_file(self) -> Path | None:
        """The folder's settings, when it has some of its own."""
        path = self.root / FILE_NAME
        return path if path.is_file() and _stays_inside(self.root, path) else None


def scan(root: Path, recursive: bool = True) -> MediaFolder:
    """Return the media files in a folder.

    Hidden files and folders, other kinds of files, and links to somewhere outside are left out. Links to
    folders are not followed: they may form circles.
    """
    found: list[Path] = []
    outside: list[str] = []
    for folder, folders, names in os.walk(root, followlinks=False, onerror=_refuse):
        folders[:] = sorted(name for name in folders if not name.startswith(".")) if recursive else []
        for name in names:
            path = Path(folder) / name
            if name.startswith(".") or path.suffix.lower() not in IMAGE_SUFFIXES | AUDIO_SUFFIXES:
                continue
            if not _stays_inside(root, path):
                outside.append(path.relative_to(root).as_posix())
            elif path.is_file():  # not a pipe or a dangling link: opening those can hang or fail
                found.append(path)
    found.sort(key=lambda path: path.relative_to(root).as_posix())
    return MediaFolder(
        root,
        tuple(path for path in found if path.suffix.lower() in IMAGE_SUFFIXES),
        tuple(path for path in found if path.suffix.lower() in AUDIO_SUFFIXES),
        tuple(_outside_note(root, sorted(outside))),
    )


def spread(items: Sequence[_T], limit: int | None) -> tuple[_T, ...]:
    """Return `limit` items evenly spaced over all.

    Files sorted by name are often sorted by class; the first ones would calibrate on one class alone.
    """
    if limit is None or limit >= len(items):
        return tuple(items)
    return tuple(items[index * len(items) // limit] for index in range(limit))


def _stays_inside(root: Path, path: Path) -> bool:
    return path.resolve().is_relative_to(root.resolve())


def _outside_note(root: Path, outside: list[str]) -> list[Diagnostic]:
    if not outside:
        return []
    what = f"{len(outside)} links lead outside the folder and are left out: {', '.join(outside[:5])}"
    return [
        problems.note(
            problems.IGNORED, str(root), what, next_step="Copy the files if they belong to the set."
        )
    ]


def _refuse(error: OSError) -> None:
    where = str(error.filename) if error.filename else "calibration folder"
    raise problems.fail(
        problems.UNREADABLE, where, f"cannot be listed: {error.strerror}", next_step="Check its permissions."
    ) from None
