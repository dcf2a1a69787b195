"""Keeps what native code writes to standard error out of the user's terminal."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def captured_stderr() -> Iterator[Callable[[], str]]:
    """Collect file descriptor 2 while the block runs; the yielded function returns the text so far.

    LiteRT's C++ logger writes there directly ("Created TensorFlow Lite XNNPACK delegate", and the reason of
    a failed allocation), so `sys.stderr` cannot catch it.
    """
    try:
        saved = os.dup(2)
    except OSError:  # no standard error at all, for instance under pythonw
        yield lambda: ""
        return
    sys.stderr.flush()
    with tempfile.TemporaryFile() as sink:
        os.dup2(sink.fileno(), 2)
        try:
            yield lambda: _text(sink.fileno())
        finally:
            os.dup2(saved, 2)
            os.close(saved)


def _text(descriptor: int) -> str:
    size = os.fstat(descriptor).st_size
    os.lseek(descriptor, 0, os.SEEK_SET)
    raw = os.read(descriptor, size)
    os.lseek(descriptor, 0, os.SEEK_END)
    return raw.decode(errors="replace").strip()
