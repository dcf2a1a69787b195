"""How a command ends: exit codes, and exceptions as diagnostics instead of tracebacks."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
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
        from edgec.diagnostics import CompileError

        try:
            command(*args, **kwargs)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except CompileError as error:
            _fail(error.diagnostics)
        except MemoryError:
            _fail([_out_of_memory()])
        except KeyboardInterrupt:
            click.echo("interrupted; nothing was written", err=True)
            sys.exit(EXIT_INTERRUPTED)
        except Exception as error:
            if os.environ.get(SHOW_TRACEBACK):
                raise
            _fail([_internal_error(error)])

    return run


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
