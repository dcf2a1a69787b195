"""How a command ends: exit codes, and exceptions as diagnostics instead of tracebacks."""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import TYPE_CHECKING, Any, NoReturn

import click

if TYPE_CHECKING:
    from edgec.diagnostics import Diagnostic

EXIT_BAD_INPUT = 1
EXIT_GATE = 3
EXIT_INTERRUPTED = 130
SHOW_TRACEBACK = "EDGEC_TRACEBACK"


def exits(command: Callable[..., None]) -> Callable[..., None]:
    """Turn exceptions into diagnostics and exit codes: never a traceback for bad input."""

    @wraps(command)
    def run(*args: Any, **kwargs: Any) -> None:
        _spell_what_cannot_be_printed()
        with interruptible(), _interrupts() as pressed:
            try:
                command(*args, **kwargs)
            except (click.ClickException, click.exceptions.Exit, click.Abort):
                raise
            except Exception as error:
                if pressed():
                    raise KeyboardInterrupt from None
                _explain(error)

    return run


@contextmanager
def interruptible() -> Iterator[None]:
    """End on Ctrl-C with one line and 130."""
    try:
        yield
    except KeyboardInterrupt:
        click.echo("interrupted; nothing was written", err=True)
        sys.exit(EXIT_INTERRUPTED)


def _explain(error: Exception) -> NoReturn:
    from edgec.diagnostics import CompileError

    if isinstance(error, CompileError):
        _fail(error.diagnostics)
    if isinstance(error, MemoryError):
        _fail([_out_of_memory()])
    if os.environ.get(SHOW_TRACEBACK):
        raise error
    _fail([_internal_error(error)])


@contextmanager
def _interrupts() -> Iterator[Callable[[], bool]]:
    """Give a function that says whether Ctrl-C was pressed.

    Not every library lets a KeyboardInterrupt through: an extension module that is being imported turns it
    into an ImportError.
    """
    pressed: list[int] = []

    def note(number: int, frame: object) -> None:
        pressed.append(number)
        raise KeyboardInterrupt

    with _handling(note):
        yield lambda: bool(pressed)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Let Ctrl-C have no effect for a moment: files that belong together are written together."""
    with _handling(signal.SIG_IGN):
        yield


@contextmanager
def _handling(handler: Callable[[int, Any], None] | signal.Handlers) -> Iterator[None]:
    """Handle Ctrl-C, where it ends this process at all and this thread may decide so."""
    before = signal.getsignal(signal.SIGINT)
    mine = threading.current_thread() is threading.main_thread()
    if not mine or before in (signal.SIG_IGN, signal.SIG_DFL, None):
        yield
        return
    signal.signal(signal.SIGINT, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _spell_what_cannot_be_printed() -> None:
    """Let names in letters that the terminal's encoding lacks come out as escapes, not as an error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _fail(diagnostics: Iterable[Diagnostic]) -> NoReturn:
    from edgec.terminal import print_diagnostics

    print_diagnostics(diagnostics)
    sys.exit(EXIT_BAD_INPUT)


def _out_of_memory() -> Diagnostic:
    from edgec.diagnostics import Diagnostic

    why = "A tensor of the model is larger than this machine can hold."
    return Diagnostic(
        "E0901", "edgec", "out of memory", why, "Check the model's shapes, or use a larger machine."
    )


def _internal_error(error: Exception) -> Diagnostic:
    from edgec.diagnostics import Diagnostic

    what = f"internal error: {type(error).__name__}: {error}"
    next_step = f"Please report it with the model; {SHOW_TRACEBACK}=1 shows where it happened."
    return Diagnostic("E0900", "edgec", what, "This is a fault of edgec, not of your model.", next_step)
