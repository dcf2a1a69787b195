"""Comparing two reports or two benchmarks: what is worse, what is noise, what stops CI."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from edgec.diagnostics import CompileError
from edgec.reports.compare import Comparison, Row, Verdict, compare, parse_percent
from edgec.reports.model import Gate, Report


@pytest.fixture
def compared(tmp_path: Path):
    """A function that writes two documents and compares them."""

    def run(
        old: Report | dict[str, object], new: Report | dict[str, object], fail_above: float = 5.0
    ) -> Comparison:
        for name, document in (("old.json", old), ("new.json", new)):
            text = document.to_json() if isinstance(document, Report) else json.dumps(document)
            (tmp_path / name).write_text(text)
        return compare(tmp_path / "old.json", tmp_path / "new.json", fail_above)

    return run


def _row(comparison: Comparison, metric: str) -> Row:
    return next(row for row in comparison.rows if row.metric == metric)


def _bench(
    median: float = 10.0, p90: float = 12.0, stdev: float = 0.5, runs: int = 100, **more: object
) -> dict[str, object]:
    latency = {
        "min": 9.0,
        "median": median,
        "mean": median,
        "p90": p90,
        "p99": p90,
        "stdev": stdev,
        "runs": runs,
    }
    return {"kind": "edgec-runtime-benchmark", "latency_ms": latency, **more}


def test_a_report_equals_itself(compared, samples: ModuleType) -> None:
    result = compared(samples.INT8, samples.INT8, 0.0)
    assert {row.verdict for row in result.rows} == {Verdict.SAME}
    assert (result.regressions, result.notes) == ((), ())
    assert result.headline() == "nothing is worse by more than 0%"


@pytest.mark.parametrize(
    ("field", "metric"),
    [
        ("size_bytes", "size"),
        ("arena_bytes", "tensor arena"),
        ("macs", "multiply-accumulates"),
        ("transposes", "transposes"),
    ],
)
def test_more_is_worse_and_the_limit_is_exclusive(
    compared, samples: ModuleType, field: str, metric: str
) -> None:
    """+5% at a limit of 5% passes, +6% does not; less is better and never fails."""
    reports = {size: replace(samples.FLOAT, **{field: size}) for size in (100, 105, 106, 50)}
    at_limit = compared(reports[100], reports[105])
    assert (_row(at_limit, metric).verdict, at_limit.regressions) == (Verdict.WORSE, ())
    above = compared(reports[100], reports[106])
    assert [row.metric for row in above.regressions] == [metric]
    assert _row(above, metric).change == pytest.approx(6.0)
    assert _row(compared(reports[100], reports[50]), metric).verdict is Verdict.BETTER


def test_the_first_transpose_is_infinitely_more(compared, samples: ModuleType) -> None:
    """No percentage of zero describes it, so any limit is exceeded."""
    result = compared(samples.FLOAT, replace(samples.FLOAT, transposes=1), 1000.0)
    assert [row.metric for row in result.regressions] == ["transposes"]
    assert _row(result, "transposes").change_text == "from nothing"


def test_node_counts_inform_and_never_fail(compared, samples: ModuleType) -> None:
    result = compared(samples.FLOAT, replace(samples.FLOAT, ops={"conv_2d": 20, "fully_connected": 1}))
    assert _row(result, "nodes").verdict is Verdict.WORSE
    assert result.regressions == ()
    assert result.notes == ("conv_2d nodes: 2, now 20",)


@pytest.mark.parametrize(
    ("old", "new", "change", "fails"),
    [
        (40.0, 39.8, 4.713, False),  # 10 ** 0.02 = 1.0471: 4.7% more error power
        (40.0, 39.7, 7.152, True),  # 10 ** 0.03 = 1.0715
        (40.0, 30.0, 900.0, True),  # ten times the error power
        (40.0, 50.0, -90.0, False),
        (140.0, 95.0, 0.0, False),  # both beyond 90 dB: float rounding
        (math.inf, 95.0, 0.0, False),
        (math.inf, 89.0, 25.893, True),  # counted from 90 dB: 10 ** 0.1 = 1.2589
        (40.0, math.nan, math.inf, True),
        (40.0, -math.inf, math.inf, True),
        (math.nan, math.nan, 0.0, False),
    ],
)
def test_an_sqnr_drop_is_measured_in_error_power(
    compared, samples: ModuleType, old: float, new: float, change: float, fails: bool
) -> None:
    before, after = (
        replace(samples.FLOAT, verification=samples.verified(samples.check("y", x))) for x in (old, new)
    )
    result = compared(before, after)
    assert _row(result, "SQNR y").change == pytest.approx(change, rel=1e-3)
    assert [row.metric for row in result.regressions] == (["SQNR y"] if fails else [])


def test_a_gate_must_not_go_quiet(compared, samples: ModuleType) -> None:
    """Verification switched off, an output gone, an arena not measured any more: each fails."""
    full = samples.INT8
    one = replace(full, verification=samples.verified(samples.check("logits", 41.23)))
    assert [row.metric for row in compared(full, one).regressions] == ["SQNR embedding"]
    without = compared(full, replace(full, verification=None, arena_bytes=None))
    assert [row.metric for row in without.regressions] == [
        "tensor arena",
        "SQNR logits",
        "SQNR embedding",
        "verification",
    ]
    assert _row(without, "verification").note == "not measured any more"


def test_what_is_measured_for_the_first_time_does_not_fail(compared, samples: ModuleType) -> None:
    result = compared(samples.FLOAT, samples.EXACT)
    assert _row(result, "SQNR logits").verdict is Verdict.NEW
    assert result.regressions == ()


def test_a_gate_that_fails_now_is_a_regression(compared, samples: ModuleType) -> None:
    met = replace(samples.FLOAT, gates=(Gate("max-size", 2, 1, "bytes", True),))
    unmet = replace(samples.FLOAT, gates=(Gate("max-size", 2, 3, "bytes", False),))
    assert [row.metric for row in compared(met, unmet, 1e9).regressions] == ["gate max-size"]
    assert _row(compared(unmet, met), "gate max-size").verdict is Verdict.BETTER


def test_what_differs_otherwise_is_noted(compared, samples: ModuleType) -> None:
    result = compared(samples.FLOAT, replace(samples.FLOAT, target="rpi5", precision="int8"))
    assert result.notes == ("target differs: generic, now rpi5", "precision differs: float32, now int8")


def test_a_latency_change_within_the_spread_is_noise(compared) -> None:
    """Two runs with σ = 0.5 ms, n = 100: 2·√2·1.2533·0.5/10 = 0.177 ms for the median, 0.242 ms for p90."""
    small = compared(_bench(), _bench(median=10.17, p90=12.24), 0.5)
    assert {row.verdict for row in small.rows} == {Verdict.NOISE}
    assert small.regressions == ()
    assert _row(small, "latency median").note == "a change below 0.177 ms is noise"
    large = compared(_bench(), _bench(median=10.18, p90=12.25), 0.5)
    assert [row.metric for row in large.regressions] == ["latency median", "latency p90"]


def test_a_real_latency_change_still_has_the_limit(compared) -> None:
    assert compared(_bench(), _bench(median=10.4)).regressions == ()
    assert _row(compared(_bench(), _bench(median=10.4)), "latency median").verdict is Verdict.WORSE
    assert [row.metric for row in compared(_bench(), _bench(median=10.6)).regressions] == ["latency median"]
    assert _row(compared(_bench(), _bench(median=9.0)), "latency median").verdict is Verdict.BETTER


def test_benchmarks_of_different_settings_say_so(compared) -> None:
    one, four = (_bench(threads={"requested": number}, noisy=number == 4) for number in (1, 4))
    assert compared(one, one).notes == ()
    assert compared(one, four).notes == (
        "threads.requested differs: 1, now 4",
        "the new benchmark calls itself noisy: measure it again before trusting a change",
    )


def test_mismatched_kinds(compared, samples: ModuleType) -> None:
    with pytest.raises(
        CompileError, match=r"E0506 .*old\.json is an edgec-compile-report, new\.json an edgec-runtime"
    ):
        compared(samples.FLOAT, _bench())


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"a": 1}, r"E0506 .*old\.json: this is neither a compile report nor a benchmark. It has no `kind`"),
        ({"kind": "coverage"}, r"E0506 .*Its `kind` is 'coverage'"),
        ({"kind": "edgec-runtime-benchmark"}, r"E0505 .*old\.json: latency_ms: this field is missing"),
        (
            {"kind": "edgec-compile-report", "schema_version": 9},
            r"E0505 .*old\.json: schema_version: version 9 is not",
        ),
    ],
)
def test_a_document_of_another_sort(compared, document: dict[str, object], expected: str) -> None:
    other = document if document.get("kind") == "edgec-compile-report" else _bench()
    with pytest.raises(CompileError, match=expected):
        compared(document, other)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(CompileError, match=r"E0504 .*cannot read this JSON document\. No such file"):
        compare(tmp_path / "old.json", tmp_path / "new.json", 5.0)


def test_markdown_marks_the_regressions(compared, samples: ModuleType) -> None:
    lines = compared(samples.FLOAT, replace(samples.FLOAT, size_bytes=236_000)).to_markdown().splitlines()
    assert lines[0] == "❌ worse by more than 5%: size"
    assert lines[2] == "| metric | `old.json` | `new.json` | change | verdict |  |"
    assert lines[4] == "| size | 118 kB | 236 kB | \\+100% | **worse** |  |"


@pytest.mark.parametrize(("text", "number"), [("5%", 5.0), ("2.5", 2.5), (" 0 %", 0.0)])
def test_percentages(text: str, number: float) -> None:
    assert parse_percent(text) == number


@pytest.mark.parametrize("text", ["", "five", "-1%", "nan", "inf%", "5%%"])
def test_what_is_no_percentage(text: str) -> None:
    with pytest.raises(
        CompileError, match=r"E0640 --fail-above .*this is not a percentage\. Write it like 5%\."
    ):
        parse_percent(text)
