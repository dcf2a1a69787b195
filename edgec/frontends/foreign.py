"""Large libraries that only some formats need: imported when asked for, and silent while they work."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from importlib import import_module
from typing import Any

from edgec.diagnostics import CompileError, Diagnostic
from edgec.kernels.native_log import captured_stderr


@contextmanager
def quiet() -> Iterator[None]:
    """Keep what a library says on standard output and error, natively too, from the user's terminal."""
    sink = io.StringIO()
    with warnings.catch_warnings(), captured_stderr(), redirect_stdout(sink), redirect_stderr(sink):
        warnings.simplefilter("ignore")
        yield


def import_extra(
    name: str, where: str, needs: str, extra: str
) -> Any:  # libraries without usable annotations
    """Return a module; CompileError (E0115) that names the extra to install where it cannot be imported.

    `needs` completes the sentence: "reading this format needs TensorFlow".
    """
    with quiet():
        try:
            return import_module(name)
        except ImportError as error:
            missing = Diagnostic(
                "E0115",
                where,
                f"{needs}, which cannot be imported",
                f"{error}.",
                f"Run `pip install 'edgec[{extra}]'`.",
            )
    raise CompileError(missing)
