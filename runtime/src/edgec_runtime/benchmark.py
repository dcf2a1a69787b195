"""Measure a model so that the figures can be compared with those of another day, board or build.

import ─▶ load ─▶ first run ─▶ warm-up ─▶ timed runs, back to back ─▶ whole calls ─▶ 1 thread against N
   each a figure of its own              └─ the interpreter's invoke alone: values are set before, read after
"""

from __future__ import annotations

import gc
import time
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from edgec_runtime.backends import load_backend
from edgec_runtime.device import Conditions, conditions, device_facts
from edgec_runtime.latency import LatencyStats, latency_stats, noise
from edgec_runtime.manifest import sha256_of
from edgec_runtime.model import Model
from edgec_runtime.process import peak_resident_bytes, resident_bytes, thread_count
from edgec_runtime.report import (
    BenchmarkReport,
    LoadTimes,
    MemoryFacts,
    Method,
    ModelId,
    ThreadEffect,
    ThreadFacts,
)
from edgec_runtime.samples import random_raw

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Raw = Mapping[str, NDArray[np.generic]]

_Result = TypeVar("_Result")
THREADS_HELP_FROM = 1.3
"""Speed-up below which more threads are reported as having no effect: they cost a core each."""
_SLICES, _SLICE_SECONDS = 4, 0.15  # of the comparison with one thread; a slow model takes one run a slice
_CALLS, _CALLS_SECONDS = 10, 1.0


@dataclass(frozen=True)
class BenchOptions:
    """What to measure; warm-up and timed runs go on until both their count and their seconds are reached."""

    model: Path
    threads: int = 1
    runs: int = 50
    min_seconds: float = 1.0
    warmup_runs: int = 10
    warmup_seconds: float = 0.5
    backend: str = "auto"
    kernels: str = "auto"
    seed: int = 0


def benchmark(options: BenchOptions, read_input: Callable[[Model], Raw] | None = None) -> BenchmarkReport:
    """Run the whole measurement on the raw values of `read_input`, or on random ones without it.

    Raises:
        ModelFileError, BackendError, RuntimeInputError: as `Model`.
    """
    _, import_ms = _timed(lambda: load_backend(options.backend))
    before_load, threads_before = resident_bytes(), thread_count()
    model, load_ms = _timed(lambda: Model(options.model, options.threads, options.backend, options.kernels))
    after_load = resident_bytes()
    raw = read_input(model) if read_input else random_raw(model.inputs, options.seed)
    model.set_raw(raw)
    _, first_run_ms = _timed(model.invoke)
    steady = _measure(model, options)
    memory = MemoryFacts(before_load, after_load, resident_bytes(), peak_resident_bytes())
    started = _difference(thread_count(), threads_before)
    call_ms = _call_ms(model, raw)
    effect = _thread_effect(options, model, raw) if options.threads > 1 else None
    used = None if started is None else started + 1
    source = "file" if read_input else f"seed {options.seed}"
    return BenchmarkReport(
        model=ModelId(str(options.model), sha256_of(options.model), model.facts.size_bytes),
        backend=model.backend.name,
        backend_version=model.backend.version,
        delegate=model.delegate,
        threads=ThreadFacts(options.threads, used, steady.cores_busy, effect),
        method=Method("invoke", 1 + steady.warmup_runs, steady.warmup_seconds, source),
        load_ms=LoadTimes(import_ms, load_ms),
        first_run_ms=first_run_ms,
        latency_ms=steady.stats,
        call_ms=call_ms,
        memory=memory,
        device=device_facts(),
        before=steady.before,
        after=steady.after,
        noise=noise(steady.stats, steady.before, steady.after, steady.cores_busy),
    )


@dataclass(frozen=True)
class _Steady:
    warmup_runs: int
    warmup_seconds: float
    stats: LatencyStats
    cores_busy: float
    before: Conditions
    after: Conditions


def _measure(model: Model, options: BenchOptions) -> _Steady:
    """Warm up, then time; the machine's state is read right before and after the timed runs."""
    warmed = _repeat(model, options.warmup_runs, options.warmup_seconds)
    before = conditions()
    cpu, wall = time.process_time(), time.perf_counter()
    runs = _repeat(model, options.runs, options.min_seconds)
    cores_busy = (time.process_time() - cpu) / max(time.perf_counter() - wall, 1e-9)
    return _Steady(len(warmed), sum(warmed) / 1000, latency_stats(runs), cores_busy, before, conditions())


def _repeat(model: Model, runs: int, seconds: float) -> array[float]:
    """Return the milliseconds of each run, back to back: idle gaps let caches and clocks cool down."""
    times = array("d")  # a list of a million floats would show up in the memory figures
    invoke, clock = model.interpreter.invoke, time.perf_counter_ns
    collecting = gc.isenabled()
    gc.disable()
    try:
        end = clock() + int(seconds * 1e9)
        while len(times) < runs or clock() < end:
            start = clock()
            invoke()
            times.append((clock() - start) / 1e6)
    finally:
        if collecting:
            gc.enable()
    return times


def _call_ms(model: Model, raw: Raw) -> float:
    """Return the median of whole calls: copying in and converting out are part of an application's time."""
    times: list[float] = []
    while len(times) < 3 or (len(times) < _CALLS and sum(times) < 1000 * _CALLS_SECONDS):
        times.append(_timed(lambda: model.run_raw(raw))[1])
    return _median(times)


def _thread_effect(options: BenchOptions, many: Model, raw: Raw) -> ThreadEffect:
    """Compare with one thread in alternating slices, so that a drifting clock hits both alike."""
    one = Model(options.model, 1, options.backend, options.kernels)
    one.set_raw(raw)
    _repeat(one, 1, _SLICE_SECONDS)
    alone, together = array("d"), array("d")
    for _ in range(_SLICES):
        alone += _repeat(one, 1, _SLICE_SECONDS)
        together += _repeat(many, 1, _SLICE_SECONDS)
    speedup = _median(alone) / _median(together)
    return ThreadEffect(_median(alone), _median(together), speedup, speedup >= THREADS_HELP_FROM)


def _median(times: Sequence[float]) -> float:
    return latency_stats(times).median


def _timed(action: Callable[[], _Result]) -> tuple[_Result, float]:
    start = time.perf_counter_ns()
    result = action()
    return result, (time.perf_counter_ns() - start) / 1e6


def _difference(after: int | None, before: int | None) -> int | None:
    return None if after is None or before is None else max(after - before, 0)
