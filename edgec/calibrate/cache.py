"""Ranges that were calibrated before: kept in the user's cache folder, found again by content.

    key = sha256(float model's bytes, samples' identity, observer, settings, versions)

A file of a folder or an .npz is identified by its bytes, so that finding ranges again costs reading, not
decoding. The cache never fails a compile: what cannot be read is calibrated again, what cannot be written is
left out. Entries are whole or absent and the folder stays below `MAX_BYTES`.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from edgec.atomic_write import write_text
from edgec.calibrate import problems
from edgec.calibrate.ranges import Ranges
from edgec.calibrate.samples import SampleSet
from edgec.diagnostics import CompileError, Diagnostic
from edgec.emit import emit
from edgec.ir import Model

FOLDER_VARIABLE = "EDGEC_CACHE_DIR"
MAX_BYTES = 64 << 20
SCHEMA = 2  # raised whenever the same samples would give other ranges

_STALE_SECONDS = 24 * 3600  # a temporary file of this age belongs to no running compile


@dataclass(frozen=True, slots=True)
class RangeCache:
    """Ranges by key in a folder; without a folder nothing is found and nothing is kept."""

    folder: Path | None
    max_bytes: int = MAX_BYTES

    def load(self, key: str, samples: SampleSet) -> Ranges | None:
        """Return the ranges kept under a key, or None; `samples` learn their digest without a pass."""
        if self.folder is None:
            return None
        path = self._path(self.folder, key)
        try:
            fields: object = json.loads(path.read_text(encoding="utf-8"))
            ranges, digest = _checked(fields, key)
        except (OSError, ValueError, TypeError, IndexError, RecursionError):
            return None
        with suppress(OSError):
            os.utime(path)  # the least recently used entries go first
        samples.remember(digest)
        return ranges

    def store(self, key: str, ranges: Ranges, samples: SampleSet) -> None:
        """Keep ranges under a key, where the folder can be written."""
        if self.folder is None:
            return
        fields = {"schema": SCHEMA, "key": key, "samples_sha256": samples.sha256, **ranges.to_dict()}
        with suppress(OSError, CompileError):
            self.folder.mkdir(parents=True, exist_ok=True)
            write_text(self._path(self.folder, key), json.dumps(fields))
            self._evict(self.folder)

    def note(self, key: str, ranges: Ranges) -> Diagnostic:
        """Say that calibration was skipped."""
        path = "" if self.folder is None else str(self._path(self.folder, key))
        what = f"is skipped: the same model and the same {ranges.samples} samples were calibrated before"
        step = f"`--no-cache` calibrates again, and so does removing {path}."
        return problems.note(problems.CACHED, "calibration", what, next_step=step)

    @staticmethod
    def _path(folder: Path, key: str) -> Path:
        return folder / f"{key}.json"

    def _evict(self, folder: Path) -> None:
        """Remove what interrupted writes left, then the entries unused for longest until the rest fits."""
        now = time.time()
        for path in folder.glob(".edgec-*.tmp"):
            if now - path.stat().st_mtime > _STALE_SECONDS:
                path.unlink(missing_ok=True)
        found = [(path.stat(), path) for path in folder.glob("*.json")]
        total = sum(facts.st_size for facts, _ in found)
        for facts, path in sorted(found, key=lambda entry: (entry[0].st_mtime_ns, entry[1].name)):
            if total <= self.max_bytes:
                return
            path.unlink(missing_ok=True)
            total -= facts.st_size


NO_CACHE = RangeCache(None)


def user_cache() -> RangeCache:
    """Return the cache in the user's folder; none where `EDGEC_CACHE_DIR` is empty or there is no home."""
    folder = cache_folder(os.environ, sys.platform)
    return NO_CACHE if folder is None else RangeCache(folder / "ranges")


def cache_folder(environment: Mapping[str, str], platform: str) -> Path | None:
    """Return edgec's cache folder by the platform's own convention, or None."""
    chosen = environment.get(FOLDER_VARIABLE)
    if chosen is not None:
        return Path(chosen) if chosen else None
    try:
        if platform == "win32":
            local = environment.get("LOCALAPPDATA")
            return (Path(local) if local else Path.home() / "AppData" / "Local") / "edgec" / "Cache"
        if platform == "darwin":
            return Path.home() / "Library" / "Caches" / "edgec"
        base = environment.get("XDG_CACHE_HOME", "")
        return (Path(base) if Path(base).is_absolute() else Path.home() / ".cache") / "edgec"
    except RuntimeError:  # there is no home folder
        return None


def range_key(model: Model, samples: SampleSet, observer: str, settings: str = "") -> str:
    """Return the key of a calibration.

    Args:
        model: the float model, in the state that will be calibrated.
        samples: what it is calibrated with.
        observer: a name in `OBSERVER_NAMES`.
        settings: whatever else decides about the ranges; for `auto` all that its score depends on.
    """
    digest = hashlib.sha256()
    for chunk in emit(model).chunks():
        digest.update(chunk)
    parts = [digest.hexdigest(), samples.identity, observer, settings, str(SCHEMA)]
    parts += [_version("edgec"), _version("ai-edge-litert"), _version("numpy")]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _checked(fields: object, key: str) -> tuple[Ranges, str]:
    """Return what an entry holds; ValueError or TypeError for anything that `store` does not write."""
    if not isinstance(fields, dict) or (fields.get("schema"), fields.get("key")) != (SCHEMA, key):
        raise ValueError("another entry")
    digest = fields.get("samples_sha256")
    ranges = Ranges.from_dict(fields)
    finite = all(math.isfinite(low) and math.isfinite(high) and low <= high for low, high in ranges.values())
    if not isinstance(digest, str) or len(digest) != 64 or not finite or ranges.samples < 1:
        raise ValueError("damaged entry")
    return ranges, digest
