"""What long work tells its watcher; the command line draws bars, Python callers may ignore it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Progress(Protocol):
    """Receives the start, the steps and the end of each stage."""

    def start(self, stage: str, total: int | None = None) -> None:
        """A stage begins; `total` steps are expected where that is known."""
        ...

    def advance(self, done: int) -> None:
        """`done` steps of the current stage are complete."""
        ...

    def finish(self) -> None:
        """The current stage is complete."""
        ...


class Silent:
    """Shows nothing."""

    def start(self, stage: str, total: int | None = None) -> None:
        """Ignore."""

    def advance(self, done: int) -> None:
        """Ignore."""

    def finish(self) -> None:
        """Ignore."""


class Stopwatch:
    """Times stages by name and passes them on to a progress watcher."""

    def __init__(self, progress: Progress | None = None) -> None:
        self.progress: Progress = progress or Silent()
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str, total: int | None = None) -> Iterator[None]:
        """Time a block; repeated stages add up."""
        self.progress.start(name, total)
        begin = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - begin
            self.progress.finish()
