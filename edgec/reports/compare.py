"""Compare two compile reports or two benchmarks, so that CI fails when something got worse.

Every metric becomes one percentage, positive when worse, and `fail_above` is a limit on it:

    bytes, MACs, transposes, ms    100 · (new − old) / old
    SQNR                           100 · (new error power / old error power − 1)

So `--fail-above 5%` lets an output lose 10·log10(1.05) = 0.21 dB. An SQNR above 90 dB counts as 90 dB: beyond
it, models differ by the order of float sums. A latency change within two standard errors of both is noise:

    standard error of the median = 1.253·σ/√n,   of the 90th percentile = 1.709·σ/√n

(√(p(1−p))/φ(z_p) for a normal distribution). Drift between runs (heat, other load) is not in σ; `fail_above`
is the margin for that. What is not measured any more counts as worse: a gate must not go quiet.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from edgec.diagnostics import CompileError, Diagnostic
from edgec.reports import words
from edgec.reports.contract import Json, from_jsonable, read_json
from edgec.reports.escape import markdown_code, markdown_text
from edgec.reports.markdown import table
from edgec.reports.model import REPORT_KIND, OutputCheck, Report

BENCHMARK_KIND = "edgec-runtime-benchmark"

_MEDIAN_ERROR, _P90_ERROR = 1.2533, 1.7094  # of a normal distribution, times σ/√n
# What must be equal for two latencies to be about the model (fields of the benchmark's JSON).
_BENCHMARK_CONTEXT = (
    *(
        "model.sha256",
        "runtime.interpreter",
        "runtime.interpreter_version",
        "delegate.used",
        "threads.requested",
    ),
    *("device.board", "device.cpu", "device.arch", "conditions.before.governor"),
)


class Verdict(StrEnum):
    """What became of a metric."""

    BETTER = "better"
    WORSE = "worse"
    SAME = "same"
    NOISE = "noise"
    MISSING = "missing"
    NEW = "new"


@dataclass(frozen=True, slots=True)
class Row:
    """One metric in words. `change` is the percentage described above, null where there is none."""

    metric: str
    old: str
    new: str
    change: float | None
    verdict: Verdict
    regression: bool
    note: str = ""

    @property
    def change_text(self) -> str:
        """The change as shown, e.g. `+4.2%`."""
        if self.change is None or self.verdict is Verdict.SAME:
            return ""
        return "from nothing" if math.isinf(self.change) else f"{self.change:+.3g}%"


@dataclass(frozen=True, slots=True)
class Comparison:
    """All metrics of two documents; `notes` say what else differs, so that like is compared with like."""

    kind: str
    old: str
    new: str
    fail_above: float
    rows: tuple[Row, ...]
    notes: tuple[str, ...]

    @property
    def regressions(self) -> tuple[Row, ...]:
        """The metrics that got worse by more than the limit; CI fails when there are any."""
        return tuple(row for row in self.rows if row.regression)

    def headline(self) -> str:
        """Return the result in one sentence."""
        if not self.regressions:
            return f"nothing is worse by more than {self.fail_above:g}%"
        return f"worse by more than {self.fail_above:g}%: " + ", ".join(
            row.metric for row in self.regressions
        )

    def to_markdown(self) -> str:
        """Return the comparison for a pull request."""
        lines = [f"{'❌' if self.regressions else '✅'} {markdown_text(self.headline())}", ""]
        rows = (
            (
                markdown_text(row.metric),
                markdown_text(row.old),
                markdown_text(row.new),
                markdown_text(row.change_text),
                f"**{row.verdict}**" if row.regression else str(row.verdict),
                markdown_text(row.note),
            )
            for row in self.rows
        )
        titles = ("metric", markdown_code(self.old), markdown_code(self.new), "change", "verdict", "")
        lines += [
            *table(titles, rows, numbers=(1, 2, 3)),
            *(f"- {markdown_text(note)}" for note in self.notes),
        ]
        return "\n".join(lines).rstrip() + "\n"


def parse_percent(text: str) -> float:
    """Return the percentage in `5%` or `5`.

    Raises:
        CompileError: E0640, when it is no number, or negative.
    """
    try:
        number = float(text.strip().removesuffix("%"))
    except ValueError:
        number = math.nan
    if not 0 <= number < math.inf:
        what = "this is not a percentage"
        raise CompileError(Diagnostic("E0640", f"--fail-above {text}", what, next_step="Write it like 5%."))
    return number


def compare(old: Path, new: Path, fail_above: float) -> Comparison:
    """Compare two documents of the same kind; `fail_above` is in percent.

    Raises:
        CompileError: E0504 or E0505 for an unreadable document, E0506 when the two are not of one kind.
    """
    before, after = read_json(old), read_json(new)
    kinds = _kind(before, old), _kind(after, new)
    if kinds[0] != kinds[1]:
        what = f"cannot compare: {old.name} is an {kinds[0]}, {new.name} an {kinds[1]}"
        next_step = "Give two compile reports or two benchmarks."
        raise CompileError(Diagnostic("E0506", f"{old} and {new}", what, next_step=next_step))
    limit = _Limit(fail_above)
    if kinds[0] == REPORT_KIND:
        reports = Report.from_dict(before, str(old)), Report.from_dict(after, str(new))
        rows, notes = tuple(_report_rows(*reports, limit)), tuple(_report_notes(*reports))
    else:
        runs = _latency(before, old), _latency(after, new)
        rows, notes = tuple(_latency_rows(*runs, limit)), tuple(_benchmark_notes(before, after))
    return Comparison(kinds[0], old.name, new.name, fail_above, rows, notes)


def _kind(data: Mapping[str, Json], path: Path) -> str:
    kind = data.get("kind")
    if kind in (REPORT_KIND, BENCHMARK_KIND):
        return str(kind)
    what = "this is neither a compile report nor a benchmark"
    why = f"Its `kind` is {kind!r}" if kind else "It has no `kind`"
    next_step = "Give a file that `edgec compile --report x.json` or `edgec-runtime bench` wrote."
    raise CompileError(Diagnostic("E0506", str(path), what, why, next_step))


@dataclass(frozen=True, slots=True)
class _Limit:
    """Judges one metric against the limit in percent."""

    percent: float

    def lower_is_better(
        self,
        metric: str,
        old: float | None,
        new: float | None,
        unit: str = "",
        noise: float = 0.0,
        gated: bool = True,
    ) -> Iterator[Row]:
        shown = _shown(old, unit), _shown(new, unit)
        if old is None or new is None:
            yield from self._one_sided(metric, *shown, gated)
            return
        change = 0.0 if new == old else 100 * (new - old) / old if old else math.inf
        verdict = _verdict(old, new, noise)
        note = f"a change below {noise:.3g} {unit} is noise" if verdict is Verdict.NOISE else ""
        regression = gated and verdict is Verdict.WORSE and change > self.percent
        yield Row(metric, *shown, change, verdict, regression, note)

    def _one_sided(self, metric: str, old: str, new: str, gated: bool = True) -> Iterator[Row]:
        if old == new:  # absent on both sides
            return
        verdict = Verdict.MISSING if new == _ABSENT else Verdict.NEW
        missing = verdict is Verdict.MISSING
        yield Row(
            metric, old, new, None, verdict, gated and missing, "not measured any more" if missing else ""
        )

    def sqnr(self, old: OutputCheck | None, new: OutputCheck | None) -> Iterator[Row]:
        name = f"SQNR {(old or new or _NO_OUTPUT).name}"
        shown = _sqnr_text(old), _sqnr_text(new)
        if old is None or new is None:
            yield from self._one_sided(name, *shown)
            return
        before, after = _floored(old.sqnr_db), _floored(new.sqnr_db)
        change = _noise_power_change(before, after)
        verdict = _verdict(-before, -after, 0.0)
        note = (
            ""
            if verdict is Verdict.SAME
            else f"{after - before:+.2f} dB; the change is that of the error power"
        )
        yield Row(name, *shown, change, verdict, verdict is Verdict.WORSE and change > self.percent, note)

    def passing(self, metric: str, old: bool | None, new: bool | None) -> Iterator[Row]:
        shown = _state_text(old), _state_text(new)
        if old is None or new is None:
            yield from self._one_sided(metric, *shown)
            return
        verdict = _verdict(not old, not new, 0.0)
        yield Row(metric, *shown, None, verdict, verdict is Verdict.WORSE)


_ABSENT = "–"
_NO_OUTPUT = OutputCheck("", 0.0, 0.0, 0.0, None)


def _verdict(old: float, new: float, noise: float) -> Verdict:
    if new == old:
        return Verdict.SAME
    if abs(new - old) <= noise:
        return Verdict.NOISE
    return Verdict.BETTER if new < old else Verdict.WORSE


def _sqnr_text(output: OutputCheck | None) -> str:
    return words.decibels(output.sqnr_db) if output else _ABSENT


def _state_text(passed: bool | None) -> str:
    return _ABSENT if passed is None else "passed" if passed else "failed"


def _shown(value: float | None, unit: str) -> str:
    if value is None:
        return _ABSENT
    if unit == "bytes":
        return words.size(value)
    return f"{value:.4g} ms" if unit == "ms" else words.count(value)


def _floored(sqnr_db: float) -> float:
    """Return an SQNR to compare: not a number is the worst there is, beyond 90 dB is equally good."""
    return -math.inf if math.isnan(sqnr_db) else min(sqnr_db, words.FLOAT_ROUNDING_DB)


def _noise_power_change(before: float, after: float) -> float:
    if before == after:
        return 0.0
    drop = before - after
    return math.inf if drop > 3000 else 100 * (10 ** (drop / 10) - 1)  # 10**308 is the largest float


def _report_rows(old: Report, new: Report, limit: _Limit) -> Iterator[Row]:
    yield from limit.lower_is_better("size", old.size_bytes, new.size_bytes, "bytes")
    yield from limit.lower_is_better("tensor arena", old.arena_bytes, new.arena_bytes, "bytes")
    yield from limit.lower_is_better("multiply-accumulates", old.macs, new.macs)
    yield from limit.lower_is_better("transposes", old.transposes, new.transposes)
    # For information: fewer nodes are usually better, but size, MACs and latency are what a user pays.
    yield from limit.lower_is_better("nodes", sum(old.ops.values()), sum(new.ops.values()), gated=False)
    before = {output.name: output for output in old.verification.outputs} if old.verification else {}
    after = {output.name: output for output in new.verification.outputs} if new.verification else {}
    for name in [*before, *(name for name in after if name not in before)]:
        yield from limit.sqnr(before.get(name), after.get(name))
    yield from limit.passing("verification", _verified(old), _verified(new))
    gates = {gate.name: gate.passed for gate in old.gates}, {gate.name: gate.passed for gate in new.gates}
    for name in [*gates[0], *(name for name in gates[1] if name not in gates[0])]:
        yield from limit.passing(f"gate {name}", gates[0].get(name), gates[1].get(name))


def _verified(report: Report) -> bool | None:
    return report.verification.passed if report.verification else None


def _report_notes(old: Report, new: Report) -> Iterator[str]:
    facts = {
        "target": (old.target, new.target),
        "precision": (old.precision, new.precision),
        "source": (old.source.sha256[:12], new.source.sha256[:12]),
        "edgec": (old.tool.version, new.tool.version),
    }
    yield from (
        f"{name} differs: {before}, now {after}" for name, (before, after) in facts.items() if before != after
    )
    for kind in sorted({*old.ops, *new.ops}):
        before, after = old.ops.get(kind, 0), new.ops.get(kind, 0)
        if before != after:
            yield f"{kind} nodes: {before}, now {after}"


@dataclass(frozen=True, slots=True)
class _Latency:
    """The `latency_ms` of a benchmark: milliseconds, over `runs` timed runs."""

    min: float
    median: float
    mean: float
    p90: float
    p99: float
    stdev: float
    runs: int

    def noise(self, factor: float) -> float:
        return factor * self.stdev / math.sqrt(max(self.runs, 1))


@dataclass(frozen=True, slots=True)
class _Benchmark:
    latency_ms: _Latency


def _latency(data: Mapping[str, Json], path: Path) -> _Latency:
    return from_jsonable(_Benchmark, data, str(path)).latency_ms


def _latency_rows(old: _Latency, new: _Latency, limit: _Limit) -> Iterator[Row]:
    for name, before, after, factor in (
        ("latency median", old.median, new.median, _MEDIAN_ERROR),
        ("latency p90", old.p90, new.p90, _P90_ERROR),
    ):
        noise = 2 * math.hypot(old.noise(factor), new.noise(factor))
        yield from limit.lower_is_better(name, before, after, "ms", noise)


def _benchmark_notes(old: Mapping[str, Json], new: Mapping[str, Json]) -> Iterator[str]:
    for name in _BENCHMARK_CONTEXT:
        before, after = _lookup(old, name), _lookup(new, name)
        if before != after:
            yield f"{name} differs: {before}, now {after}"
    for name, data in (("old", old), ("new", new)):
        if data.get("noisy") is True:
            yield f"the {name} benchmark calls itself noisy: measure it again before trusting a change"


def _lookup(data: Mapping[str, Json], dotted: str) -> Json:
    value: Json = dict(data)
    for key in dotted.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return value
