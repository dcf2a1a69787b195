"""Bars say what is done, how far it is and how long it takes; in a pipe there are none."""

from __future__ import annotations

import io

from rich.console import Console

from edgec.recipes.apply import _ChoiceBar  # pyright: ignore[reportPrivateUsage]
from edgec.terminal import Bars


def shown(console: Console, total: int | None, what: str = "") -> str:
    with Bars(console) as bars:
        bars.start("quantize", total)
        bars.advance(30)
        if what:
            bars.describe(what)
        bars.refresh()
        text = console.file.getvalue() if isinstance(console.file, io.StringIO) else ""
        bars.finish()
    return text


def terminal(width: int = 80) -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=width, color_system=None)


def test_a_stage_with_a_total_has_a_percentage_and_the_time_left() -> None:
    text = shown(terminal(), 120)
    assert "quantize" in text and "25%" in text and ":" in text


def test_a_stage_without_a_total_claims_no_progress() -> None:
    assert "%" not in shown(terminal(), None)


def test_what_a_stage_is_at_is_plain_text_that_fits() -> None:
    """Names come from models: no markup, and a long one does not wrap the bar."""
    assert "quantize: [red]x[/red]" in shown(terminal(100), None, "[red]x[/red]")
    lines = shown(terminal(80), 120, "a" * 200).replace("\r", "\n").splitlines()
    assert max(map(len, lines)) <= 80 + len("\x1b[2K")


def test_in_a_pipe_there_is_nothing() -> None:
    console = Console(file=io.StringIO(), force_terminal=False, width=80)
    assert shown(console, 120, "int8 mse") == ""


def test_the_bar_of_a_choice_never_goes_back() -> None:
    """Parts of a recipe are estimates: what was shown stays, and only whole recipes count for sure."""
    seen: list[int] = []
    bar = _ChoiceBar(lambda what, done, total: seen.append(done))
    bar.after(0, 4)
    for done in range(11):
        bar.inside("calibrate", done, 10)
        bar.inside("rounding", done, 10)
    bar.after(1, 4)
    bar.inside("rounding", 5, 10)
    bar.after(4, 4)
    assert seen == sorted(seen)
    assert seen[-3:] == [100, 147, 400]
