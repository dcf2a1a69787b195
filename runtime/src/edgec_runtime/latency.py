"""Statistics of repeated runs, and the reasons not to trust them.

sorted runs  ├─min──────median──────────p90────────p99─┤
in time      ├──block 1──┼──block 2──┼──block 3──┼──block 4──┤   medians of blocks must agree
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgec_runtime.device import Conditions

SPREAD_LIMIT = 1.25
"""p90 / median above which one run in ten is at least a quarter slower than the usual one."""
DRIFT_LIMIT = 1.10
"""Ratio of block medians above which two measurements would not agree within 10 %."""
WARMING_LIMIT = 10.0
"""Rise in °C after which the machine is not in the state it began in."""
BUSY_LIMIT = 0.9
"""CPU time / wall time of the timed runs below which something else held the core."""
_BLOCKS = 4


@dataclass(frozen=True)
class LatencyStats:
    """Milliseconds over `runs` runs; `median_ci95` holds the true median with 95 % confidence."""

    min: float
    median: float
    mean: float
    p90: float
    p99: float
    max: float
    stdev: float
    runs: int
    median_ci95: tuple[float, float]
    block_medians: tuple[float, ...]


@dataclass(frozen=True)
class Noise:
    """One reason why the figures may not repeat."""

    code: str
    text: str


def latency_stats(milliseconds: Sequence[float]) -> LatencyStats:
    """Summarize runs given in the order they were made; percentiles interpolate linearly."""
    values = np.asarray(milliseconds, dtype=np.float64)
    p50, p90, p99 = (float(value) for value in np.percentile(values, [50, 90, 99]))
    blocks = np.array_split(values, min(_BLOCKS, len(values)))
    return LatencyStats(
        min=float(values.min()),
        median=p50,
        mean=float(values.mean()),
        p90=p90,
        p99=p99,
        max=float(values.max()),
        stdev=float(values.std(ddof=1)) if len(values) > 1 else 0.0,
        runs=len(values),
        median_ci95=_median_interval(np.sort(values)),
        block_medians=tuple(float(np.median(block)) for block in blocks),
    )


def _median_interval(ordered: np.ndarray) -> tuple[float, float]:
    """Return order statistics around the median: ranks n/2 ± 1.96·√n/2 (binomial, normal approximation)."""
    count = len(ordered)
    reach = 0.98 * np.sqrt(count)
    low = max(int(np.floor(count / 2 - reach)), 0)
    high = min(int(np.ceil(count / 2 + reach)), count - 1)
    return float(ordered[low]), float(ordered[high])


def noise(stats: LatencyStats, before: Conditions, after: Conditions, cores_busy: float) -> tuple[Noise, ...]:
    """Return every reason to distrust the figures, empty when there is none."""
    return (*_noise_in_runs(stats, cores_busy), *_noise_of_machine(before, after))


def _noise_in_runs(stats: LatencyStats, cores_busy: float) -> list[Noise]:
    found: list[Noise] = []
    if stats.p90 > SPREAD_LIMIT * stats.median:
        text = f"p90 is {stats.p90 / stats.median:.2f} times the median: single runs differ"
        found.append(Noise("spread", text))
    if max(stats.block_medians) > DRIFT_LIMIT * min(stats.block_medians):
        shown = ", ".join(f"{value:.4g}" for value in stats.block_medians)
        found.append(Noise("drift", f"the median moved during the measurement: {shown} ms"))
    if cores_busy < BUSY_LIMIT:
        text = f"the process ran only {100 * cores_busy:.0f} % of the time: other programs use the CPU"
        found.append(Noise("preempted", text))
    return found


def _noise_of_machine(before: Conditions, after: Conditions) -> list[Noise]:
    found: list[Noise] = []
    if before.governor not in ("", "performance"):
        text = f"the CPU governor is '{before.governor}', not 'performance': the clock follows the load"
        found.append(Noise("governor", text))
    if before.temperature_c is not None and after.temperature_c is not None:
        rise = after.temperature_c - before.temperature_c
        if rise > WARMING_LIMIT:
            found.append(Noise("warming", f"the chip warmed by {rise:.1f} °C during the measurement"))
    # what has occurred earlier does not disturb this measurement; what is new or acts now does
    acting = [words for words in after.throttled or () if words.endswith("now")]
    acting += [
        words for words in after.throttled or () if words not in (before.throttled or ()) + tuple(acting)
    ]
    if acting:
        found.append(Noise("throttled", f"the firmware reports: {', '.join(acting)}"))
    return found
