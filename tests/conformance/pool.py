"""Judges cases in worker processes, so that neither a native crash nor an endless loop stops the run."""

from __future__ import annotations

import json
import queue
import select
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from tests.conformance.cases import Case
from tests.conformance.judge import Verdict

ROOT = Path(__file__).resolve().parents[2]
COMMAND = (sys.executable, "-m", "tests.conformance.worker")

TIMEOUT = 120.0
"""Seconds for one test. The slowest, a light VGG-19 of 143 million weights, takes a fraction of it."""
START_TIMEOUT = 120.0
"""Seconds added for a worker's first test: it imports everything and computes the suite before."""


@dataclass
class Worker:
    """One worker process; `judge` starts it, and starts it again after it died."""

    process: subprocess.Popen[str] | None = None
    log: IO[str] = field(default_factory=lambda: tempfile.TemporaryFile("w+"))  # noqa: SIM115 - see close

    def judge(self, case: Case, *, frozen: bool = False, timeout: float = TIMEOUT) -> Verdict:
        """Return the verdict on a case; a worker that dies or does not answer makes it a crash."""
        if self.process is None:
            self._start()
            timeout += START_TIMEOUT
        answer = self._ask({"name": case.name, "frozen": frozen}, timeout)
        if answer is not None:
            return Verdict(**json.loads(answer))
        return Verdict(case.name, case.operator, "crash", self._stop(timeout), frozen=frozen)

    def close(self) -> None:
        """End the process and drop its log."""
        self._end()
        self.log.close()

    def _end(self) -> None:
        if self.process is not None:
            self.process.kill()
            for pipe in (self.process.stdin, self.process.stdout):
                with suppress(BrokenPipeError):  # a request that nobody read
                    assert pipe is not None
                    pipe.close()
            self.process.wait()
        self.process = None

    def _start(self) -> None:
        self.log.seek(0)
        self.log.truncate()
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            COMMAND, cwd=ROOT, text=True, stdin=pipe, stdout=pipe, stderr=self.log
        )

    def _ask(self, request: dict[str, object], timeout: float) -> str | None:
        assert self.process is not None and self.process.stdin is not None and self.process.stdout is not None
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            return None
        readable, _, _ = select.select([self.process.stdout], [], [], timeout)
        return (self.process.stdout.readline() or None) if readable else None

    def _stop(self, timeout: float) -> str:
        """End what is left of a silent process and say what happened to it."""
        assert self.process is not None
        try:
            code = self.process.wait(5)
        except subprocess.TimeoutExpired:
            code = None
        self._end()
        self.log.seek(0)
        last = [line.strip() for line in self.log if line.strip()][-1:]
        if code is None:
            return f"no answer within {timeout:.0f} s"
        name = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return ": ".join([f"the process died ({name})", *last])


@dataclass(frozen=True)
class Job:
    """One case to judge, as shipped or with its constants frozen."""

    case: Case
    frozen: bool = False


def judge_all(jobs: Iterable[Job], *, workers: int = 2, timeout: float = TIMEOUT) -> Iterator[Verdict]:
    """Yield verdicts as they come."""
    pending: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
    verdicts: queue.SimpleQueue[Verdict | None] = queue.SimpleQueue()
    for job in jobs:
        pending.put(job)
    for _ in range(workers):
        pending.put(None)

    def serve() -> None:
        worker = Worker()
        while (job := pending.get()) is not None:
            verdicts.put(worker.judge(job.case, frozen=job.frozen, timeout=timeout))
        worker.close()
        verdicts.put(None)

    threads = [threading.Thread(target=serve, daemon=True) for _ in range(workers)]
    for thread in threads:
        thread.start()
    running = workers
    while running:
        verdict = verdicts.get()
        if verdict is None:
            running -= 1
        else:
            yield verdict
