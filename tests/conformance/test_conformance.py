"""The ONNX project's backend tests pass through `edgec.compile`, or are refused for a reason on record.

One test here is one operator, so that xdist spreads them; a crash in native code takes down a worker process
and not pytest. `make conformance` prints the table, `tools/conformance.py --only NAME -v` one operator.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import onnx
import pytest

from tests.conformance.cases import load_suite
from tests.conformance.freeze import freeze
from tests.conformance.judge import Verdict
from tests.conformance.pool import Worker
from tests.conformance.record import FIGURES, read_expected, reason_of

EXPECTED = read_expected()
UPDATE = "`python tools/conformance.py --write` updates the record; review its diff"

same_suite = pytest.mark.skipif(
    onnx.__version__ != EXPECTED.onnx,
    reason=f"the record is of onnx {EXPECTED.onnx}, installed is {onnx.__version__}",
)


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    worker = Worker()
    yield worker
    worker.close()


@pytest.mark.parametrize("operator", EXPECTED.operators)
def test_operator(operator: str, worker: Worker) -> None:
    """Every eligible test of an operator passes, except those on record, refused for their reason."""
    suite = load_suite()
    cases = [case for case in suite.cases.values() if case.operator == operator]
    verdicts = [worker.judge(case) for case in cases]
    refused = [verdict.name for verdict in verdicts if verdict.outcome == "refused"]
    frozen = [freeze(suite.cases[name], suite.signatures.get(name)) for name in refused]
    again = [worker.judge(case, frozen=True) for case in frozen if case.frozen]
    problems = [*_bad(verdicts), *_bad(again)]
    if onnx.__version__ == EXPECTED.onnx:
        problems += [*_against_record(verdicts), *_against_frozen_record(refused, again)]
    assert not problems, "\n".join(["", *problems])


SUITE_NOISE = {"test_dft_inverse", "test_dft_inverse_opset19"}
"""Tests whose expected values are float32 noise of NumPy's FFT: 1.9e-7 where the exact value is 0, with a
tolerance of 1e-7. A float64 inverse FFT of their input fails as well. They count as wrong in the figures."""


def _bad(verdicts: list[Verdict]) -> Iterator[str]:
    for verdict in verdicts:
        if verdict.outcome in ("wrong", "crash") and verdict.name not in SUITE_NOISE:
            yield f"{verdict.name}{' (frozen)' if verdict.frozen else ''} {verdict.outcome}: {verdict.reason}"


def _against_record(verdicts: list[Verdict]) -> Iterator[str]:
    for verdict in verdicts:
        known = EXPECTED.reasons.get(verdict.name)
        if verdict.outcome == "pass" and known is not None:
            yield f"{verdict.name} passes now: take it off the list of refusals ({UPDATE})"
        elif verdict.outcome == "refused" and known is None:
            yield f"{verdict.name} is refused and passed before: {reason_of(verdict)}"
        elif verdict.outcome == "refused" and known != reason_of(verdict):
            now = reason_of(verdict)
            yield f"{verdict.name} is refused for another reason: {now}; on record: {known} ({UPDATE})"


def _against_frozen_record(refused: list[str], again: list[Verdict]) -> Iterator[str]:
    passing = {verdict.name for verdict in again if verdict.outcome == "pass"}
    for name in refused:
        if name in passing and name in EXPECTED.refused:
            yield f"{name} passes with frozen settings now: move it to [frozen] ({UPDATE})"
        elif name not in passing and name in EXPECTED.frozen:
            yield f"{name} does not pass with frozen settings any more"


@same_suite
def test_the_suite_is_the_one_on_record() -> None:
    """Eligibility is the definition in `cases`: 1,713 tests of onnx 1.23.2, none of them forgotten above."""
    suite = load_suite()
    assert len(suite.cases) == EXPECTED.eligible
    assert {case.operator for case in suite.cases.values()} == set(EXPECTED.operators)
    assert set(EXPECTED.reasons) <= set(suite.cases)


def test_the_record_reaches_its_floors() -> None:
    """The lists of refusals, confirmed one by one above, leave at least the shares promised."""
    assert EXPECTED.share_shipped >= EXPECTED.floor_shipped
    assert EXPECTED.share_frozen >= EXPECTED.floor_frozen
    assert not set(EXPECTED.frozen) & set(EXPECTED.refused)


def test_the_documented_figures_are_those_on_record() -> None:
    """docs/onnx-support.json and expected.toml come from the same run."""
    figures = json.loads(FIGURES.read_text(encoding="utf-8"))
    operators = figures["operators"].values()
    assert figures["onnx"] == EXPECTED.onnx
    assert sum(entry["eligible"] for entry in operators) == EXPECTED.eligible
    assert sum(entry["frozen"] for entry in operators) == len(EXPECTED.frozen)
    assert sum(sum(entry["refused"].values()) for entry in operators) == len(EXPECTED.refused)
