"""Is calibration data good enough? A grade, the reasons for it, and what to do about each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from edgec.calibrate import problems
from edgec.calibrate.problems import counted
from edgec.calibrate.spread import Outlier, Stability
from edgec.diagnostics import Diagnostic

GOOD_COUNT, LEAST_COUNT = 100, 16
"""Distinct samples: from 100 on min/max ranges hardly grow; with fewer than 16 they depend on each one."""

STEADY, UNSTEADY = 0.1, 0.25
"""Disagreement between halves, at the median tensor: a tenth costs 1 dB, a quarter 2.5 dB."""


class Grade(StrEnum):
    """From best to worst."""

    GOOD = "good"
    USABLE = "usable"
    POOR = "poor"


@dataclass(frozen=True, slots=True)
class Reason:
    """One thing to know about the data; it allows no better grade than `grade`."""

    grade: Grade
    what: str
    advice: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """The grade and its reasons, the worst first."""

    grade: Grade
    reasons: tuple[Reason, ...]


def judge(
    count: int,
    equal: Sequence[Sequence[str]],
    similar: Sequence[Sequence[str]],
    constant: Sequence[str],
    outliers: Sequence[Outlier],
    stability: Stability,
    notes: Sequence[Diagnostic],
) -> Verdict:
    """Return the verdict on `count` samples."""
    order = list(Grade)
    found = [
        *_suspected(notes),
        *_counted(count, equal, similar),
        *_constant(count, constant),
        *_unsteady(outliers, stability),
    ]
    reasons = sorted(found, key=lambda reason: -order.index(reason.grade))
    return Verdict(reasons[0].grade if reasons else Grade.GOOD, tuple(reasons))


def _counted(
    count: int, equal: Sequence[Sequence[str]], similar: Sequence[Sequence[str]]
) -> Iterator[Reason]:
    again, alike = (sum(len(group) - 1 for group in groups) for groups in (equal, similar))
    distinct = count - again - alike
    if distinct < LEAST_COUNT:
        advice = f"Collect {GOOD_COUNT} or more that differ as the device will see them."
        few = counted(distinct, "distinct sample")
        yield Reason(Grade.POOR, f"{few} {'is' if distinct == 1 else 'are'} few", advice)
    elif distinct < GOOD_COUNT:
        yield Reason(
            Grade.USABLE, f"{distinct} distinct samples", f"{GOOD_COUNT} or more make ranges steady."
        )
    if again:
        first = " = ".join(equal[0][:3])
        yield Reason(
            Grade.USABLE,
            f"{counted(again, 'sample')} {'repeats' if again == 1 else 'repeat'} others: {first}",
            "Remove what repeats: it tells nothing new.",
        )
    if alike:
        first = " ~ ".join(similar[0][:3])
        advice = "Frames of one scene count as one: take samples from more scenes."
        many = f"{counted(alike, 'image')} {'looks' if alike == 1 else 'look'} like others"
        yield Reason(Grade.USABLE, f"{many}: {first}", advice)


def _constant(count: int, constant: Sequence[str]) -> Iterator[Reason]:
    if constant:
        listing = ", ".join(constant[:5])
        grade = Grade.POOR if 2 * len(constant) > count else Grade.USABLE
        many = f"{counted(len(constant), 'sample')} {'shows' if len(constant) == 1 else 'show'} nothing"
        what = f"{many} (one value all over): {listing}"
        yield Reason(grade, what, "Remove them, unless the device will see such, too.")


def _unsteady(outliers: Sequence[Outlier], stability: Stability) -> Iterator[Reason]:
    for outlier in outliers[:3]:
        many = f" and of {outlier.tensors - 1} more tensors" if outlier.tensors > 1 else ""
        what = (
            f"'{outlier.sample}' alone stretches the range of '{outlier.worst}'{many}: "
            f"{outlier.low:.4g}..{outlier.high:.4g}, without it "
            f"{outlier.low_without:.4g}..{outlier.high_without:.4g}"
        )
        advice = "Look at it. If the device will not see such input, remove it; else add more of its kind."
        yield Reason(Grade.USABLE, what, advice)
    if stability.tensors and stability.median > STEADY:
        grade = Grade.POOR if stability.median > UNSTEADY else Grade.USABLE
        what = (
            f"the two halves of the samples disagree about ranges by {stability.median:.0%} at the median, "
            f"by {stability.worst:.0%} for '{stability.worst_tensor}'"
        )
        yield Reason(grade, what, "Add samples until both halves say the same.")


def _suspected(notes: Sequence[Diagnostic]) -> Iterator[Reason]:
    for note in notes:
        if note.code in (problems.NORMALIZATION, problems.GUESSED, problems.UNITS):
            yield Reason(Grade.USABLE, f"{note.where}: {note.what}", note.next_step)
