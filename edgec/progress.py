"""What long work tells its watcher; the command line draws bars, Python callers may ignore it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
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

    def describe(self, what: str) -> None:
        """What the current stage is at, in a few words."""
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

    def describe(self, what: str) -> None:
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

    @contextmanager
    def steps(self, name: str) -> Iterator[Callable[[str, int, int], None]]:
        """Time a block that names its own parts: it calls `step(part, done, total)`.

        What is done between the parts, and a block that has none, counts as `name`.
        """
        parts = _Parts(self)
        parts.begin(name, None)
        try:
            yield lambda part, done, total: parts.step(part, done, total, name)
        finally:
            parts.end()


class _Parts:
    """The part of a block that runs now."""

    def __init__(self, clock: Stopwatch) -> None:
        self._clock, self._name, self._began = clock, "", 0.0

    def begin(self, name: str, total: int | None) -> None:
        self._clock.progress.start(name, total)
        self._name, self._began = name, time.perf_counter()

    def end(self) -> None:
        spent = time.perf_counter() - self._began
        self._clock.seconds[self._name] = self._clock.seconds.get(self._name, 0.0) + spent
        self._clock.progress.finish()

    def step(self, part: str, done: int, total: int, between: str) -> None:
        if part != self._name:
            self.end()
            self.begin(part, total)
        self._clock.progress.advance(done)
        if done >= total:
            self.end()
            self.begin(between, None)
