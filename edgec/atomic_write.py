"""Output files are whole or absent: written beside their destination, then renamed over it.

chunks ──▶ .edgec-1f0c….tmp ──fsync──▶ os.replace ──▶ model.tflite
                 │ any failure, Ctrl-C included
                 └──▶ removed; what was at the destination stays as it was
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from io import BufferedWriter
from pathlib import Path
from typing import TYPE_CHECKING, cast

from edgec.diagnostics import CompileError, Diagnostic

if TYPE_CHECKING:
    import numpy as np

_CAUSES = {
    errno.EACCES: (
        "the folder or file may not be written",
        "Choose another output path or change its permissions.",
    ),
    errno.EPERM: (
        "the folder or file may not be written",
        "Choose another output path or change its permissions.",
    ),
    errno.EROFS: ("the file system is read-only", "Choose an output path on a writable file system."),
    errno.ENOENT: ("the folder does not exist", "Create the folder first, or choose another output path."),
    errno.ENOTDIR: ("a part of the path is a file, not a folder", "Choose another output path."),
    errno.EISDIR: ("the path is a folder", "Give the name of a file inside it."),
    errno.ENOSPC: ("the disk is full", "Free some space, or choose an output path on another disk."),
    errno.EDQUOT: ("the disk quota is used up", "Free some space, or choose an output path on another disk."),
    errno.EFBIG: ("the file is larger than this system allows", "Raise the file size limit (ulimit -f)."),
    errno.ENAMETOOLONG: ("the file name is too long", "Choose a shorter output name with -o."),
}


def write_bytes(
    path: str | os.PathLike[str], chunks: Iterable[bytes | bytearray | memoryview | np.ndarray]
) -> None:
    """Write the chunks, in order, as one file that appears only when complete.

    Chunks are written from their own memory (no joined copy); arrays must be C-contiguous. A new file gets
    the permissions that `open()` would give it (umask), an existing one keeps its own. Symbolic links are
    followed, so the link stays and its file is replaced.

    Raises:
        CompileError: E0501, when the file cannot be written. Nothing new is left behind.
    """
    with _explained(Path(path)), _replacing(_destination(Path(path))) as file:
        for chunk in chunks:
            # The cast is for numpy's stubs, which declare the buffer protocol only from Python 3.12 on.
            file.write(cast(bytes, chunk))


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write `text` as UTF-8 with its line ends unchanged; otherwise like `write_bytes`."""
    write_bytes(path, [text.encode("utf-8")])


def check_writable(path: str | os.PathLike[str]) -> None:
    """Raise E0501 now where `write_bytes` would raise it later, before any long work; leaves no file."""
    with _explained(Path(path)):
        final = _destination(Path(path))
        probe = final.with_name(f".edgec-{secrets.token_hex(8)}.tmp")
        os.close(os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
        probe.unlink()


def _destination(path: Path) -> Path:
    """Follow symbolic links and refuse what a rename would destroy (a folder, /dev/null, a pipe)."""
    final = Path(os.path.realpath(path))  # resolve() raises RuntimeError on a loop of links
    if final.is_symlink():
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    if not final.exists():
        return final
    if final.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not final.is_file():
        raise OSError(errno.EINVAL, "the path is a device or a pipe, which cannot be replaced by a file")
    os.close(os.open(final, os.O_WRONLY))  # a rename would replace a read-only file that open() refuses
    return final


@contextmanager
def _replacing(final: Path) -> Iterator[BufferedWriter]:
    # A short name of its own: the destination's may already be as long as the file system allows.
    temporary = final.with_name(f".edgec-{secrets.token_hex(8)}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)  # the kernel applies umask
    try:
        with os.fdopen(descriptor, "wb") as file:
            if final.exists():
                os.fchmod(file.fileno(), stat.S_IMODE(final.stat().st_mode))
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(final)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        why, next_step = _CAUSES.get(
            error.errno or 0, (error.strerror or str(error), "Choose another output path.")
        )
        raise CompileError(
            Diagnostic("E0501", str(path), "cannot write this file", why, next_step)
        ) from error
