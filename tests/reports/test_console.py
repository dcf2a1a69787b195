"""What the terminal shows at the end of a compile and of a comparison."""

from __future__ import annotations

from dataclasses import replace
from io import StringIO
from pathlib import Path
from types import ModuleType

from rich.console import Console, RenderableType

from edgec.reports.compare import compare
from edgec.reports.console import comparison_table, print_summary, summary


def _printed(content: RenderableType, width: int = 120) -> list[str]:
    console = Console(file=StringIO(), width=width, force_terminal=False)
    console.print(content)
    assert isinstance(console.file, StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def test_the_summary_is_short_and_aligned(samples: ModuleType) -> None:
    """One headline, one fact a line, the written files last where the eye ends."""
    files = {"model": Path("digits.rpi4.int8.tflite"), "report": Path("digits.html")}
    assert _printed(summary(samples.INT8, files)) == [
        "FAILED int8 outputs match the source at 36.5 dB or better; 1 transpose; 3 XNNPACK partitions; "
        "gate max-drop is not met",
        "size       34.6 kB, 71% smaller than the source",
        "arena      45.1 kB",
        "work       640 k multiply-accumulates, 29 k parameters",
        "runs as    3 XNNPACK partitions with 27 of 29 nodes; outside: hard_swish",
        "recipe     int8 mse +rounding: 4.2 dB less noise than int8 minmax +bias, 2 tried",
        "logits     41.2 dB, very close: the error is 0.868% of the signal",
        "embedding  36.5 dB, close: the error is 1.5% of the signal",
        "budget     max-size: 34560 bytes, limit 65536 bytes, met",
        "budget     max-drop: 0.75 points, limit 0.5 points, NOT MET",
        "pruned     49.9% of the weights",
        "took       2.88 s",
        "model      digits.rpi4.int8.tflite",
        "report     digits.html",
    ]


def test_a_bare_report_prints_too(samples: ModuleType) -> None:
    console = Console(file=StringIO(), width=100)
    print_summary(console, samples.FLOAT, {})
    assert isinstance(console.file, StringIO)
    assert console.file.getvalue().startswith("OK float32 model, not compared with the source; 0 transposes")


def test_many_outputs_are_cut(samples: ModuleType) -> None:
    checks = [samples.check(f"out{index}", 50.0) for index in range(9)]
    lines = _printed(summary(replace(samples.FLOAT, verification=samples.verified(*checks)), {}))
    assert sum(line.startswith("out") for line in lines) == 6
    assert any("… and 3 more outputs, in the report" in line for line in lines)


def test_names_never_act_on_the_terminal(samples: ModuleType) -> None:
    """Neither an escape sequence nor rich's own markup in a name takes effect."""
    for name in samples.HOSTILE:
        report = replace(samples.FLOAT, verification=samples.verified(samples.check(name, 50.0)))
        text = "\n".join(_printed(summary(report, {"model": Path(name.replace("/", "_"))})))
        assert "\x1b" not in text
        assert "\u202e" not in text
    markup = samples.verified(samples.check("[red]rich[/red]", 50.0))
    lines = _printed(summary(replace(samples.FLOAT, verification=markup), {}))
    assert any(line.startswith("[red]rich[/red]") for line in lines)


def test_the_comparison_names_what_got_worse(samples: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "old.json").write_text(samples.FLOAT.to_json())
    (tmp_path / "new.json").write_text(replace(samples.FLOAT, size_bytes=236_000).to_json())
    lines = _printed(comparison_table(compare(tmp_path / "old.json", tmp_path / "new.json", 5)))
    assert lines[0].split() == ["metric", "old.json", "new.json", "change", "verdict"]
    assert lines[1].split() == ["size", "118", "kB", "236", "kB", "+100%", "worse"]
    assert lines[-1] == "FAILED worse by more than 5%: size"
