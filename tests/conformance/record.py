"""The committed record of what passes: `expected.toml` for the tests, `docs/onnx-support.json` for the docs.

`python tools/conformance.py --write` writes both; the diff is reviewed. Floors only rise: a run that reaches
less leaves them, and the tests fail. Wrong numbers and crashes are never recorded as expected.
"""

from __future__ import annotations

import json
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import onnx

from edgec.atomic_write import write_text
from tests.conformance.judge import Verdict
from tests.conformance.results import Results

ROOT = Path(__file__).resolve().parents[2]
EXPECTED = Path(__file__).with_name("expected.toml")
FIGURES = ROOT / "docs" / "onnx-support.json"


@dataclass(frozen=True, slots=True)
class Expected:
    """What the suite of onnx version `onnx` must show.

    `frozen` and `refused` map tests to the reason of their refusal: the former pass once their settings are
    initializers, the latter do not.
    """

    onnx: str
    eligible: int
    operators: tuple[str, ...]
    floor_shipped: float
    floor_frozen: float
    frozen: Mapping[str, str]
    refused: Mapping[str, str]

    @property
    def reasons(self) -> dict[str, str]:
        """Every test refused as shipped, with its reason."""
        return {**self.frozen, **self.refused}

    @property
    def share_shipped(self) -> float:
        """Fraction of tests that pass as shipped when all others do."""
        return (self.eligible - len(self.reasons)) / self.eligible

    @property
    def share_frozen(self) -> float:
        """Fraction of tests that pass at least with frozen settings when all others do."""
        return (self.eligible - len(self.refused)) / self.eligible


def read_expected() -> Expected:
    """Return what `expected.toml` holds."""
    data = tomllib.loads(EXPECTED.read_text(encoding="utf-8"))
    suite, floors = data["suite"], data["floors"]
    return Expected(
        onnx=suite["onnx"],
        eligible=suite["eligible"],
        operators=tuple(suite["operators"]),
        floor_shipped=floors["as_shipped"],
        floor_frozen=floors["frozen"],
        frozen=data["frozen"],
        refused=data["refused"],
    )


def reason_of(verdict: Verdict) -> str:
    """Return a refusal's reason as the record keeps it."""
    return f"{verdict.code} {verdict.reason}"


def write_record(results: Results) -> None:
    """Write both files from a run of the whole suite."""
    before = read_expected() if EXPECTED.is_file() else None
    write_text(EXPECTED, expected_text(results, before))
    write_text(FIGURES, json.dumps(figures(results), indent=1, ensure_ascii=False) + "\n")


def expected_text(results: Results, before: Expected | None) -> str:
    """Return `expected.toml` for a run; floors are the higher of before and now."""
    shipped, frozen = results.share_shipped, results.share_frozen
    if before is not None and before.onnx == onnx.__version__:
        shipped, frozen = max(shipped, before.floor_shipped), max(frozen, before.floor_frozen)
    return "\n".join(_expected_lines(results, _floor(shipped), _floor(frozen))) + "\n"


def _floor(share: float) -> float:
    return int(share * 10_000 + 1e-6) / 10_000


def _expected_lines(results: Results, shipped: float, frozen: float) -> Iterator[str]:
    yield "# What the conformance suite must show. Written by `python tools/conformance.py --write`."
    yield "\n[suite]"
    yield f'onnx = "{onnx.__version__}"'
    yield f"eligible = {len(results.shipped)}"
    yield from ("operators = [", *(f"  {_quoted(name)}," for name in results.by_operator()), "]")
    yield "\n[floors] # shares of eligible tests; they only rise"
    yield f"as_shipped = {shipped}"
    yield f"frozen = {frozen}"
    yield "\n[frozen] # refused as shipped, pass once settings that exporters make constant are initializers"
    yield from (_entry(v) for v in results.refused if results.passes_frozen(v.name))
    yield "\n[refused] # refused in both forms, with the limit that causes it"
    yield from (_entry(v) for v in results.refused if not results.passes_frozen(v.name))


def _entry(verdict: Verdict) -> str:
    return f"{verdict.name} = {_quoted(reason_of(verdict))}"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)  # a JSON string without control characters is a TOML string


def figures(results: Results) -> dict[str, object]:
    """Return the numbers that docs/onnx-support.md shows."""
    return {
        "onnx": onnx.__version__,
        "eligible": len(results.shipped),
        "passed": sum(counts["pass"] for counts in results.by_operator().values()),
        "frozen": sum(counts["frozen"] for counts in results.by_operator().values()),
        "operators": {
            name: _figures(name, counts, results) for name, counts in results.by_operator().items()
        },
    }


def _figures(operator: str, counts: Counter[str], results: Results) -> dict[str, object]:
    refused = [verdict for verdict in results.refused if verdict.operator == operator]
    reasons = Counter(v.reason for v in refused if not results.passes_frozen(v.name))
    constant = Counter(v.reason for v in refused if results.passes_frozen(v.name))
    return {
        "eligible": counts.total(),
        "passed": counts["pass"],
        "frozen": counts["frozen"],
        "wrong": counts["wrong"] + counts["crash"],
        "refused": dict(sorted(reasons.items())),
        "refused_unless_constant": dict(sorted(constant.items())),
    }
