"""What a pipe gets: whole lines without padding, and every letter in some form."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "samples" / "digits_cnn.onnx"


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edgec", *arguments]
    settings = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "40", **environment}
    return subprocess.run(command, capture_output=True, text=True, env=settings, check=False)


def test_lines_are_whole_and_end_where_their_text_ends(tmp_path: Path) -> None:
    """A script greps one fact a line, whatever the width of a terminal that is not there."""
    done = run("compile", str(SAMPLE), "-o", str(tmp_path / "m.tflite"))
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("OK float32 output matches the source at")
    assert lines[0].endswith("XNNPACK partition")
    assert all(line == line.rstrip() for line in lines)
    assert "\x1b" not in done.stdout + done.stderr


def test_letters_that_the_encoding_lacks_are_spelled(tmp_path: Path) -> None:
    """The model is written and named; a terminal without its letters sees them as escapes."""
    output = tmp_path / "日本.tflite"
    done = run("compile", str(SAMPLE), "-o", str(output), PYTHONIOENCODING="latin-1")
    assert done.returncode == 0, done.stderr
    assert output.exists()
    assert "\\u65e5\\u672c.tflite" in done.stdout
