"""Keeps the interpreter's own chatter off the terminal.

LiteRT's C++ code writes "Created TensorFlow Lite XNNPACK delegate" straight to file descriptor 2, where
`sys.stderr` cannot catch it. Its errors are in the exceptions it raises.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def muted_native_stderr() -> Iterator[None]:
    """Swallow what is written to file descriptor 2 inside the block, by any thread of the process."""
    try:
        saved = os.dup(2)
    except OSError:  # there is no standard error
        yield
        return
    if sys.stderr is not None:
        sys.stderr.flush()
    with tempfile.TemporaryFile() as sink:
        os.dup2(sink.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(saved, 2)
            os.close(saved)
