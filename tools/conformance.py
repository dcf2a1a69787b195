"""Runs the ONNX project's backend tests through edgec: pass, refused with a reason, wrong or crash.

python tools/conformance.py                     the whole suite, with the table per operator
python tools/conformance.py --only Resize       tests whose operator or name holds the text (a regex)
python tools/conformance.py --only lstm -v      ... with every verdict as it comes
python tools/conformance.py --json out.json     ... and all verdicts as JSON
python tools/conformance.py --write             store the figures for docs and the known refusals
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from dataclasses import asdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))  # the suite's modules live with the tests

from tests.conformance.cases import Suite, load_suite  # noqa: E402
from tests.conformance.judge import Verdict  # noqa: E402
from tests.conformance.record import write_record  # noqa: E402
from tests.conformance.results import OUTCOMES, Results, run  # noqa: E402


def main() -> int:
    """Run, print, store; exit code 1 where a number is wrong or something crashed."""
    parser = _parser()
    options = parser.parse_args()
    if options.write and (options.only or options.no_frozen):
        parser.error("--write needs a run of the whole suite")
    started = time.perf_counter()
    suite = load_suite()
    names = select(suite, options.only)
    others = sum(map(len, suite.excluded.values()))
    print(f"{len(suite.cases)} eligible tests, {others} others; {len(names)} chosen")
    results = Results()
    for verdict in run(suite, names, workers=options.workers, retry=not options.no_frozen):
        results.add(verdict)
        if options.verbose:
            print(describe(verdict), flush=True)
    print_table(results)
    print_refusals(results, names_too=options.verbose)
    print_bad(results)
    print_figures(results, time.perf_counter() - started)
    if options.json:
        verdicts = [*results.shipped.values(), *results.frozen.values()]
        options.json.write_text(json.dumps([asdict(v) for v in verdicts], indent=1) + "\n", encoding="utf-8")
    if options.write:
        _write(results)
    return 1 if results.bad else 0


def _write(results: Results) -> None:
    """Store the record, unless something crashed: nobody means to record that."""
    if any(verdict.outcome == "crash" for verdict in results.bad):
        print("not written: repair the crashes first", file=sys.stderr)
        return
    write_record(results)
    print("wrote tests/conformance/expected.toml and docs/onnx-support.json; now: make docs")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", metavar="PATTERN", help="tests whose operator or name matches (regex)")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write every verdict")
    parser.add_argument("--write", action="store_true", help="store figures and known refusals")
    parser.add_argument("--no-frozen", action="store_true", help="do not retry refused tests frozen")
    parser.add_argument("--workers", type=int, default=2, metavar="N", help="processes (default 2)")
    parser.add_argument("-v", "--verbose", action="store_true", help="print every verdict and refusal")
    return parser


def select(suite: Suite, pattern: str | None) -> list[str]:
    """Return the names of eligible tests whose operator is, or whose name holds, the pattern."""
    if pattern is None:
        return list(suite.cases)
    wanted = re.compile(pattern, re.IGNORECASE)
    return [n for n, case in suite.cases.items() if wanted.search(n) or wanted.fullmatch(case.operator)]


def describe(verdict: Verdict) -> str:
    """Return one line about a verdict."""
    frozen = " (frozen)" if verdict.frozen else ""
    reason = " ".join(part for part in (verdict.code, verdict.reason) if part)
    return f"{verdict.outcome:8}{verdict.operator:24}{verdict.name}{frozen}  {reason}".rstrip()


def print_table(results: Results) -> None:
    """Print the counts per operator."""
    print(f"\n{'operator':32}" + "".join(f"{column:>9}" for column in OUTCOMES))
    for operator, counts in results.by_operator().items():
        cells = "".join(f"{counts[column] or '':>9}" for column in OUTCOMES)
        print(f"{operator:32}{cells}")


def print_refusals(results: Results, *, names_too: bool = False) -> None:
    """Print every refusal, grouped by operator and reason; + marks tests that pass frozen."""
    print(f"\n{len(results.refused)} refused as shipped ('+n': of these pass with frozen settings)")
    for operator, reason, found in results.by_reason():
        saved = sum(results.passes_frozen(verdict.name) for verdict in found)
        print(f"{len(found):5}{f'+{saved}' if saved else '':>5}  {operator}: {reason}")
        for verdict in found if names_too else ():
            print(f"{'+' if results.passes_frozen(verdict.name) else '':>10}  {verdict.name}")


def print_bad(results: Results) -> None:
    """Print wrong numbers and crashes."""
    print(f"\n{len(results.bad)} wrong or crashed")
    for problem, found in results.by_problem():
        names = [f"{verdict.name}{' (frozen)' if verdict.frozen else ''}" for verdict in found]
        more = f" and {len(names) - 5} more" if len(names) > 5 else ""
        print(f"{found[0].operator}: {', '.join(names[:5])}{more}\n    {problem}")


def print_figures(results: Results, seconds: float) -> None:
    """Print the two figures and the wall time."""
    total = len(results.shipped)
    print(
        f"\nas shipped {results.share_shipped:.2%}, frozen {results.share_frozen:.2%} of {total} tests, "
        f"{len(results.bad)} wrong or crashed; {seconds:.0f} s"
    )


if __name__ == "__main__":
    sys.exit(main())
