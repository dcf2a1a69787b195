"""Write a report in the form that the file's suffix names; a new form is one entry here and one file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from edgec.atomic_write import write_text
from edgec.diagnostics import CompileError, Diagnostic
from edgec.reports.html import render_html
from edgec.reports.junit import render_junit
from edgec.reports.markdown import render_markdown
from edgec.reports.model import Report

Renderer = Callable[[Report], str]

RENDERERS: Mapping[str, Renderer] = {
    ".json": Report.to_json,
    ".md": render_markdown,
    ".html": render_html,
    ".xml": render_junit,
}


def renderer_for(path: Path) -> Renderer:
    """Return the renderer for a report path, so that a wrong suffix is found before the compile starts.

    Raises:
        CompileError: E0502, when no renderer has this suffix.
    """
    found = RENDERERS.get(path.suffix.lower())
    if found is None:
        what = f"no report has the suffix '{path.suffix}'" if path.suffix else "a report path needs a suffix"
        next_step = f"Use one of: {', '.join(RENDERERS)} (.xml is JUnit)."
        raise CompileError(Diagnostic("E0502", f"--report {path}", what, next_step=next_step))
    return found


def write_report(report: Report, path: Path) -> None:
    """Render `report` for the suffix of `path` and write it whole (errors E0501 to E0503)."""
    write_text(path, renderer_for(path)(report))
