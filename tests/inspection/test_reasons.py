"""Diagnostics become few, short reasons."""

from __future__ import annotations

from edgec.diagnostics import Diagnostic, Severity
from edgec.inspection.model import Board, Reason
from edgec.inspection.reasons import place_of, reasons_of
from edgec.inspection.words import blockers, by_result


def test_one_rule_is_one_reason_whatever_the_tensors_are_called() -> None:
    found = reasons_of(
        [
            Diagnostic("E0416", "node 'a' (gather)", "'i' is int64"),
            Diagnostic("E0416", "node 'b' (gather)", "'k' is int64"),
            Diagnostic("E0416", "node 'c' (slice)", "'s' is int64"),
        ]
    )
    assert [str(reason) for reason in found] == ["E0416 gather: … is int64 (2×)", "E0416 slice: 's' is int64"]
    assert found[0].places == ("a", "b")


def test_a_rule_broken_in_many_ways_is_told_by_the_rule() -> None:
    """Four states of one rule of a profile; three would still be told one by one."""
    why = "Target 'm7' uses TFLite Micro. Every dimension must be known."
    many = [
        Diagnostic("E0415", f"node 'n{i}' ({kind})", f"'n{i}' is float32[?,{i}]", why)
        for i, kind in enumerate(["add", "add", "mul", "pad"])
    ]
    (merged,) = reasons_of(many)
    assert str(merged) == "E0415 add, mul, pad: Every dimension must be known (4×)"
    assert len(reasons_of(many[:3])) == 3


def test_notes_and_warnings_block_nothing() -> None:
    assert reasons_of([Diagnostic("W0441", "node 'a' (add)", "slow", severity=Severity.WARNING)]) == ()


def test_the_place_of_a_message() -> None:
    assert place_of("node 'it's (odd)' (Resize, opset 11)") == ("it's (odd)", "Resize, opset 11")
    assert place_of("operator 3 'y' (CUSTOM)") == ("y", "CUSTOM")
    assert place_of("input 'x' [n]") == ("input 'x' [n]", "")


def test_boards_with_the_same_result_stand_together() -> None:
    reason = Reason("E0411", "topk: no kernel", ("a",))
    boards = [Board("m7", "int8", (reason,)), Board("a", "int8"), Board("m4", "int8", (reason,))]
    assert [targets for targets, _ in by_result(boards)] == ["m7, m4", "a"]
    assert blockers(boards) == [(reason, ["m7, m4"])]


def test_who_is_affected_is_said_briefly() -> None:
    reason = Reason("E0406", "flash: too small", ("m7",))
    both = [Board("m7", "float32", (reason,)), Board("m7", "int8")]
    assert blockers(both) == [(reason, ["m7: float32"])]
    assert blockers([Board("a", "int8", (reason,)), Board("b", "int8", (reason,))]) == [
        (reason, ["every target"])
    ]
