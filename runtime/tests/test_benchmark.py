"""The benchmark: what is counted and what is not, and that its words fit its figures."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgec_runtime import backends, benchmark
from edgec_runtime.backends import Backend
from edgec_runtime.benchmark import BenchOptions
from edgec_runtime.process import thread_count

FAST = {"min_seconds": 0.0, "warmup_seconds": 0.0}


class SleepingInterpreter:
    """Wraps a real interpreter; invocations take a set time, so that figures can be foretold."""

    def __init__(self, real: backends.Interpreter, sleep: Callable[[int], float]) -> None:
        self._real, self._sleep, self.calls = real, sleep, 0

    def __getattr__(self, name: str) -> object:
        return getattr(self._real, name)

    def invoke(self) -> None:
        time.sleep(self._sleep(self.calls))
        self.calls += 1


@pytest.fixture
def sleeping(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[int, int], float]], None]:
    """Register a backend 'sleeping' whose run number n on t threads takes sleep(n, t) seconds."""
    monkeypatch.setattr(backends, "_registered", {})

    def install(sleep: Callable[[int, int], float]) -> None:
        def create(source: backends.Source, threads: int, kernels: str) -> SleepingInterpreter:
            real = backends.load_backend("ai-edge-litert").create(source, threads, kernels)
            return SleepingInterpreter(real, lambda number: sleep(number, threads))

        backends.register("sleeping", lambda: Backend("sleeping", "1", create))

    return install


def test_warm_up_and_first_run_are_not_in_the_figures(sleeping, saved, int8_copy: bytes):
    """First run 60 ms, two of warm-up 30 ms each, then 2 ms: only the last show in the steady figures."""
    sleeping(lambda number, threads: 0.06 if number == 0 else 0.03 if number < 3 else 0.002)
    options = BenchOptions(saved(int8_copy), runs=8, warmup_runs=2, backend="sleeping", **FAST)
    report = benchmark.benchmark(options)
    assert report.first_run_ms >= 60
    assert report.method.warmup_runs == 3
    assert report.method.warmup_seconds >= 0.06
    assert report.latency_ms.runs == 8
    assert 2 <= report.latency_ms.min < 30
    assert report.latency_ms.median < 30


def test_a_sleeping_process_is_flagged(sleeping, saved, int8_copy: bytes):
    """The CPU is idle while the clock runs, as when other programs hold the core."""
    sleeping(lambda number, threads: 0.004)
    report = benchmark.benchmark(BenchOptions(saved(int8_copy), runs=8, backend="sleeping", **FAST))
    assert "preempted" in [reason.code for reason in report.noise]
    assert report.to_dict()["noisy"] is True


def test_seconds_are_reached_as_well_as_runs(saved, int8_copy: bytes):
    """Two runs of a tiny model take microseconds; 0.2 s of them are many more than two."""
    options = BenchOptions(saved(int8_copy), runs=2, min_seconds=0.2, warmup_runs=0, warmup_seconds=0.0)
    report = benchmark.benchmark(options)
    assert report.latency_ms.runs > 100


@pytest.mark.parametrize(("many", "effective"), [(0.002, True), (0.006, False)])
def test_thread_effect(sleeping, saved, int8_copy: bytes, many: float, effective: bool):
    """One thread takes 6 ms: 2 ms on four is a help, 6 ms on four is none, and the table says so."""
    sleeping(lambda number, threads: 0.006 if threads == 1 else many)
    options = BenchOptions(saved(int8_copy), threads=4, runs=4, warmup_runs=0, backend="sleeping", **FAST)
    report = benchmark.benchmark(options)
    effect = report.threads.effect
    assert effect is not None
    assert effect.effective is effective
    assert effect.one_thread_ms >= 6
    assert ("threads had no effect" in report.to_text()) is not effective


def test_one_thread_is_compared_with_nothing(saved, int8_copy: bytes):
    report = benchmark.benchmark(BenchOptions(saved(int8_copy), runs=3, warmup_runs=0, **FAST))
    assert report.threads.requested == 1
    assert report.threads.effect is None


@pytest.mark.skipif(thread_count() is None, reason="this system does not tell a process its threads")
def test_threads_are_counted_where_they_run(saved, convolution: bytes):
    """The kernels really get the threads: two requested are the caller and one worker."""
    before = threading.active_count()
    report = benchmark.benchmark(BenchOptions(saved(convolution), threads=2, runs=3, warmup_runs=1, **FAST))
    assert report.threads.used == 2
    assert threading.active_count() == before  # native ones, unseen by Python
    assert report.threads.effect is not None


def test_the_document(saved, difference: bytes):
    """What `edgec compare` and CI read; NaN and infinity would not be JSON."""
    path = saved(difference)
    report = benchmark.benchmark(BenchOptions(path, runs=5, warmup_runs=1, **FAST))
    document = json.loads(report.to_json(), parse_constant=lambda name: pytest.fail(name))
    assert (document["schema_version"], document["kind"]) == (1, "edgec-runtime-benchmark")
    assert {"min", "median", "mean", "p90", "p99", "stdev", "runs"} <= document["latency_ms"].keys()
    latency = document["latency_ms"]
    assert latency["min"] <= latency["median"] <= latency["p90"] <= latency["p99"] <= latency["max"]
    assert document["model"]["size_bytes"] == len(difference)
    assert document["runtime"]["interpreter"] == "ai-edge-litert"
    assert document["runtime"]["numpy"] == np.__version__
    assert document["delegate"]["used"] == "xnnpack"
    assert document["load_ms"]["model"] > 0
    assert document["first_run_ms"] > 0
    assert document["memory_bytes"]["peak"] > 10 * 2**20
    assert document["device"]["cores"] >= document["device"]["usable_cores"] >= 1
    assert {"governor", "mhz", "temperature_c", "throttled", "load_average"} == document["conditions"][
        "before"
    ].keys()
    assert document["noisy"] == bool(document["noise"])


def test_a_fallback_is_reported_and_still_measured(saved, refused_by_xnnpack: bytes):
    report = benchmark.benchmark(BenchOptions(saved(refused_by_xnnpack), runs=3, warmup_runs=0, **FAST))
    assert report.latency_ms.runs == 3
    assert report.delegate.used == "builtin"
    assert "XNNPACK gave up: failed to delegate MAX_POOL_2D" in report.to_text()


def test_the_table_says_when_figures_are_calm(saved, int8_copy: bytes):
    report = benchmark.benchmark(BenchOptions(saved(int8_copy), runs=3, warmup_runs=0, **FAST))
    assert replace(report, noise=()).to_text().endswith("noisy        no")


def test_no_file_is_no_benchmark(tmp_path: Path):
    from edgec_runtime import ModelFileError

    with pytest.raises(ModelFileError, match="No such file"):
        benchmark.benchmark(BenchOptions(tmp_path / "none.tflite"))
