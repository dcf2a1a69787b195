"""Output files are whole or absent: written beside their destination, then renamed over it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, cast

from edgec_runtime.errors import EdgecRuntimeError


class OutputError(EdgecRuntimeError, OSError):
    """An output file cannot be written; nothing is left behind."""


def write_atomic(path: str | os.PathLike[str], write: Callable[[BinaryIO], object]) -> None:
    """Call `write` with a temporary file and rename it to `path` once it is complete and on disk.

    Raises:
        OutputError: the file cannot be written; what was at `path` stays as it was.
    """
    final = Path(os.path.realpath(path))
    try:
        if final.exists() and not final.is_file():
            raise IsADirectoryError(None, "the path is a folder or a device, not a file")
        descriptor, name = tempfile.mkstemp(prefix=".edgec-runtime-", suffix=".tmp", dir=final.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                write(cast(BinaryIO, file))
                file.flush()
                os.fsync(file.fileno())
            Path(name).chmod(_mode(final))
            Path(name).replace(final)
        except BaseException:
            with suppress(OSError):
                Path(name).unlink()
            raise
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror or error}") from error


def _mode(final: Path) -> int:
    """Return the permissions that open() would leave: mkstemp makes files that only the owner may read."""
    if final.exists():
        return final.stat().st_mode & 0o7777
    umask = os.umask(0)  # the only way to read it is to set it
    os.umask(umask)
    return 0o666 & ~umask
