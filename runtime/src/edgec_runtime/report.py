"""The benchmark's result: one object, written as JSON for programs or as a table for people."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import datetime, timezone

import numpy as np

from edgec_runtime.delegate import DelegateState
from edgec_runtime.device import Conditions, DeviceFacts
from edgec_runtime.latency import LatencyStats, Noise
from edgec_runtime.version import __version__

SCHEMA_VERSION = 1
KIND = "edgec-runtime-benchmark"


@dataclass(frozen=True)
class ModelId:
    """Which file was measured."""

    path: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True)
class Method:
    """How it was measured: what a run is, what came before, where the input came from."""

    timed: str
    warmup_runs: int
    warmup_seconds: float
    input: str


@dataclass(frozen=True)
class LoadTimes:
    """Milliseconds to import the interpreter, and to check, read and prepare the model."""

    interpreter_import: float
    model: float


@dataclass(frozen=True)
class ThreadEffect:
    """One thread against the requested number, medians in milliseconds."""

    one_thread_ms: float
    requested_ms: float
    speedup: float
    effective: bool


@dataclass(frozen=True)
class ThreadFacts:
    """`used` counts threads that really exist for the model, `cores_busy` is CPU time over wall time."""

    requested: int
    used: int | None
    cores_busy: float
    effect: ThreadEffect | None


@dataclass(frozen=True)
class MemoryFacts:
    """Resident bytes of the process; None where the system does not tell."""

    before_load: int | None
    after_load: int | None
    after_runs: int | None
    peak: int | None


@dataclass(frozen=True)
class BenchmarkReport:
    """Everything that one benchmark found."""

    model: ModelId
    backend: str
    backend_version: str
    delegate: DelegateState
    threads: ThreadFacts
    method: Method
    load_ms: LoadTimes
    first_run_ms: float
    latency_ms: LatencyStats
    call_ms: float
    memory: MemoryFacts
    device: DeviceFacts
    before: Conditions
    after: Conditions
    noise: tuple[Noise, ...]

    def to_dict(self) -> dict[str, object]:
        """Return the JSON document, schema version 1."""
        return {
            "schema_version": SCHEMA_VERSION,
            "kind": KIND,
            "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "model": asdict(self.model),
            "runtime": {
                "edgec_runtime": __version__,
                "interpreter": self.backend,
                "interpreter_version": self.backend_version,
                "numpy": np.__version__,
            },
            "delegate": asdict(self.delegate),
            "threads": {
                "requested": self.threads.requested,
                "used": self.threads.used,
                "cores_busy": self.threads.cores_busy,
            },
            "thread_effect": None if self.threads.effect is None else asdict(self.threads.effect),
            "method": asdict(self.method),
            "load_ms": asdict(self.load_ms),
            "first_run_ms": self.first_run_ms,
            "latency_ms": asdict(self.latency_ms),
            "call_ms": self.call_ms,
            "memory_bytes": asdict(self.memory),
            "device": asdict(self.device),
            "conditions": {"before": asdict(self.before), "after": asdict(self.after)},
            "noisy": bool(self.noise),
            "noise": [asdict(reason) for reason in self.noise],
        }

    def to_json(self) -> str:
        """Return the document as text with a final newline."""
        return json.dumps(self.to_dict(), indent=2) + "\n"

    def to_text(self) -> str:
        """Return the table for people."""
        rows = [*self._setup(), *self._times(), *self._state()]
        lines = [f"{label:<12} {text}" for label, text in rows]
        if self.noise:
            lines.append("noisy        do not compare these figures before this is dealt with:")
            lines += [f"             - {reason.code}: {reason.text}" for reason in self.noise]
        else:
            lines.append("noisy        no")
        return "\n".join(lines)

    def _setup(self) -> list[tuple[str, str]]:
        return [
            ("model", f"{self.model.path}  {self.model.size_bytes} bytes  sha256 {self.model.sha256[:12]}"),
            (
                "runtime",
                f"{self.backend} {self.backend_version}, numpy {np.__version__}, {self.device.python}",
            ),
            ("device", self._device()),
            ("delegate", str(self.delegate)),
            ("threads", self._threads()),
        ]

    def _times(self) -> list[tuple[str, str]]:
        stats, low, high = self.latency_ms, *self.latency_ms.median_ci95
        return [
            ("import", f"{self.load_ms.interpreter_import:.2f} ms for the interpreter, once per process"),
            ("load", f"{self.load_ms.model:.2f} ms"),
            ("first run", f"{self.first_run_ms:.3f} ms"),
            ("warm-up", f"{self.method.warmup_runs} runs, {self.method.warmup_seconds:.1f} s, not counted"),
            (
                "steady",
                f"median {stats.median:.3f} ms  (95 % sure: {low:.3f} to {high:.3f}), {stats.runs} runs",
            ),
            (
                "",
                f"min {stats.min:.3f}  mean {stats.mean:.3f}  p90 {stats.p90:.3f}  p99 {stats.p99:.3f}  "
                f"stdev {stats.stdev:.3f} ms",
            ),
            ("whole call", f"{self.call_ms:.3f} ms with copying values in and out"),
        ]

    def _state(self) -> list[tuple[str, str]]:
        memory = self.memory
        sizes = (
            f"{_mib(memory.before_load)} before load, {_mib(memory.after_load)} after, "
            f"{_mib(memory.after_runs)} after the runs, peak {_mib(memory.peak)}"
        )
        return [("memory", sizes), ("conditions", _conditions(self.before, self.after))]

    def _device(self) -> str:
        device = self.device
        parts = [device.board, device.cpu, f"{device.usable_cores} of {device.cores} cores"]
        parts += [f"{device.arch} {device.bits}-bit", " ".join(device.cpu_flags)]
        return ", ".join(part for part in parts if part)

    def _threads(self) -> str:
        threads = self.threads
        used = "unknown" if threads.used is None else str(threads.used)
        text = f"{threads.requested} requested, {used} used, {threads.cores_busy:.2f} cores busy"
        effect = threads.effect
        if effect is None:
            return text
        verdict = "" if effect.effective else ": threads had no effect worth their cores"
        return f"{text}; {effect.speedup:.2f}x the speed of 1 thread ({effect.one_thread_ms:.3f} ms){verdict}"


def _conditions(before: Conditions, after: Conditions) -> str:
    parts = [f"governor {before.governor or 'unknown'}"]
    if before.mhz is not None:
        parts.append(f"{before.mhz:.0f} MHz")
    if before.temperature_c is not None and after.temperature_c is not None:
        parts.append(f"{before.temperature_c:.1f} to {after.temperature_c:.1f} °C")
    if after.throttled is not None:
        parts.append(f"throttling: {', '.join(after.throttled) or 'none'}")
    if before.load_average is not None:
        parts.append(f"load average {before.load_average:.2f}")
    return ", ".join(parts)


def _mib(size: int | None) -> str:
    return "unknown" if size is None else f"{size / 2**20:.1f} MiB"
